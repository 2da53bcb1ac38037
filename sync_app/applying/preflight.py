"""Checks the items of a batch before they are carried out, and settles those that are not."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from environments_app.errors import AccessError
from sync_app.applying import put_back
from sync_app.applying.outcomes import Outcomes
from sync_app.applying.pass_context import ApplyContext
from sync_app.applying.preconditions import (
    ItemContext,
    LocalUnreadable,
    PlanOutdated,
    TooSoon,
    check_preconditions,
    is_push,
)
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.domain.reconciliation import Presence, Reason
from sync_app.errors import BackendError
from sync_app.jobs.leases import database_now
from sync_app.jobs.worker_pool import STOPPING
from sync_app.models import PlanItem
from sync_app.models.plan import Act, ItemState
from sync_app.state import entry_rows, local_state
from sync_app.state.local_state import TagVerdict, judge_tags
from sync_app.state.open_values import ValueMatcher
from sync_app.state.ownership import awaits_look, mark_for
from sync_app.state.references import ReferenceRights, Unresolvable


class Preflight:
    """The items of one batch as they are now, and which of them may be carried out.

    `repeated` holds the keys of those that an earlier attempt may have written already, and `copies` what was
    kept of them, by version and value. At `due` the first of those that came too soon may be written.
    """

    def __init__(self, context: ApplyContext, items: list[PlanItem]) -> None:
        self._context = context
        self._plan, self._target = context.plan, context.plan.target
        names = [item.name for item in items]
        local_secrets = local_state.find_local(self._target.environment, names)
        entries = entry_rows.load_named(self._target, names)
        self.works = [
            ItemContext(item=item, local=local_secrets.get(item.name), entry=entries.get(item.name))
            for item in items
        ]
        self._leave_out_by_tags()
        for work in self.works:
            made = self._made_before(work)
            work.awaited, work.unanswered = (made, "") if awaits_look(work.entry) else ("", made)
        self.repeated = {work.item.pk for work in self.works if self._may_be_there(work)}
        self._rights = ReferenceRights(self._target)
        self._now = database_now()
        self._matcher = ValueMatcher(actor=context.actor, plan=context.plan, backend=context.backend)
        self.outcomes = Outcomes(context, self._matcher, self._now)
        self.due: datetime | None = None
        self.copies: Mapping[str, tuple[str, str]] = {}

    def find_ready(self) -> list[ItemContext]:
        """Return the items that may be carried out; any other is settled.

        What an earlier attempt came over is put back.
        """
        names = [work.item.name for work in self.works if work.item.pk in self.repeated]
        if names:
            self.copies = put_back.open_kept_copies(self._context.actor, self._target, names)
        return [work for work in self.works if self._is_ready(work)]

    def end_unexecuted(self, work: ItemContext, ending: Callable[[], None]) -> None:
        """End an item that is not carried out, once what an earlier attempt of it came over is put back."""
        try:
            if work.item.pk in self.repeated and work.item.act in {Act.UPDATE, Act.ADOPT}:
                self._context.heartbeat()
                put_back.revert_overwrite(
                    self._matcher,
                    seen=planned_metadata(work.item),
                    makes=self.predict(work.item),
                    marks=self.expected_marks(work),
                    versions=[
                        work.entry.intended_keeper if work.entry else "",
                        work.local.version if work.local else "",
                    ],
                    kept=self.kept_value(work),
                )
        except STOPPING:
            raise
        except BackendError as error:
            self.outcomes.record_answer(work, error)
        else:
            ending()

    def predict(self, item: PlanItem) -> str:
        return self._context.backend.predict_version(item.target_version, token=item.token)

    def expected_marks(self, work: ItemContext) -> frozenset[Mark]:
        return frozenset(mark_for(self._target, uuid) for uuid in secret_uuids(work))

    def kept_value(self, work: ItemContext) -> str | None:
        """Return what was kept of the very version that this item writes over."""
        version, value = self.copies.get(work.item.name, ("", None))
        return value if version == work.item.target_version else None

    def _leave_out_by_tags(self) -> None:
        """Take Keeper's side away from each item whose secret the target's tags leave out by now."""
        verdicts = judge_tags(self._target, [work.local for work in self.works if work.local])
        for work in self.works:
            verdict = verdicts.get(work.local.secret_uuid) if work.local else None
            work.unselected = verdict not in {None, TagVerdict.SELECTED}
            if verdict is TagVerdict.LEFT_OUT:
                work.left_out, work.local = True, None

    def _made_before(self, work: ItemContext) -> str:
        """Return what an earlier write of this very item made, as its backend said; empty if it did not."""
        item, entry = work.item, work.entry
        if item.state != ItemState.INTENDED or entry is None:
            return ""
        is_this = entry.intended_keeper == item.keeper_version
        return entry.intended_target if is_this and entry.intended_target != self.predict(item) else ""

    def _may_be_there(self, work: ItemContext) -> bool:
        """Return whether an attempt of this run, or of an earlier one, may have written this already."""
        item, entry = work.item, work.entry
        if item.state == ItemState.INTENDED:
            return True
        return (
            entry is not None
            and entry.intended_keeper == item.keeper_version != ""
            and item.act in {Act.CREATE, Act.UPDATE}
            and bool(entry.intended_target)
        )

    def _is_ready(self, work: ItemContext) -> bool:
        """Return whether an item may be carried out; any other is settled here."""
        apart = timedelta(seconds=self._context.backend.seconds_between_versions)
        if work.item.pk in self.repeated:
            # Its version may be there already: to wait would leave that unknown.
            apart = timedelta()
        try:
            check_preconditions(work, plan=self._plan, actor=self._context.actor, now=self._now, apart=apart)
            self._refuse_references(work)
        except TooSoon as error:
            self.due = min(self.due or error.due, error.due)
            ending = partial(self.outcomes.wait, work, str(error))
        except PlanOutdated as error:
            ending = partial(self.outcomes.skip, work, str(error))
        except Unresolvable as error:
            ending = partial(self.outcomes.refuse, work, str(error))
        except LocalUnreadable as error:
            work.item.reason = Reason.KEEPER_UNREADABLE
            ending = partial(self.outcomes.fail, work, str(error), permanent=True)
        except AccessError:
            ending = partial(
                self.outcomes.fail, work, "the user who started this run may not do it here", permanent=True
            )
        else:
            return True
        self.end_unexecuted(work, ending)
        return False

    def _refuse_references(self, work: ItemContext) -> None:
        """Raise Unresolvable where what would be delivered may not be filled in, by now."""
        if work.local is not None and is_push(work, self._plan):
            refusal = self._rights.explain_refusal(work.local.resolution)
            if refusal:
                raise Unresolvable(refusal)


def planned_metadata(item: PlanItem) -> SecretMetadata:
    """Return the secret of the target as the plan saw it."""
    return SecretMetadata(
        name=item.name,
        presence=Presence(item.target_presence),
        remote_id=item.remote_id,
        version=item.target_version,
        max_versions=item.target_keeps,
    )


def secret_uuids(work: ItemContext) -> list[UUID]:
    """Return the uuids of Keeper's present secret, and of the one that had the name before."""
    secrets = [work.local.secret_uuid if work.local else None, work.entry.secret_uuid if work.entry else None]
    return list(dict.fromkeys(uuid for uuid in secrets if uuid is not None))
