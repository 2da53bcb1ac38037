"""Requests for access: who wants which role where, for how long, and what a manager answered."""

from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.drafts import AuditObject
from core.db.columns import ExactCharField, optional_text, optional_timestamp, timestamp
from environments_app.models.access import Role
from environments_app.models.approval import is_in_time, shown_state
from environments_app.models.columns import path_prefix
from environments_app.models.environment import Environment
from environments_app.models.user import User


class RequestState(models.TextChoices):
    """What became of a request."""

    # The stored strings are covered by row MACs; the API shows the names of the members.
    PENDING = "asked", "Asked"
    GRANTED = "granted", "Granted"
    REJECTED = "refused", "Refused"
    WITHDRAWN = "withdrawn", "Withdrawn"
    EXPIRED = "expired", "Expired"


class AccessRequest(AuthenticatedRow):
    """A requested role in an environment.

    It names the environment as typed. `environment` is NULL if none has that name: the requester gets the
    same answer in both cases, and such a request waits until it expires.
    """

    MAC_LABEL: ClassVar[str] = "access-request"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid", "environment_name", "requester.uuid", "role", "prefix", "minutes", "reason",
        "state", "decided_by.uuid", "expires_at",
    )  # fmt: skip

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="access_requests",
        help_text="The requested environment. Empty if no environment has the requested name.",
    )
    environment_name = ExactCharField(
        max_length=63, help_text="Name of the environment as the requester typed it."
    )
    requester = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="access_requests",
        help_text="The person who requests access.",
    )
    role = models.CharField(max_length=16, choices=Role.choices, help_text="The requested role.")
    prefix = path_prefix("Limits the requested role to names under this path. Empty: all names.")
    minutes = models.PositiveIntegerField(
        null=True,
        blank=True,
        verbose_name="duration (minutes)",
        help_text="How long the role lasts once granted. Empty: it does not end.",
    )
    reason = optional_text(help_text="Why the requester needs the role.", max_length=500)
    state = models.CharField(
        max_length=12,
        choices=RequestState.choices,
        default=RequestState.PENDING,
        help_text="Whether the request is pending, granted, rejected, canceled or expired.",
    )
    decided_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The manager who decided.",
    )
    comment = optional_text(help_text="What the manager wrote about the decision.", max_length=500)
    membership_uuid = models.UUIDField(
        null=True,
        blank=True,
        verbose_name="membership UUID",
        help_text="Identifier of the granted membership.",
    )
    asked_at = timestamp("requested", "When access was requested, in UTC.")
    expires_at = models.DateTimeField(
        verbose_name="expires", help_text="When an undecided request ends, in UTC."
    )
    decided_at = optional_timestamp("decided", "When the request was decided, in UTC.")
    finished_at = optional_timestamp("finished", "When the request was closed, in UTC.")

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "environment", "id"], name="access_request_by_state")
        ]
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"{self.role} in {self.environment_name}"

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="access-request", uuid=self.uuid, name=self.environment_name)

    @property
    def is_open(self) -> bool:
        return self.state == RequestState.PENDING and is_in_time(self.expires_at)

    @property
    def shown_state(self) -> str:
        return shown_state(self.state, open_states={RequestState.PENDING}, expires_at=self.expires_at)
