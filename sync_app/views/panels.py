"""Panels on the pages of secrets that settings name: delivery and rotation.

Delivery shows where each secret should be, and whether it is there. Rotation shows the status of each
policy, and a link to create one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from environments_app.models import Environment
from secrets_app.interfaces import Cell, Filter
from secrets_app.models import Secret
from sync_app.domain.delivery_state import ALERTING, DeliveryState, ShownState, shown_state
from sync_app.domain.reconciliation import Reason
from sync_app.forms.rotation import rotator_label, rotator_of
from sync_app.jobs.leases import database_now
from sync_app.models import RotationPolicy, SyncEntry, Target
from sync_app.rotation.execution.consumers import find_unacknowledged
from sync_app.rotation.lookup import find_orphaned_login
from sync_app.rotation.status import policy_status, status_condition, working_rotations
from sync_app.state.local_state import is_in_scope, is_tagged_for
from sync_app.state.ownership import waits_for_adoption
from sync_app.views.base import rights
from sync_app.views.presenters.plans import decision_urls
from sync_app.views.presenters.rotation import words_of
from sync_app.views.presenters.targets import target_rows


class TargetPanel:
    def panel(self, *, environment: Environment) -> Mapping[str, Any]:
        targets = Target.objects.filter(environment=environment, live=True).select_related("environment")
        return {
            "template": "sync_app/_environment_panel.html",
            "anchor": "targets",
            "title": "Sync",
            "rows": target_rows(targets.defer("credentials")),
        }


_DELIVERY_CHOICES: Final = {
    "": "Any sync status",
    DeliveryState.IN_SYNC: "In sync",
    DeliveryState.PENDING: "Pending",
    DeliveryState.UNKNOWN: "Written, not seen yet",
    DeliveryState.DRIFTED: "Drifted",
    DeliveryState.CONFLICT: "In conflict",
    DeliveryState.MISSING: "Missing in target",
    DeliveryState.OWNERSHIP_LOST: "Ownership lost",
    DeliveryState.REFUSED: "Refused",
    DeliveryState.FAILED: "Failed",
}

# Shown to users who may not see a target: that it exists, and the state of the secret there.
_HIDDEN: Final = "another target"


class DeliveryPanel:
    filters: Mapping[str, Filter]

    def __init__(self) -> None:
        self.filters = {"delivery": Filter(label="Sync", choices=_DELIVERY_CHOICES, condition=_has_state)}

    def panel(self, *, actor: Principal, secret: Secret) -> Mapping[str, Any] | None:
        targets = [
            target
            for target in Target.objects.filter(environment_id=secret.environment_id, live=True).defer(
                "credentials"
            )
            if is_in_scope(str(target.scope), secret.name)
        ]
        covering = {target.pk for target in targets}
        entries = {
            entry.target_id: entry
            # Not by the targets, of which each has an entry for every secret.
            for entry in SyncEntry.objects.filter(secret_uuid=secret.uuid)
            if entry.target_id in covering
        }
        # What lost its tags is shown for as long as the target has it.
        targets = [target for target in targets if target.pk in entries or is_tagged_for(target, secret.tags)]
        if not targets:
            return None
        decisions = decision_urls(list(entries.values()))
        rows = [_row(actor, target, entries.get(target.pk), secret, decisions) for target in targets]
        return {"template": "sync_app/_panel.html", "rows": rows}

    def cells(self, *, actor: Principal, secrets: Sequence[Secret]) -> Mapping[UUID, Sequence[Cell]]:
        """Return a cell a target for each secret that a pass has looked at, and one for all hidden ones."""
        entries = (
            SyncEntry.objects.filter(secret_uuid__in=[secret.uuid for secret in secrets], target__live=True)
            .select_related("target")
            .order_by("target__name")
            .only(
                "secret_uuid",
                "state",
                "target__environment_id",
                "target__name",
                "target__paused_at",
                "target__scope",
            )
        )
        cells: dict[UUID, list[Cell]] = defaultdict(list)
        hidden: dict[UUID, list[str]] = defaultdict(list)
        for entry in entries:
            if entry.secret_uuid is not None:
                target = entry.target
                state = "paused" if target.paused_at else entry.state
                if _may_look(actor, target):
                    cells[entry.secret_uuid].append(Cell(state=state, label=target.name))
                else:
                    hidden[entry.secret_uuid].append(state)
        for uuid, states in hidden.items():
            # One cell for all of them, in the state that needs most attention.
            worst = max(states, key=lambda state: (state in ALERTING, state != DeliveryState.IN_SYNC))
            cells[uuid].append(
                Cell(state=worst, label=_HIDDEN if len(states) == 1 else f"{len(states)} other targets")
            )
        return cells


def _has_state(state: str) -> Q:
    entries = SyncEntry.objects.filter(state=state, target__live=True, secret_uuid__isnull=False)
    return Q(uuid__in=entries.values("secret_uuid"))


def _may_look(actor: Principal, target: Target) -> bool:
    return allows(actor, Action.TARGET_VIEW, environment_id=target.environment_id, name=str(target.scope))


def _adopt_url(target: Target, entry: SyncEntry | None) -> str:
    """Return where a secret that is not provably Keeper's any more is adopted again."""
    if entry is None or not waits_for_adoption(entry):
        return ""
    return f"{reverse('target-adopt', args=[target.pk])}?{urlencode({'name': entry.name})}"


