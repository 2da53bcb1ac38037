"""Lets a target's stage for what is pending follow Keeper's, where the system has one (AWSPENDING).

It comes after what a pass carries out, and is no part of a plan: what is served does not change by it.
So a failed label change fails no pass and delays no value: it raises a notice, and the next pass retries it.
A pending value is the very version that becomes current once Keeper serves it: the same write has
the same token, so that a label moves then and no second version is made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

from django.db.models import F, FilteredRelation, Q

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.approvals.gate import needs_second_person
from environments_app.authorization.policy import Principal, allows
from secrets_app.models import Secret
from sync_app.backends.base import Backend, Pending
from sync_app.backends.observations import SecretMetadata
from sync_app.domain.reconciliation import Direction, Ownership, Presence
from sync_app.errors import BackendError, ChangedSinceRead
from sync_app.jobs.leases import Lease, database_now, fenced
from sync_app.models import Plan, Run, SyncEntry, Target
from sync_app.models.plan import PlanKind
from sync_app.state import local_state
from sync_app.state.local_state import is_selected
from sync_app.state.open_values import open_versions
from sync_app.state.ownership import prove_ownership, write_token
from sync_app.targets.credentials import TargetSession, load_run_principal
from sync_app.targets.destinations import backend_class

# Of those that did not follow, so many are named.
_TOLD: Final = 3


@dataclass(frozen=True, kw_only=True)
class PendingVersion:
    """A secret's pending version, and the entry of what the target holds of that secret."""

    version: UUID
    entry: SyncEntry


def mirror(run: Run, *, session: TargetSession, lease: Lease | None = None) -> dict[str, BackendError]:
    """Put what is pending in Keeper beside what is current there, and take back what is so no longer.

    A disconnect plan removes all of it. No request is sent if nothing changes. In a
    protected environment only Keeper's own passes do it, whose target was approved.
    Return the names of those that did not follow, with the reasons. Raises LeaseLost, and as
    `open_backend` does.
    """
    target, plan = run.target, run.plan
    kind = backend_class(target.backend)
    if plan is None or not issubclass(kind, Pending) or target.direction == Direction.PULL:
        return {}
    actor = load_run_principal(run)
    if needs_second_person(actor, target.environment):
        return {}
    pending = [] if plan.kind == PlanKind.DISCONNECT else _load_pending(target, actor)
    kept = {each.entry.pk: each.version.hex for each in pending}
    mirrored = _load_entries(target, ~Q(pending_target=""))
    stale = [entry for entry in mirrored if kept.get(entry.pk) != entry.pending_keeper]
    due = [each for each in pending if _is_due(each.entry, each.version, kind.seconds_between_versions)]
    if not (stale or due):
        return {}
    backend = session.backend(actor)
    steps = _MirrorPass(plan=plan, backend=backend, stage=cast("Pending", backend), actor=actor, lease=lease)
    return steps.run(stale, due)


def explain_failures(failed: Mapping[str, BackendError]) -> str:
    """Return the operator's message about failed labels."""
    shown = [f"{name}: {error}" for name, error in sorted(failed.items())]
    more = f"; and {len(shown) - _TOLD} more" if len(shown) > _TOLD else ""
    return f"AWSPENDING does not follow Keeper's pending value yet: {'; '.join(shown[:_TOLD])}{more}"


