"""Approvals: requested acts in a protected environment, their decisions, and what people add to them."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from audit_app.events import action_labels
from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models import MAC_LENGTH
from audit_app.recording.drafts import AuditObject
from core.clock import ends_in, is_in
from core.db.columns import optional_text, optional_timestamp, timestamp
from environments_app.models.environment import Environment

EXPIRED: Final = "expired"


def shown_state(state: str, *, open_states: Collection[str], expires_at: datetime) -> str:
    """Return a state to show: one whose time is over has expired, whether or not that was noted."""
    return str(state) if state not in open_states or is_in_time(expires_at) else EXPIRED


def in_time(column: str = "expires_at") -> Q:
    """Return the condition on requests, for approval or access, whose time is not over."""
    return ends_in(column, within=_lifetime())


def is_in_time(expires_at: datetime) -> bool:
    """Return whether the time of a request is not over, and was not counted by a clock that was ahead."""
    return is_in(expires_at, within=_lifetime())


def read_within() -> timedelta:
    """Return how long after its approval a guarded secret may be read."""
    return timedelta(minutes=settings.KEEPER_READ_APPROVAL_MINUTES)


def _lifetime() -> timedelta:
    return timedelta(hours=settings.KEEPER_APPROVAL_HOURS)


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
        "environment.uuid", "action", "object_kind", "object_uuid", "object_name", "expected", "digest",
        "summary", "arguments", "reason", "requester_kind", "requester_uuid", "state", "decided_by_uuid",
        "expires_at",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("held",)

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="approvals",
        help_text="The protected environment in which the change was requested.",
    )
    action = models.CharField(max_length=64, help_text="What was requested.")
    object_kind = models.CharField(
        max_length=32,
        verbose_name="kind of object",
        help_text="What the change is about: a secret, a membership and so on.",
    )
    object_uuid = models.UUIDField(verbose_name="object UUID", help_text="Identifier of the object.")
    object_name = models.CharField(
        max_length=600, verbose_name="object", help_text="Name of the object at the time of the request."
    )
    # The state of the object that the act starts from; it is not done to any other.
    expected = optional_text(
        "expected state",
        "State of the object that the change applies to. It is not applied to any other.",
        max_length=64,
    )
    digest = models.BinaryField(
        max_length=MAC_LENGTH, help_text="Keyed digest of the requested change. Never shown."
    )
    # Lines of {label, before, after}.
    summary = models.JSONField(
        default=list, blank=True, help_text="What the approver sees, with values masked."
    )
    arguments = models.JSONField(
        default=dict, blank=True, help_text="Parameters of the change, without secret values."
    )
    # HELD where the requester applies it after its approval; else approval applies it.
    held = optional_text(
        help_text="Set if the requester applies the change after its approval.", max_length=4, db_default=""
    )
    failure = optional_text(
        help_text="Why the approved change could not be applied.", max_length=300, db_default=""
    )
    reason = optional_text(help_text="Why the requester wants the change.", max_length=500)
    requester_kind = models.CharField(
        max_length=16, verbose_name="kind of requester", help_text="Whether a person or a token requested it."
    )
    requester_uuid = models.UUIDField(
        db_index=True,
        verbose_name="requester UUID",
        help_text="Identifier of the account or token that requested it.",
    )
    requester_name = models.CharField(
        max_length=150, verbose_name="requester", help_text="Name of the account or token that requested it."
    )
    state = models.CharField(
        max_length=12,
        choices=ApprovalState.choices,
        default=ApprovalState.PENDING,
        help_text="Whether the request is pending, approved, rejected, canceled, expired or applied.",
    )
    decided_by_uuid = models.UUIDField(
        null=True, blank=True, verbose_name="approver UUID", help_text="Identifier of the person who decided."
    )
    decided_by_name = optional_text("approver", "Name of the person who decided.", max_length=150)
    comment = optional_text(help_text="What the approver wrote about the decision.", max_length=500)
    asked_at = timestamp("requested", "When the change was requested, in UTC.")
    expires_at = models.DateTimeField(
        verbose_name="expires", help_text="When an undecided request ends, in UTC."
    )
    decided_at = optional_timestamp("decided", "When the request was decided, in UTC.")
    finished_at = optional_timestamp("finished", "When the request was applied or closed, in UTC.")

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "environment", "id"], name="approval_by_state"),
            models.Index(fields=["object_uuid", "state"], name="approval_by_object"),
        ]
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"{self.action} {self.object_name}"

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="approval", uuid=self.uuid, name=self.object_name)

    @property
    def asked_act(self) -> str:
        """What is asked for, in words that follow "to": "update payments/db"."""
        return f"{action_labels.imperative(self.action)} {self.object_name}"

    @property
    def asked_act_and_place(self) -> str:
        """The same with the environment: "update payments/db (production)"."""
        named = self.object_kind == "environment"
        return self.asked_act if named else f"{self.asked_act} ({self.environment.name})"

    @property
    def requester(self) -> Actor:
        return Actor(kind=ActorKind(self.requester_kind), uuid=self.requester_uuid, name=self.requester_name)

    @property
    def is_live(self) -> bool:
        if self.state == ApprovalState.APPROVED and self.action == Action.SECRET_REVEAL:
            return is_in(self.expires_at, within=read_within())
        return self.state in OPEN_STATES and is_in_time(self.expires_at)

    @property
    def shown_state(self) -> str:
        return shown_state(self.state, open_states=OPEN_STATES, expires_at=self.expires_at)


class EntryKind(models.TextChoices):
    """What an entry is."""

    COMMENT = "comment", "Comment"
    APPROVAL = "approval", "Approval"


class ApprovalEntry(AuthenticatedRow):
    """One comment on a request, or the approval of one of several people; it never changes."""

    MAC_LABEL: ClassVar[str] = "approval-entry"
    # Its event records who wrote it; a row that is gone approves nothing.
    RECORDED: ClassVar[bool] = False
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "approval.uuid",
        "kind",
        "author_uuid",
        "author_name",
        "text",
        "at",
    )

    approval = models.ForeignKey(
        Approval,
        on_delete=models.PROTECT,
        related_name="entries",
        help_text="The request that it belongs to.",
    )
    kind = models.CharField(
        max_length=8, choices=EntryKind.choices, help_text="Whether it is a comment or an approval."
    )
    author_uuid = models.UUIDField(
        verbose_name="author UUID", help_text="Identifier of the person who wrote it."
    )
    author_name = models.CharField(
        max_length=150, verbose_name="author", help_text="Name of the person who wrote it."
    )
    text = models.TextField(
        max_length=1000, blank=True, default="", help_text="What the person wrote, as plain text."
    )
    at = models.DateTimeField(
        default=timezone.now, verbose_name="time", help_text="When it was written, in UTC."
    )

    class Meta:
        verbose_name = "approval entry"
        verbose_name_plural = "approval entries"
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} by {self.author_name}"
