"""What a person or token has read, by the trail, so that all of it can be rotated when they are lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from django.db.models import Q

from audit_app.actions import Action, Outcome
from audit_app.models import AuditEvent, ReadManifestItem
from environments_app.policy import Principal
from secrets_app.models import Secret
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation import acts
from sync_app.rotation.asking import request_rotation
from sync_app.rotation.lag import unconfirmed
from sync_app.rotation.states import Slot, Step

# Acts on one secret by which somebody came to know its value.
_READS: Final = (
    Action.SECRET_REVEAL,
    Action.SECRET_CREATE,
    Action.SECRET_UPDATE,
    Action.SECRET_COPY,
    Action.SECRET_MOVE,
    Action.SECRET_ROLLBACK,
)


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The living secrets that somebody has read: those under a policy, and those to change by hand."""

    policies: Sequence[RotationPolicy]
    by_hand: Sequence[Secret]


@dataclass(kw_only=True)
class Rotated:
    """A rotation that was asked for, and who did not confirm the value that it will replace."""

    rotation: Rotation
    slow: list[str] = field(default_factory=list)


def exposed_to(reader: UUID) -> Exposure:
    """Return what somebody has read, alone or among many, or written: whoever wrote a value knows it.

    Secrets that were deleted are left out. It goes by the trail, in which every reading is.
    """
    events = AuditEvent.objects.filter(actor_uuid=reader, outcome=Outcome.ALLOWED)
    one_by_one = events.filter(action__in=_READS, object_kind="secret").values("object_uuid")
    among_many = ReadManifestItem.objects.filter(manifest__in=events.values("manifest")).values("secret_uuid")
    secrets = Secret.objects.filter(Q(uuid__in=one_by_one) | Q(uuid__in=among_many), live=True)
    policies = RotationPolicy.objects.filter(secret__in=secrets, live=True)
    by_hand = secrets.exclude(uuid__in=policies.values("secret_id"))
    return Exposure(
        policies=list(policies.select_related("environment", "secret__environment").order_by("pk")),
        by_hand=list(by_hand.select_related("environment").order_by("environment__name", "name")),
    )


def rotate_now(*, actor: Principal, policy: RotationPolicy, emergency: bool, reason: str) -> Rotated:
    """Ask for a rotation of something that was exposed.

    In an emergency a grace that runs is ended, so that both logins get a new value, and the
    new rotation leaves none: who did not confirm the present value may be cut off, and is named.
    Raises what `request_rotation` raises.
    """
    working = Rotation.objects.filter(policy=policy, slot=Slot.WORKING, step=Step.GRACE, cut=False).first()
    if emergency and working is not None:
        working.policy = policy
        acts.cut_grace(actor=actor, rotation=working)
    rotation = request_rotation(actor=actor, policy=policy, emergency=emergency, reason=reason)
    slow = sorted({each.consumer_name for each in unconfirmed(policy.secret)})
    return Rotated(rotation=rotation, slow=slow)