def _row(
    actor: Principal, target: Target, entry: SyncEntry | None, secret: Secret, decisions: Mapping[int, str]
) -> dict[str, Any]:
    may_look = _may_look(actor, target)
    can = rights(actor, target) if may_look else dict.fromkeys(("adopt", "sync"), False)
    fails = entry is not None and entry.state == DeliveryState.FAILED and not target.paused_at
    delivered = entry.base_number if entry else None
    taken = entry is not None and entry.reason == Reason.NOT_OURS and not target.paused_at
    taken_name = f"{target.name} already has a secret of this name that Keeper did not write"
    state = "paused" if target.paused_at else entry.state if entry else DeliveryState.PENDING
    return {
        "name": target.name if may_look else _HIDDEN,
        "paused": target.paused_at is not None,
        "shown": ShownState(state, "name taken")
        if taken
        else shown_state(state, delivered=delivered, current=secret.current_number),
        "entry": entry,
        # A system's own words name what was asked of it, such as a path.
        "reason": "" if not entry or not may_look else taken_name if taken else entry.reason,
        "url": reverse("target-detail", args=[target.pk]) if may_look else "",
        "decide_url": decisions.get(entry.pk, "") if entry and may_look else "",
        "adopt_url": _adopt_url(target, entry) if can["adopt"] else "",
        "may_decide": can["sync"],
        "sync_url": reverse("target-sync", args=[target.pk]) if fails and can["sync"] else "",
        "behind": bool(entry and entry.base_number and entry.base_number != secret.current_number),
    }


_ROTATION_CHOICES: Final = {"": "Any rotation", "policy": "Under rotation", "stopped": "Rotation stopped"}


class RotationPanel:
    filters: Mapping[str, Filter]

    def __init__(self) -> None:
        self.filters = {"rotation_state": Filter(label="Rotation", choices=_ROTATION_CHOICES, condition=_has)}

    def panel(self, *, actor: Principal, secret: Secret) -> Mapping[str, Any] | None:
        """Return the status of a secret's policy; without one, a link to create it if the actor may."""
        policy = RotationPolicy.objects.filter(secret=secret, live=True).defer("credentials").first()
        if policy is None:
            place, name = secret.environment_id, secret.name
            if not secret.live or not allows(actor, Action.ROTATION_CREATE, environment_id=place, name=name):
                return None
            return {
                "template": "sync_app/_rotation_panel.html",
                # There is nothing to see yet.
                "aside": True,
                "new_url": reverse("rotation-new", args=[secret.pk]),
            }
        rotation = working_rotations([policy]).get(policy.pk)
        return {
            "template": "sync_app/_rotation_panel.html",
            "policy": policy,
            "kind": rotator_label(policy.rotator),
            "on_editing": words_of(rotator_of(policy.rotator)).editing,
            "rotation": rotation,
            "standing": policy_status(policy, rotation, database_now()),
            "left": find_orphaned_login(policy),
            "url": reverse("rotation-policy", args=[policy.pk]),
            "slow": len(find_unacknowledged(secret)),
        }

    def cells(self, *, actor: Principal, secrets: Sequence[Secret]) -> Mapping[UUID, Sequence[Cell]]:  # noqa: ARG002 - it names nothing
        """Return a cell for each secret whose rotation stopped; other policies have none."""
        stopped = RotationPolicy.objects.filter(
            secret__in=secrets, live=True, rotations__stopped_at__isnull=False, rotations__slot="working"
        )
        uuids: Iterable[UUID] = stopped.values_list("secret__uuid", flat=True)
        return {uuid: [Cell(state="stopped", label="rotation")] for uuid in uuids}


def _has(state: str) -> Q:
    policies = RotationPolicy.objects.filter(live=True)
    if state == "stopped":
        policies = policies.filter(status_condition("failed", database_now()))
    return Q(uuid__in=policies.values("secret_id"))
