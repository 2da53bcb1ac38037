"""Notifications: e-mail recipients, open alerts, and pending deliveries."""

from enum import StrEnum
from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models.uuid_model import Identified
from audit_app.recording.recorder import AuditObject
from environments_app.models.environment import Environment


class Addressee(AuthenticatedRow):
    """Base of what messages about an environment are sent to; `TRANSPORT` is the name of its channel."""

    TRANSPORT: ClassVar[str]

    environment: models.ForeignKey[Environment, Environment]

    class Meta:
        """The table of none."""

        abstract = True

    @property
    def audit_object(self) -> AuditObject:
        """How events name this addressee."""
        return AuditObject(kind=self.MAC_LABEL, uuid=self.uuid, name=str(self))


class Recipient(Addressee):
    """An e-mail recipient of an environment."""

    TRANSPORT: ClassVar[str] = "email"
    MAC_LABEL: ClassVar[str] = "recipient"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("environment.uuid", "email")

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="recipients")
    email = models.EmailField(max_length=254)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        """An address once an environment."""

        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["environment", "email"], name="recipient_once")
        ]
        ordering: ClassVar[list[str]] = ["email"]

    def __str__(self) -> str:
        return str(self.email)


class Alert(Identified):
    """Something that someone has to look at, from when it was found until it is over.

    `open` is True, or NULL once it is over, so that there is one open alert a kind and object.
    `signature` shows whether there is news; `waiting` if news wait until the next message is allowed.
    """

    kind = models.CharField(max_length=40)
    # What it is about: a target, a key.
    about = models.UUIDField()
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, null=True, blank=True)
    open = models.BooleanField(null=True, default=True)
    signature = models.CharField(max_length=64, blank=True, default="")
    subject = models.CharField(max_length=200)
    lines = models.JSONField(default=list, blank=True)
    link = models.CharField(max_length=300, blank=True, default="")
    waiting = models.BooleanField(default=False)
    opened_at = models.DateTimeField(default=timezone.now, editable=False)
    told_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """One open alert a kind and object."""

        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["kind", "about", "open"], name="alert_one_open")
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["waiting", "told_at"])]

    def __str__(self) -> str:
        return str(self.subject)


class DeliveryState(StrEnum):
    """What became of a message to one addressee."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


class Delivery(Identified):
    """One message to one addressee, kept until it is out; any worker may claim it when it is due."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, null=True, blank=True)
    transport = models.CharField(max_length=20)
    # The transport's own row with the destination; nil: the installation's addresses.
    addressee = models.UUIDField()
    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=200)
    lines = models.JSONField(default=list, blank=True)
    link = models.CharField(max_length=300, blank=True, default="")
    state = models.CharField(
        max_length=8, choices=[(s, s) for s in DeliveryState], default=DeliveryState.WAITING
    )
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    # The operator's sentence about the last attempt.
    error = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """The newest first; what is due is found by state."""

        verbose_name_plural = "deliveries"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "due_at"]),
            models.Index(fields=["addressee", "id"]),
        ]
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} by {self.transport}"
