"""Notifications: e-mail recipients, open alerts, and pending deliveries."""

from enum import StrEnum
from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.drafts import AuditObject
from core.db.columns import optional_text, optional_timestamp, timestamp
from core.db.identity import Identified
from environments_app.models.environment import Environment


class Addressee(AuthenticatedRow):
    """Base of what messages about an environment are sent to; `TRANSPORT` is the name of its channel."""

    TRANSPORT: ClassVar[str]

    environment: models.ForeignKey[Environment, Environment]

    class Meta:
        abstract = True

    @property
    def transport(self) -> str:
        """The name of the channel of this row."""
        return self.TRANSPORT

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind=self.MAC_LABEL, uuid=self.uuid, name=str(self))


class Recipient(Addressee):
    """An e-mail recipient of an environment."""

    TRANSPORT: ClassVar[str] = "email"
    MAC_LABEL: ClassVar[str] = "recipient"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("environment.uuid", "email")

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="recipients",
        help_text="The environment whose notifications are sent.",
    )
    email = models.EmailField(
        max_length=254, verbose_name="email address", help_text="Where the notifications are sent."
    )
    created_by = models.CharField(
        max_length=150, verbose_name="added by", help_text="Name of the person who added the address."
    )
    created_at = timestamp("added", "When the address was added, in UTC.")

    class Meta:
        verbose_name = "email recipient"
        verbose_name_plural = "email recipients"
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

    kind = models.CharField(max_length=40, help_text="What kind of problem it is.")
    about = models.UUIDField(
        verbose_name="object UUID",
        help_text="Identifier of the target, key or other object that has the problem.",
    )
    environment = models.ForeignKey(
        Environment,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        help_text="The affected environment. Empty for the installation.",
    )
    open = models.BooleanField(
        null=True, default=True, help_text="Yes while the problem lasts. No once it has ended."
    )
    signature = optional_text(
        help_text="Distinguishes news from a repetition of the same problem.", max_length=64
    )
    subject = models.CharField(max_length=200, help_text="Subject line of the message.")
    lines = models.JSONField(
        default=list,
        blank=True,
        verbose_name="text",
        help_text="Lines of the message. They never hold a value.",
    )
    link = optional_text(help_text="Page of Keeper where the problem is handled.", max_length=300)
    waiting = models.BooleanField(
        default=False, help_text="Whether news wait until the next message is allowed."
    )
    opened_at = timestamp("opened", "When the problem was found, in UTC.")
    told_at = optional_timestamp("last sent", "When a message about it was last sent, in UTC.")
    closed_at = optional_timestamp("closed", "When the problem was over, in UTC.")

    class Meta:
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

    environment = models.ForeignKey(
        Environment,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        help_text="The environment that the message is about. Empty for the installation.",
    )
    transport = models.CharField(
        max_length=20, verbose_name="channel", help_text="How the message is sent: email or webhook."
    )
    # The transport's own row with the destination; nil: the installation's addresses.
    addressee = models.UUIDField(
        verbose_name="addressee UUID",
        help_text="Identifier of the recipient or webhook. Zeros for the addresses of the installation.",
    )
    kind = models.CharField(max_length=40, help_text="What kind of problem the message is about.")
    subject = models.CharField(max_length=200, help_text="Subject line of the message.")
    lines = models.JSONField(
        default=list,
        blank=True,
        verbose_name="text",
        help_text="Lines of the message. They never hold a value.",
    )
    link = optional_text(help_text="Page of Keeper that the message links to.", max_length=300)
    state = models.CharField(
        max_length=8,
        choices=[(s, s) for s in DeliveryState],
        default=DeliveryState.WAITING,
        help_text="Whether the message is waiting, sent or failed.",
    )
    attempts = models.PositiveIntegerField(default=0, help_text="Number of attempts to send it.")
    due_at = models.DateTimeField(
        default=timezone.now, verbose_name="next attempt", help_text="When it is sent next, in UTC."
    )
    error = optional_text(help_text="Why the last attempt failed.", max_length=300)
    created_at = timestamp("created", "When the message was queued, in UTC.")
    finished_at = optional_timestamp("finished", "When it was sent or given up, in UTC.")

    class Meta:
        verbose_name = "notification"
        verbose_name_plural = "notifications"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "due_at"]),
            models.Index(fields=["addressee", "id"]),
        ]
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} by {self.transport}"
