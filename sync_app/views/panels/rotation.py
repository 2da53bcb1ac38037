"""Rotation on the pages of secrets: the status of each policy, and a link to create one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from secrets_app.interfaces.secret_panels import Cell, Filter
from secrets_app.models import Secret
from sync_app.forms.rotation import rotator_label, rotator_of
from sync_app.jobs.leases import database_now
from sync_app.models import RotationPolicy
from sync_app.rotation.execution.consumers import find_unacknowledged
from sync_app.rotation.lookup import find_orphaned_login
from sync_app.rotation.status import policy_status, status_condition, working_rotations
from sync_app.views.presenters.rotation_text import words_of

_ROTATION_CHOICES: Final = {
    "": "Any rotation",
    "policy": "Under rotation",
    "stopped": "Rotation stopped",
}


class RotationPanel:
    """The rotation's part of the pages of secrets."""

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
