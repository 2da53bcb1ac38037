"""Stands in for the decoys in a target's scope, which it never gets, by entries and lines of plans.

Viewers see a target's entries, plans and counts, and must not learn from them which secrets are decoys. What
stands in is told by its `base_form`, which its MAC covers: no look, act or budget takes it for a delivery.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.db.models import Q

from secrets_app.models import Secret, SecretVersion
from sync_app.backends.base import LARGEST_VALUE, Backend
from sync_app.backends.registry import backend_of
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Direction, Ownership, Presence, Reason
from sync_app.jobs.leases import database_now
from sync_app.models import Plan, PlanItem, SyncEntry, Target
from sync_app.models.plan import Act, ItemState
from sync_app.planning.draft_items import PlanItemDraft, explain_value_refusal, name_there
from sync_app.state.entry_rows import STAND_IN
from sync_app.state.local_state import SELECTED, in_scope, is_selected

_STATES: Final = {Act.UNCHANGED: DeliveryState.IN_SYNC, Act.REFUSED: DeliveryState.REFUSED}
# The lines of plans that no worker carries out: of every other, Keeper's version is known.
STANDING_IN: Final = Q(act__in=(Act.CREATE, Act.UPDATE), keeper_version="")


def refresh_entries(
    target: Target, drafts: list[PlanItemDraft], planned_in: Backend | None = None
) -> list[tuple[Secret, SyncEntry, Act]]:
    """Store how each decoy would stand, and return each with its act; drop the entries of all others.

    With `planned_in`, as a plan by this backend says it; a look says less.
    A decoy whose name a draft has is left alone: the target still has its copy, or another writer's secret.
    """
    taken = {draft.finding.name for draft in drafts}
    known = {entry.name: entry for entry in SyncEntry.objects.filter(target=target, base_form=STAND_IN)}
    found = []
    for secret in _decoys(target):
        if secret.name in taken:
            continue
        entry = known.pop(secret.name, None)
        if entry is None or entry.secret_uuid != secret.uuid:
            SyncEntry.objects.filter(target=target, name=secret.name).delete()
            entry = SyncEntry.objects.create(
                target=target, name=secret.name, secret_uuid=secret.uuid, base_form=STAND_IN
            )
        act, reason = Act.CREATE, Reason.NEW_IN_KEEPER
        if entry.base_number is not None:
            act, reason = Act.UPDATE, Reason.KEEPER_CHANGED
        if entry.base_number == secret.current_number:
            act, reason = Act.UNCHANGED, Reason.IN_STEP
        before = entry.state, entry.reason
        entry.reason = backend_of(target.backend).words(reason)
        if planned_in is not None and act is not Act.UNCHANGED:
            act, entry.reason = _as_planned(planned_in, target, secret, act, entry.reason)
        entry.state = _STATES.get(act, DeliveryState.PENDING)
        if before != (entry.state, entry.reason):
            entry.save(update_fields=["state", "reason"])
        found.append((secret, entry, act))
    SyncEntry.objects.filter(pk__in=[entry.pk for entry in known.values()]).delete()
    return found


def _as_planned(backend: Backend, target: Target, secret: Secret, act: Act, reason: str) -> tuple[Act, str]:
    """Return what a plan would say of a secret by its name, type and size, were it no decoy."""
    refusal = backend.explain_refusal(act, secret.name)
    if not refusal and backend.max_value_bytes < LARGEST_VALUE:
        version = SecretVersion.objects.filter(secret=secret, number=secret.current_number).first()
        envelope = version.value.envelope if version else b""
        refusal = explain_value_refusal(
            backend, secret.secret_type, envelope, has_references=secret.uses_references
        )
    if refusal:
        return Act.REFUSED, refusal
    if act is Act.CREATE:
        reason = f"{reason}{name_there(backend, secret.name)}"
        reason = f"{reason}; {SELECTED}" if target.tags else reason
    return act, reason


def add_lines(plan: Plan, backend: Backend, drafts: list[PlanItemDraft]) -> list[PlanItem]:
    """Count the decoys in a plan of the whole target, and return the lines of those that changed."""
    found = refresh_entries(plan.target, drafts, backend)
    plan.counts = dict(sorted((Counter(plan.counts) + Counter(str(act) for *_, act in found)).items()))
    return [
        PlanItem(
            plan=plan,
            name=secret.name,
            act=act,
            state=ItemState.SKIPPED if act is Act.REFUSED else ItemState.PLANNED,
            reason=entry.reason,
            secret_uuid=secret.uuid,
            keeper_number=secret.current_number,
            there_number=entry.base_number,
            target_presence=Presence.ABSENT if entry.base_number is None else Presence.PRESENT,
            ownership=entry.ownership,
        )
        for secret, entry, act in found
        if act is not Act.UNCHANGED
    ]


def finish_lines(plan: Plan) -> int:
    """End the lines that stand in as those beside them ended; return how many are done. In a transaction."""
    items = PlanItem.objects.filter(plan=plan, act__in=(Act.CREATE, Act.UPDATE))
    mine = items.filter(STANDING_IN, finished_at=None)
    others = items.exclude(STANDING_IN)
    now = database_now()
    if others.exists() and not others.filter(state=ItemState.DONE).exists():
        mine.update(state=ItemState.SKIPPED, finished_at=now)
        return 0
    for item in mine:
        entry = SyncEntry.objects.filter(target=plan.target, name=item.name, base_form=STAND_IN).first()
        if entry is not None:
            entry.ownership, entry.base_number = Ownership.CREATED, item.keeper_number
            entry.state, entry.reason = DeliveryState.IN_SYNC, ""
            entry.synced_at = _delivered_beside(entry, since=plan.ready_at or now) or now
            entry.checked_at = entry.synced_at
            entry.save()
    return mine.update(state=ItemState.DONE, finished_at=now)


def _delivered_beside(entry: SyncEntry, *, since: datetime) -> datetime | None:
    """Return when the secret before it by name was delivered since a time: it would have been then."""
    rows = SyncEntry.objects.filter(target=entry.target, name__lt=entry.name, synced_at__gte=since)
    return rows.exclude(base_form=STAND_IN).order_by("-name").values_list("synced_at", flat=True).first()


def _decoys(target: Target) -> Iterator[Secret]:
    if target.direction == Direction.PULL:
        return
    rows = Secret.objects.filter(
        in_scope(str(target.scope)), environment=target.environment, live=True, decoy=True
    )
    for secret in rows.order_by("name"):
        secret.environment = target.environment
        if is_selected(target, secret):
            yield secret