@dataclass(kw_only=True)
class _MirrorPass:
    plan: Plan
    backend: Backend
    stage: Pending
    actor: Principal
    lease: Lease | None

    def run(self, stale: Sequence[SyncEntry], due: Sequence[PendingVersion]) -> dict[str, BackendError]:
        """Remove stale labels, then set due ones, each separately; return the failures by name."""
        failed: dict[str, BackendError] = {}
        taken: list[Json] = []
        put: list[Json] = []
        for entry in stale:
            try:
                seen = self._get_owned(entry)
                if seen is not None:
                    self.stage.remove_pending(seen, token=entry.pending_target)
                self._record_pending(entry, "", "", None)
                taken.append(entry.name)
            except BackendError as error:
                failed[entry.name] = error
        for each, value in self._open_values(due):
            try:
                if self._put_version(each, value):
                    put.append(each.entry.name)
            except BackendError as error:
                failed[each.entry.name] = error
        if taken or put:
            self._record(put, taken)
        return failed

    def _put_version(self, pending: PendingVersion, value: str) -> bool:
        """Put one, the intent noted before; False where it is left alone."""
        entry, version = pending.entry, pending.version.hex
        seen = self._get_owned(entry)
        if seen is None or seen.version != entry.base_target:
            return False
        token = write_token(
            self.plan.target, place=seen.remote_id, keeper_version=version, target_version=seen.version
        )
        self._record_pending(entry, version, token, None)
        if not self.stage.put_pending(seen, value, token=token):
            self._record_pending(entry, "", "", None)
            return False
        self._record_pending(entry, version, token, database_now())
        return True

    def _get_owned(self, entry: SyncEntry) -> SecretMetadata | None:
        """Return what is at the entry's name there if it is still ours, by a look just now."""
        if self.lease:
            self.lease.heartbeat()
        try:
            seen = self.backend.get_metadata(entry.name)
        except ChangedSinceRead:
            return None
        owned = prove_ownership(self.plan.target, entry, seen, secret=entry.secret_uuid)
        here = seen.presence is Presence.PRESENT and seen.remote_id == entry.remote_id
        return seen if here and owned is not Ownership.NONE else None

    def _open_values(self, due: Sequence[PendingVersion]) -> list[tuple[PendingVersion, str]]:
        """Open the values, after the event that lists them; one that does not open is left out, recorded."""
        if not due:
            return []
        names = {each.version: each.entry.name for each in due}
        opened = open_versions(actor=self.actor, plan=self.plan, names=names, sources={})
        return [(each, opened.values[each.version]) for each in due if each.version in opened.values]

    def _record_pending(self, entry: SyncEntry, keeper: str, target: str, at: datetime | None) -> None:
        with fenced(self.lease):
            entry.pending_keeper, entry.pending_target = keeper, target
            # The time of the last version that was made stays: the system's quota counts it.
            entry.pending_at = at or (entry.pending_at if not target else None)
            columns = ("pending_keeper", "pending_target", "pending_at")
            SyncEntry.objects.filter(pk=entry.pk).update(**{name: getattr(entry, name) for name in columns})

    def _record(self, put: list[Json], taken: list[Json]) -> None:
        details: Mapping[str, Json] = {
            "plan": str(self.plan.uuid),
            "step": "pending",
            "put": put,
            "taken_back": taken,
        }
        record(
            actor=self.actor,
            action=Action.TARGET_APPLY,
            **stream_and_object(self.plan.target),
            details=details,
        )


def _load_pending(target: Target, actor: Principal) -> list[PendingVersion]:
    """Return the pending versions of secrets whose current one the target is known to hold."""
    rows = (
        Secret.objects.filter(
            local_state.in_scope(str(target.scope)),
            environment=target.environment,
            live=True,
            pending_number__isnull=False,
            resolves_as="",
        )
        .annotate(
            pending=FilteredRelation("versions", condition=Q(versions__number=F("pending_number"))),
            pending_uuid=F("pending__uuid"),
            current=FilteredRelation("versions", condition=Q(versions__number=F("current_number"))),
            current_uuid=F("current__uuid"),
        )
        .order_by("name")
    )
    secrets = {secret.name: secret for secret in rows}
    found = []
    for entry in _load_entries(target, Q(name__in=list(secrets))) if secrets else []:
        secret = secrets[entry.name]
        secret.environment = target.environment
        version, current = secret.pending_uuid, secret.current_uuid
        holds = current is not None and entry.base_keeper == current.hex and entry.base_target
        may = allows(actor, Action.SECRET_DELIVER, environment_id=target.environment_id, name=entry.name)
        if version is None or not holds or not may or not is_selected(target, secret):
            continue
        if secret.is_authentic():
            found.append(PendingVersion(version=version, entry=entry))
    return found


def _load_entries(target: Target, condition: Q) -> list[SyncEntry]:
    rows = list(SyncEntry.objects.filter(condition, target=target).exclude(ownership=Ownership.NONE))
    for row in rows:
        row.target = target
    return verified_rows(rows)


def _is_due(entry: SyncEntry, version: UUID, seconds: float) -> bool:
    """Return whether a version is still to be put, and the system's quota allows a new one by now."""
    if entry.pending_keeper == version.hex:
        # Intended only: that the answer was lost is found out by doing it again.
        return entry.pending_at is None
    now = database_now()
    return now >= entry.next_version_at(timedelta(seconds=seconds), now)
