"""Approvals: requested acts in a protected environment, and their decisions."""

from collections.abc import Collection
from datetime import datetime
from typing import ClassVar, Final

from django.db import models
from django.utils import timezone

from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models import MAC_LENGTH
from audit_app.recording.recorder import AuditObject
from environments_app.models.environment import Environment

EXPIRED: Final = "expired"


def shown_state(state: str, *, open_states: Collection[str], expires_at: datetime) -> str:
    """Return a state to show: one whose time is over has expired, whether or not that was noted."""
    return EXPIRED if state in open_states and expires_at <= timezone.now() else str(state)


class ApprovalState(models.TextChoices):
    """What became of a request."""

    # The stored strings are covered by row MACs; the API shows the names of the members.
    PENDING = "asked", "Asked"
    APPROVED = "approved", "Approved"
    REJECTED = "refused", "Refused"
    WITHDRAWN = "withdrawn", "Withdrawn"
    EXPIRED = "expired", "Expired"
    EXECUTED = "carried_out", "Carried out"


HELD: Final = "held"
OPEN_STATES: Final = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED})


class Approval(AuthenticatedRow):
    """One act that needs an approval, or has one.

    It holds no value: `digest` is the keyed digest of all that the act would do, and the app that executes
    it stores encrypted data. `summary` is what the approver sees.
    """

    MAC_LABEL: ClassVar[str] = "approval"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid",
        "action",
        "object_kind",
        "object_uuid",
        "object_name",
        "expected",
        "digest",
        "summary",
        "arguments",
        "reason",
        "requester_kind",
        "requester_uuid",
        "state",
        "decided_by_uuid",
        "expires_at",
    )
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("held",)

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="approvals")
    action = models.CharField(max_length=64)
    object_kind = models.CharField(max_length=32)
    object_uuid = models.UUIDField()
    object_name = models.CharField(max_length=600)
    # The state of the object that the act starts from; it is not done to any other.
    expected = models.CharField(max_length=64, blank=True, default="")
    digest = models.BinaryField(max_length=MAC_LENGTH)
    # Lines of {label, before, after}, values masked.
    summary = models.JSONField(default=list, blank=True)
    # What the act takes, where nothing of it is secret.
    arguments = models.JSONField(default=dict, blank=True)
    # HELD where the requester applies it after its approval; else approval applies it.
    held = models.CharField(max_length=4, blank=True, default="")
    # Why it could not be applied when it was approved.
    failure = models.CharField(max_length=300, blank=True, default="")
    reason = models.CharField(max_length=500, blank=True, default="")
    requester_kind = models.CharField(max_length=16)
    requester_uuid = models.UUIDField(db_index=True)
    requester_name = models.CharField(max_length=150)
    state = models.CharField(max_length=12, choices=ApprovalState.choices, default=ApprovalState.PENDING)
    decided_by_uuid = models.UUIDField(null=True, blank=True)
    decided_by_name = models.CharField(max_length=150, blank=True, default="")
    comment = models.CharField(max_length=500, blank=True, default="")
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """The newest first; what is open is found by state."""

        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "environment", "id"], name="approval_by_state"),
            models.Index(fields=["object_uuid", "state"], name="approval_by_object"),
        ]
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"{self.action} {self.object_name}"

    @property
    def audit_object(self) -> AuditObject:
        """How events name this approval."""
        return AuditObject(kind="approval", uuid=self.uuid, name=self.object_name)

    @property
    def requester(self) -> Actor:
        """Who asked."""
        return Actor(kind=ActorKind(self.requester_kind), uuid=self.requester_uuid, name=self.requester_name)

    @property
    def is_live(self) -> bool:
        """Whether it may still be decided or carried out."""
        return self.state in OPEN_STATES and self.expires_at > timezone.now()

    @property
    def shown_state(self) -> str:
        return shown_state(self.state, open_states=OPEN_STATES, expires_at=self.expires_at)
