"""Writes entries: what Keeper stores of each name at a target, and its state."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from django.db.models import Q

from audit_app.integrity.row_authentication import verified_rows
from core.db.bulk import update_rows
from sync_app.domain.delivery_state import WAITING, DeliveryState, state_for_outcome
from sync_app.domain.reconciliation import Direction, Outcome, Ownership, Presence, Reason
from sync_app.jobs.leases import Lease, database_now, fenced
from sync_app.models import KeptCopy, Plan, PlanItem, SyncEntry, Target
from sync_app.models.plan import Act, ItemState
from sync_app.planning.draft_items import PlanItemDraft
from sync_app.state.entry_rows import GONE, NOT_OURS
from sync_app.state.ownership import is_same_secret, replaced_other_secret
from sync_app.state.value_forms import form_of

_ROWS: Final = 500
_REASON_LENGTH: Final = 500
_COVERED: Final = (
    "secret_uuid", "base_keeper", "base_target", "base_form", "intended_keeper", "intended_target",
    "claimed_from", "remote_id", "ownership",
)  # fmt: skip
_UNCOVERED: Final = ("state", "reason", "base_number", "intended_number", "synced_at", "undelivered")
_covered: Final = attrgetter(*_COVERED)
_uncovered: Final = attrgetter(*_UNCOVERED)
_INTENT: Final = ["intended_keeper", "intended_target", "intended_number", "row_mac"]
_COLUMNS: Final = ["name", *_COVERED, *_UNCOVERED, "checked_at", "row_mac"]


def record_states(
    target: Target, drafts: Sequence[PlanItemDraft], *, lease: Lease | None, forget: bool
) -> None:
    """Note how each secret stands by now; where both sides were found equal, that becomes the base.

    With `forget`, entries of names that exist on neither side any more are removed: one that claims a secret
    only where the look before found nothing either, and the target shows something at all.
    """
    was_open = _with_intents(drafts)
    shows = any(_is_shown(draft) for draft in drafts)
    new, changed, stated = [], [], []
    gone = [draft.finding.released_entry.pk for draft in drafts if draft.finding.released_entry is not None]
    for draft in drafts:
        entry, local = draft.finding.entry, draft.finding.local
        if (
            forget
            and entry is not None
            and draft.reason == Reason.NOWHERE
            and _is_removable(entry, shows=shows)
        ):
            gone.append(entry.pk)
        elif entry is None and local is not None:
            created = SyncEntry(target=target, name=local.name, secret_uuid=local.secret_uuid)
            new.append(_apply_draft(target, created, draft))
        elif entry is not None:
            before = _covered(entry), _uncovered(entry)
            _apply_draft(target, entry, draft)
            corrected = draft.finding.existed_before or bool(draft.finding.former_name)
            if corrected or before[0] != _covered(entry):
                changed.append(entry)
            elif before[1] != _uncovered(entry):
                stated.append(entry)
    # First: a renamed secret's entry takes the name of one that goes.
    for start in range(0, len(gone), _ROWS):
        with fenced(lease):
            SyncEntry.objects.filter(pk__in=gone[start : start + _ROWS]).delete()
    for start in range(0, max(len(new), len(changed), len(stated)), _ROWS):
        part = slice(start, start + _ROWS)
        with fenced(lease):
            insert_entries(target, new[part])
            save_entries(changed[part])
            # What the MAC does not cover, which stays as it is.
            update_rows(stated[part], _UNCOVERED)
    settled = was_open - _with_intents(drafts)
    if settled:
        KeptCopy.objects.filter(target=target, name__in=settled).delete()


def note_check(target: Target) -> None:
    """Note that a target was looked at just now for each secret that it has or should have."""
    SyncEntry.objects.filter(target=target).update(checked_at=database_now())


def _with_intents(drafts: Iterable[PlanItemDraft]) -> set[str]:
    entries = [draft.finding.entry for draft in drafts if draft.finding.entry is not None]
    return {str(entry.name) for entry in entries if entry.intended_target}


def insert_entries(target: Target, new: Sequence[SyncEntry]) -> None:
    """Store new entries, in place of any that were not written by Keeper."""
    if new:
        SyncEntry.objects.filter(target=target, name__in=[entry.name for entry in new]).delete()
        SyncEntry.objects.bulk_create(new, batch_size=_ROWS)


def save_entries(entries: Sequence[SyncEntry]) -> None:
    """Store changed entries."""
    _save(entries, _COLUMNS)


def save_intents(entries: Sequence[SyncEntry]) -> None:
    """Store what is about to be written, of entries that are otherwise as they were stored."""
    _save(entries, _INTENT)


def _save(entries: Sequence[SyncEntry], columns: Sequence[str]) -> None:
    for entry in entries:
        entry.seal_row()
    update_rows(entries, columns)


def count_owned(target: Target, *, withdrawn_by: Plan) -> int:
    """Return how many secrets of a target are ours, by genuine entries.

    What is gone from there counts no more, but for what this very plan has withdrawn.
    """
    mine = PlanItem.objects.filter(plan=withdrawn_by, act=Act.DELETE, state=ItemState.DONE)
    rows = SyncEntry.objects.filter(target=target).exclude(NOT_OURS)
    counted = list(rows.exclude(GONE & ~Q(name__in=mine.values("name"))))
    for row in counted:
        # One object for all, so that no row asks for its target again.
        row.target = target
    return len(verified_rows(counted))


def _is_shown(draft: PlanItemDraft) -> bool:
    seen = draft.finding.remote
    return seen is not None and seen.presence in {Presence.PRESENT, Presence.DELETED}


def _is_removable(entry: SyncEntry, *, shows: bool) -> bool:
    # One look may have met another system, or a node that lags.
    return entry.ownership == Ownership.NONE or (shows and entry.reason == Reason.NOWHERE)


def _apply_draft(target: Target, entry: SyncEntry, draft: PlanItemDraft) -> SyncEntry:
    finding = draft.finding
    if not (replaced_other_secret(entry) and finding.was_owned(target)):
        # Else it is reported until the secret is adopted or gone.
        _note_state(entry, draft)
    local, seen = finding.local, finding.remote
    if local is not None and entry.ownership == Ownership.NONE:
        entry.secret_uuid = local.secret_uuid
    if finding.was_owned(target) and target.rules.direction is Direction.PUSH:
        # What was last synced stays on record, until it is adopted again or proves to be ours.
        return entry
    if finding.equal and local is not None and seen is not None:
        if not entry.base_keeper:
            # Else the form is known, and a rule that changed since is still to be carried out.
            entry.base_form = form_of(target)
        entry.set_baseline(keeper=local.version, target=seen.version, number=local.number)
        if entry.ownership == Ownership.NONE or is_same_secret(entry, seen):
            # Otherwise it was ours and was made again: an equal value does not make it ours.
            entry.remote_id = seen.remote_id
        entry.synced_at = entry.synced_at or database_now()
    elif finding.recovered_base is not None and seen is not None:
        was_synced = finding.recovered_base.keeper == entry.base_keeper
        number = entry.base_number if was_synced else entry.intended_number
        entry.set_baseline(keeper=finding.recovered_base.keeper, target=seen.version, number=number)
        entry.remote_id = seen.remote_id
        if was_synced:
            return entry
        # The time of writing is unknown: a system with a rate limit for versions gets no second one.
        entry.synced_at = database_now()
    return entry


def _note_state(entry: SyncEntry, draft: PlanItemDraft) -> None:
    state = state_after(draft)
    if entry.state == DeliveryState.FAILED and state is DeliveryState.PENDING and entry.undelivered:
        # Nothing was tried since: it stays failed, and its alert open, until it is delivered.
        return
    entry.state, entry.reason = state, draft.reason[:_REASON_LENGTH]
    if state is DeliveryState.UNKNOWN:
        entry.undelivered += 1
    elif state not in WAITING:
        entry.undelivered = 0


def state_after(draft: PlanItemDraft) -> DeliveryState:
    """Return how a secret stands for which this was decided and nothing was done yet."""
    try:
        return state_for_outcome(Outcome(draft.act))
    except ValueError:
        # To adopt or to release: until then its state is unchanged.
        return DeliveryState(draft.finding.entry.state) if draft.finding.entry else DeliveryState.UNMANAGED
