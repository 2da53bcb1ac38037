"""Works on up to a hundred items of a plan: check, commit the intent, open, act, note the outcome."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from audit_app.actions import Action
from audit_app.actors import NIL
from audit_app.canonical import Json, canonical_json
from audit_app.keyring import Purpose, keyring
from audit_app.record import commit_record
from audit_app.streams import environment_stream
from environments_app.errors import AccessError
from environments_app.policy import Principal
from environments_app.second_person import Clearance
from secrets_app import fingerprints
from secrets_app.errors import KeyUnavailable, SecretError
from secrets_app.input_errors import InvalidInput
from secrets_app.models import Secret
from sync_app import acts, entries, keeper_side
from sync_app.acts import Done, Job
from sync_app.backends.base import Backend, Seen
from sync_app.deliveries import open_versions
from sync_app.errors import BackendError, ChangedSinceRead, CreateOvertaken
from sync_app.leases import Lease, database_now
from sync_app.models import Plan, PlanItem, SyncEntry, Target
from sync_app.models.plan import Act, ItemState, PlanKind
from sync_app.ownership import mark_for
from sync_app.pace import Pace
from sync_app.parallel import each, no_pulse
from sync_app.pulling import Taken, take
from sync_app.rechecks import Moved, TooSoon, Unreadable, Work, adoption_of, check, delivers, fetches
from sync_app.reconcile import Ownership, Presence, Reason
from sync_app.references import Rights, Unresolvable, resolved
from sync_app.states import State
from sync_app.stored_rows import update_rows

MAX_ATTEMPTS: Final = 5
_ITEM_COLUMNS: Final = ["state", "reason", "attempts", "error", "permanent", "finished_at"]
_ERROR_LENGTH: Final = 500
_TOKEN_LABEL: Final = b"keeper/sync-token/v1|"
_LISTED: Final = 100
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a pass works with."""

    plan: Plan
    backend: Backend
    actor: Principal
    lease: Lease | None
    pace: Pace
    clearance: Clearance

    def hold(self, **changes: object) -> None:
        """Make sure, in a transaction, that this worker is still the one that may write."""
        if self.lease:
            self.lease.hold(**changes)

    def pulse(self) -> None:
        """Keep the lease while the target is slow."""
        (self.lease.pulse if self.lease else no_pulse)()


