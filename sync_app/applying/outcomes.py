"""Notes on items and entries what became of them; nothing is stored here, and no value is kept."""

from datetime import datetime
from typing import Final

from environments_app.errors import AccessError
from secrets_app.errors import InvalidInput, KeyUnavailable, SecretError
from sync_app.applying.item_actions import ItemResult
from sync_app.applying.pass_context import ApplyContext
from sync_app.applying.preconditions import ItemContext, PlanOutdated, is_pull, is_push
from sync_app.applying.pull import PulledVersion, store_pulled_value
from sync_app.backends.observations import SecretMetadata
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Ownership, Reason
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    CreateConflict,
    OutcomeUnknown,
    Overwritten,
    TransientError,
    UpdateConflict,
)
from sync_app.models import SyncEntry
from sync_app.models.plan import Act, ItemState
from sync_app.state.local_state import LocalSecret
from sync_app.state.open_values import Comparison, ValueMatcher
from sync_app.state.ownership import awaits_look, mark_for
from sync_app.state.value_forms import form_of

MAX_ATTEMPTS: Final = 5
_ERROR_LENGTH: Final = 500


class Outcomes:
    """What became of the items of one batch, looked at at one time of the database."""

    def __init__(self, context: ApplyContext, matcher: ValueMatcher, now: datetime) -> None:
        self._context, self._matcher = context, matcher
        self._plan, self._target = context.plan, context.plan.target
        self._now = now

    def record_answer(self, work: ItemContext, answer: ItemResult | BackendError) -> None:
        if isinstance(answer, ChangedSinceRead):
            if work.entry is not None:
                # The existing secret is not the intended one, and can no longer become it; it may be what an
                # earlier attempt made that was not answered.
                may_exist = work.unanswered or answer.made
                work.entry.record_intent(work.entry.intent if may_exist else work.earlier_intent)
                if isinstance(answer, CreateConflict) and not work.existed_before:
                    work.entry.ownership = Ownership.NONE
                elif work.claimed_from:
                    # Something is there, and was not made by this: what was known of it stays.
                    work.entry.restore_claimed_from(work.claimed_from)
            if isinstance(answer, UpdateConflict) and work.entry is not None:
                # A system that takes one version in so long a time gets no second.
                work.entry.synced_at = self._now
            self.skip(work, str(answer))
        elif isinstance(answer, Overwritten):
            if work.entry is not None:
                work.entry.clear_intent()
            self.fail(work, str(answer), permanent=True)
        elif isinstance(answer, OutcomeUnknown) and work.entry is not None and work.entry.intended_keeper:
            self.await_look(work, work.entry, answer)
        elif isinstance(answer, BackendError):
            self.postpone(work, answer)
        else:
            self.record_success(work, answer)

    def is_final(self, work: ItemContext, error: BackendError) -> bool:
        """Return whether an error that was just answered is an item's outcome: it is not tried again."""
        is_last = work.item.attempts + 1 >= MAX_ATTEMPTS and not _is_limit(error)
        return error.permanent or is_last or isinstance(error, ChangedSinceRead)

    def record_success(self, work: ItemContext, done: ItemResult) -> None:
        """Note a success; where the target's value was fetched, Keeper takes it first."""
        try:
            pulled = self._take_value(work, done) if done.remote_value else None
        except PlanOutdated as error:
            self.skip(work, str(error))
        except InvalidInput as error:
            self.fail(work, f"Keeper does not take the target's value: {error.reason}", permanent=True)
        except AccessError:
            self.fail(work, "the user who started this run may not write it in Keeper", permanent=True)
        except KeyUnavailable as error:
            self.fail(work, str(error), permanent=error.permanent)
        except SecretError as error:
            self.fail(work, str(error), permanent=True)
        except BackendError as error:
            self.postpone(work, error)
        else:
            self._end_item(work, ItemState.DONE)
            self._record_sync(work, done.metadata, pulled)

    def _take_value(self, work: ItemContext, done: ItemResult) -> PulledVersion | None:
        if done.remote_value is None:
            return None
        value, secret = done.remote_value.value, None
        pulled = None
        if is_pull(work, self._plan):
            pulled = store_pulled_value(
                actor=self._context.actor,
                target=self._target,
                item=work.item,
                value=value,
                approval=self._context.approval,
            )
            secret = pulled.secret
        elif work.local is not None and self._is_equal(work.local, value):
            secret = work.local.secret_uuid
        if secret is None:
            raise PlanOutdated("the values are not the same any more: it is left alone")
        if work.item.act == Act.ADOPT:
            self._context.backend.mark(done.metadata, mark_for(self._target, secret))
        return pulled

    def _is_equal(self, local: LocalSecret, value: str) -> bool:
        if local.version_uuid is None:
            return False
        comparison = Comparison(
            name=local.name, version=local.version_uuid, fingerprint=local.fingerprint, remote=value
        )
        return bool(self._matcher.matches(comparison))

    def postpone(self, work: ItemContext, error: BackendError) -> None:
        """Note an error of the target's; one that may pass is tried again, so many times."""
        ends = self.is_final(work, error)
        self._count_attempt(work, error)
        self._note_made(work, error)
        if ends:
            self.fail(work, str(error), permanent=error.permanent)
            return
        # It stays intended: what became of it is found out by the next attempt.
        work.item.error = str(error)[:_ERROR_LENGTH]
        self._set_state(work, DeliveryState.PENDING, str(error))

    def await_look(self, work: ItemContext, entry: SyncEntry, error: OutcomeUnknown) -> None:
        """Keep the intent of a write that was answered, or may be there: only looks settle it.

        This run's next attempts look again, then the next passes do.
        """
        self._note_made(work, error)
        entry.state, entry.reason = DeliveryState.UNKNOWN, str(error)[:_ERROR_LENGTH]
        ends = self.is_final(work, error)
        self._count_attempt(work, error)
        work.item.error = str(error)[:_ERROR_LENGTH]
        if ends:
            self._end_item(work, ItemState.SKIPPED, str(error))
            entry.undelivered += 1

    def _note_made(self, work: ItemContext, error: BackendError) -> None:
        made = error.made if isinstance(error, TransientError) else ""
        if made and work.entry is not None and work.entry.intended_keeper:
            work.entry.record_intent(work.entry.intent._replace(target=made))

    def fail(self, work: ItemContext, error: str, *, permanent: bool) -> None:
        work.item.permanent = permanent
        self._end_item(work, ItemState.FAILED, error)
        self._set_state(work, DeliveryState.FAILED, error)
        self._count_pass(work)

    def skip(self, work: ItemContext, reason: str) -> None:
        """End an item that is left alone for now; the next plan decides again."""
        self.wait(work, reason)
        self._count_pass(work)

    def wait(self, work: ItemContext, reason: str) -> None:
        """End an item for which the system asks for more time: a pass comes when that is over."""
        self._end_item(work, ItemState.SKIPPED, reason)
        self._set_state(work, DeliveryState.PENDING if is_push(work, self._plan) else None, reason)

    def refuse(self, work: ItemContext, reason: str) -> None:
        self._end_item(work, ItemState.SKIPPED, reason)
        self._set_state(work, DeliveryState.REFUSED, reason)

    def _end_item(self, work: ItemContext, state: ItemState, error: str = "") -> None:
        work.item.state, work.item.error = state, error[:_ERROR_LENGTH]
        # The database's time: by it the deletions and fights of the last hours are counted.
        work.item.finished_at = self._now

    def _count_attempt(self, work: ItemContext, error: BackendError) -> None:
        # A limit is the normal end of a big pass, and no fault of the item.
        if not _is_limit(error):
            work.item.attempts += 1

    def _count_pass(self, work: ItemContext) -> None:
        if work.entry is not None:
            work.entry.undelivered += 1

    def _set_state(self, work: ItemContext, state: DeliveryState | None, reason: str) -> None:
        if state is DeliveryState.PENDING and awaits_look(work.entry):
            # What became of an answered write is still to be seen, whatever is planned over it.
            return
        if work.entry is not None:
            work.entry.state = state or work.entry.state
            work.entry.reason = reason[:_ERROR_LENGTH]

    def _record_sync(self, work: ItemContext, seen: SecretMetadata, pulled: PulledVersion | None) -> None:
        item, local = work.item, work.local
        entry = work.entry = work.entry or SyncEntry(target=self._target, name=item.name)
        entry.state, entry.reason, entry.checked_at = DeliveryState.IN_SYNC, "", self._now
        entry.undelivered = 0
        if item.act in {Act.DELETE, Act.RELEASE}:
            entry.reason = Reason.WITHDRAWN if item.act == Act.DELETE else ""
            entry.clear_intent()
            return
        seen = self._context.backend.settled(seen)
        entry.synced_at = self._now
        entry.base_form = form_of(self._target)
        if item.act != Act.PULL or entry.ownership == Ownership.NONE:
            # A pull claims no ownership: what another client recreated stays theirs.
            entry.remote_id = seen.remote_id or entry.remote_id
        if pulled is not None:
            entry.secret_uuid = pulled.secret
            entry.set_baseline(keeper=pulled.version, target=seen.version, number=pulled.number)
        elif local is not None:
            entry.secret_uuid = local.secret_uuid
            entry.set_baseline(keeper=local.version, target=seen.version, number=local.number)
        if item.act == Act.ADOPT:
            entry.ownership = Ownership.ADOPTED


def _is_limit(error: BackendError) -> bool:
    return bool(getattr(error, "retry_after", 0.0))