class Batch:
    """Some items of one phase of a plan. Values are held for as long as it is worked on."""

    def __init__(self, tools: Tools, items: list[PlanItem]) -> None:
        self._tools = tools
        self._plan, self._target = tools.plan, tools.plan.target
        names = [item.name for item in items]
        held = keeper_side.held_of(self._target.environment, names)
        known = entries.of_names(self._target, names)
        self._works = [
            Work(item=item, held=held.get(item.name), entry=known.get(item.name)) for item in items
        ]
        self._rights = Rights(self._target)
        self._now = database_now()
        self._due: datetime | None = None

    def work(self) -> BackendError | None:
        """Do what the items say; return an error that may pass if nothing else came of them."""
        ready = [work for work in self._works if self._is_ready(work)]
        repeated = {work.item.pk for work in ready if work.item.state == ItemState.INTENDED}
        self._intend(ready)
        self._open(ready)
        self._announce_pulls(ready)
        passing, settled = None, False
        pairs = [(work, self._job(work, repeated)) for work in ready if work.item.state == ItemState.INTENDED]
        overtaken = []
        for (work, job), answer in each(self._act, pairs, pulse=self._tools.pulse):
            error = self._answered(work, answer)
            passing, settled = error or passing, settled or error is None
            if isinstance(answer, CreateOvertaken):
                overtaken.append(job)
        self._save()
        self._give_up(overtaken)
        return None if settled else passing

    # --- Before -------------------------------------------------------------------------------

    def _is_ready(self, work: Work) -> bool:
        """Say whether an item may be carried out; one that may not is settled here."""
        apart = timedelta(seconds=self._tools.backend.seconds_between_versions)
        if work.item.state == ItemState.INTENDED:
            # Its version may be there already: to wait would leave that unknown.
            apart = timedelta()
        try:
            check(work, plan=self._plan, actor=self._tools.actor, now=self._now, apart=apart)
            self._refuse_references(work)
        except TooSoon as error:
            self._due = min(self._due or error.due, error.due)
            self._skip(work, str(error))
        except Moved as error:
            self._skip(work, str(error))
        except Unresolvable as error:
            self._refuse(work, str(error))
        except Unreadable as error:
            work.item.reason = Reason.KEEPER_UNREADABLE
            self._fail(work, str(error), permanent=True)
        except AccessError:
            self._fail(work, "whoever started this may not do it here", permanent=True)
        else:
            return True
        return False

    def _refuse_references(self, work: Work) -> None:
        """Raise Unresolvable where what would be delivered may not be filled in, by now."""
        if work.held is not None and delivers(work, self._plan):
            refusal = self._rights.refusal(work.held.resolution)
            if refusal:
                raise Unresolvable(refusal)

    def _intend(self, ready: list[Work]) -> None:
        """Commit what is going to be tried, so that whoever carries on knows that it may have happened."""
        for work in ready:
            work.item.token = work.item.token or self._token(work)
            work.item.state = ItemState.INTENDED
        with transaction.atomic():
            self._tools.hold()
            update_rows([work.item for work in ready], ["state", "token"])
            created = [work for work in ready if work.item.act == Act.CREATE]
            self._store([self._claimed(work) for work in created])

    def _claimed(self, work: Work) -> SyncEntry:
        """Return the entry of a secret that is about to be created: ours, should the answer be lost."""
        entry = work.entry = work.entry or SyncEntry(target=self._target, name=work.item.name)
        entry.ownership, entry.remote_id = Ownership.CREATED, ""
        entry.base_keeper = entry.base_target = ""
        entry.secret_uuid = work.held.secret_uuid if work.held else None
        entry.state = State.PENDING
        return entry

    def _token(self, work: Work) -> str:
        """Return what makes repeating this very write harmless: 64 hexadecimal digits."""
        item = work.item
        message: list[Json] = [
            str(self._target.uuid),
            item.remote_id or item.name,
            item.keeper_version,
            item.target_version,
        ]
        return keyring().mac(Purpose.AUDIT_MAC, _TOKEN_LABEL + canonical_json(message))[-32:].hex()

    def _open(self, ready: list[Work]) -> None:
        wanted = {
            work.held.version_uuid: (work, work.held.resolution)
            for work in ready
            if work.held and work.held.version_uuid and delivers(work, self._plan)
        }
        if not wanted:
            return
        names = {uuid: work.item.name for uuid, (work, _) in wanted.items()}
        sources: dict[UUID, Secret] = {}
        for _, resolution in wanted.values():
            sources |= resolution.versions() if resolution else {}
        opened = open_versions(actor=self._tools.actor, plan=self._plan, names=names, sources=sources)
        for uuid, (work, resolution) in wanted.items():
            if uuid not in opened.values:
                work.item.reason = Reason.KEEPER_UNREADABLE
                self._fail(work, opened.problems.get(uuid, "its version is gone from Keeper"), permanent=True)
                continue
            try:
                own = opened.values[uuid]
                work.value = resolved(resolution, own, opened.values) if resolution else own
            except Unresolvable as error:
                self._refuse(work, str(error))

    def _announce_pulls(self, ready: list[Work]) -> None:
        names: list[Json] = [work.item.name for work in ready if fetches(work, self._plan)]
        if names:
            commit_record(
                actor=self._tools.actor,
                action=Action.SECRET_PULL,
                stream=environment_stream(self._target.environment.uuid),
                object=self._target.audit_object,
                details={"plan": str(self._plan.uuid), "count": len(names), "names": names[:_LISTED]},
            )

    def _job(self, work: Work, repeated: set[int]) -> Job:
        item, held = work.item, work.held
        secrets = {work.entry.secret_uuid if work.entry else None, held.secret_uuid if held else None}
        marks = {mark_for(self._target, uuid) for uuid in secrets if uuid is not None}
        own = next((uuid for uuid in (held.secret_uuid if held else None, *secrets) if uuid), NIL)
        return Job(
            act=Act(item.act),
            seen=Seen(
                name=item.name,
                presence=Presence(item.target_presence),
                remote_id=item.remote_id,
                version=item.target_version,
            ),
            mark=mark_for(self._target, own),
            marks=frozenset(marks),
            token=item.token,
            repeated=item.pk in repeated,
            value=work.value,
            adoption=adoption_of(self._plan),
            others=self._others,
        )

    @cached_property
    def _others(self) -> frozenset[UUID]:
        """The other living targets, whose marks are respected."""
        if self._plan.kind != PlanKind.ADOPT:
            return frozenset()
        others = Target.objects.filter(live=True).exclude(pk=self._target.pk)
        return frozenset(others.values_list("uuid", flat=True))

    # --- The act and after it -----------------------------------------------------------------

    def _act(self, pair: tuple[Work, Job]) -> Done:
        """Do one act; called by several threads, which never touch the database."""
        self._tools.pace.wait()
        return acts.carry_out(self._tools.backend, pair[1])

    def _give_up(self, overtaken: list[Job]) -> None:
        """Take our marks off what somebody else wrote first.

        Comes after `_save`, which a worker that was overtaken itself does not survive: the mark may
        be that of the worker in its place. One that stays proves nothing, since no entry claims it.
        """
        for job, answer in each(partial(acts.give_up, self._tools.backend), overtaken):
            if isinstance(answer, BackendError):
                logger.warning("our mark stays on %s, which is not ours: %s", job.name, answer)

    def _answered(self, work: Work, answer: Done | BackendError) -> BackendError | None:
        """Note what became of an item; return the error if it may pass and is tried again."""
        if isinstance(answer, ChangedSinceRead):
            self._skip(work, str(answer))
            if isinstance(answer, CreateOvertaken) and work.entry is not None:
                work.entry.ownership = Ownership.NONE
        elif isinstance(answer, BackendError):
            return self._failed(work, answer)
        else:
            return self._settled(work, answer)
        return None

    def _settled(self, work: Work, done: Done) -> BackendError | None:
        """Note a success; where the target's value was fetched, Keeper takes it first."""
        try:
            taken = self._taken(work, done) if done.copy else None
        except Moved as error:
            self._skip(work, str(error))
        except InvalidInput as error:
            self._fail(work, f"Keeper does not take the target's value: {error.reason}", permanent=True)
        except AccessError:
            self._fail(work, "whoever started this may not write it in Keeper", permanent=True)
        except KeyUnavailable as error:
            self._fail(work, str(error), permanent=error.permanent)
        except SecretError as error:
            self._fail(work, str(error), permanent=True)
        except BackendError as error:
            return self._failed(work, error)
        else:
            self._end(work, ItemState.DONE)
            self._note(work, done.seen, taken)
        return None

    def _taken(self, work: Work, done: Done) -> Taken | None:
        """Have Keeper take a fetched value, or see that it has it, and mark what is adopted."""
        if done.copy is None:
            return None
        value, secret = done.copy.value, None
        taken = None
        if fetches(work, self._plan):
            taken = take(
                actor=self._tools.actor,
                target=self._target,
                item=work.item,
                value=value,
                clearance=self._tools.clearance,
            )
            secret = taken.secret
        elif work.held is not None and fingerprints.matches(value.encode(), work.held.fingerprint):
            secret = work.held.secret_uuid
        if secret is None:
            raise Moved("the values are not the same any more: it is left alone")
        if work.item.act == Act.ADOPT:
            self._tools.backend.mark(done.seen, mark_for(self._target, secret))
        return taken

    def _failed(self, work: Work, error: BackendError) -> BackendError | None:
        work.item.attempts += 1
        if error.permanent or work.item.attempts >= MAX_ATTEMPTS:
            self._fail(work, str(error), permanent=error.permanent)
            return None
        # It stays intended: what became of it is found out by the next attempt.
        work.item.error = str(error)[:_ERROR_LENGTH]
        self._state(work, State.PENDING, str(error))
        return error

    def _fail(self, work: Work, error: str, *, permanent: bool) -> None:
        work.item.permanent = permanent
        self._end(work, ItemState.FAILED, error)
        self._state(work, State.FAILED, error)

    def _skip(self, work: Work, reason: str) -> None:
        self._end(work, ItemState.SKIPPED, reason)
        self._state(work, State.PENDING if delivers(work, self._plan) else None, reason)

    def _refuse(self, work: Work, reason: str) -> None:
        self._end(work, ItemState.SKIPPED, reason)
        self._state(work, State.REFUSED, reason)

    def _end(self, work: Work, state: ItemState, error: str = "") -> None:
        work.item.state, work.item.error = state, error[:_ERROR_LENGTH]
        work.item.finished_at = timezone.now()

    def _state(self, work: Work, state: State | None, reason: str) -> None:
        if work.entry is not None:
            work.entry.state = state or work.entry.state
            work.entry.reason = reason[:_ERROR_LENGTH]

    def _note(self, work: Work, seen: Seen, taken: Taken | None) -> None:
        """Put on the entry what both sides hold now."""
        item, held = work.item, work.held
        entry = work.entry = work.entry or SyncEntry(target=self._target, name=item.name)
        entry.state, entry.reason, entry.checked_at = State.IN_SYNC, "", self._now
        if item.act in {Act.DELETE, Act.RELEASE}:
            entry.reason = Reason.WITHDRAWN if item.act == Act.DELETE else ""
            return
        entry.synced_at = self._now
        entry.remote_id, entry.base_target = seen.remote_id or entry.remote_id, seen.version
        if taken is not None:
            entry.secret_uuid, entry.base_keeper, entry.base_number = (
                taken.secret,
                taken.version,
                taken.number,
            )
        elif held is not None:
            entry.secret_uuid, entry.base_keeper, entry.base_number = (
                held.secret_uuid, held.version, held.number,
            )  # fmt: skip
        if item.act == Act.ADOPT:
            entry.ownership = Ownership.ADOPTED

    def _save(self) -> None:
        """Store what became of every item, if this worker still holds the run."""
        items = [work.item for work in self._works]
        ended = [item for item in items if item.finished_at]
        failed = sum(item.state == ItemState.FAILED for item in ended)
        with transaction.atomic():
            progress = {"finished": F("finished") + len(ended), "failed": F("failed") + failed}
            self._tools.hold(**progress, **({"attempts": 0} if ended else {}))
            update_rows(items, _ITEM_COLUMNS)
            self._store([work.entry for work in self._works if work.entry is not None])
            if self._due is not None:
                Target.objects.filter(pk=self._target.pk, automatic=True).filter(
                    Q(due_at__isnull=True) | Q(due_at__gt=self._due)
                ).update(due_at=self._due)

    def _store(self, changed: list[SyncEntry]) -> None:
        entries.insert(self._target, [entry for entry in changed if entry._state.adding])
        entries.save([entry for entry in changed if not entry._state.adding])
