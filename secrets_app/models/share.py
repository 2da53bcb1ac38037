"""Shares: one pinned version, shown once to who has the link and is signed in, or has the proof."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.drafts import AuditObject
from core.clock import has_begun
from core.db.columns import optional_text, optional_timestamp, timestamp
from environments_app.models import Environment, User
from secrets_app.models.secret import Secret


class Proof(models.TextChoices):
    """What a person without an account shows besides the link."""

    PHRASE = "phrase", "Pass phrase"
    EMAIL = "email", "Code by e-mail"


class Share(AuthenticatedRow):
    """What a link opens: a version, for whom, until when, and whether it was opened.

    The link's id is 256 random bits of which the SHA-256 is kept, so that the row opens nothing.
    """

    MAC_LABEL: ClassVar[str] = "share"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid", "secret.uuid", "number", "link_hash", "shared_by.uuid", "recipient.uuid",
        "expires_at", "opened_by.uuid", "opened_at", "revoked_at",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("outside", "address")

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="shares",
        help_text="The environment of the shared secret.",
    )
    secret = models.ForeignKey(
        Secret,
        on_delete=models.CASCADE,
        related_name="shares",
        help_text="The secret that the link opens once.",
    )
    number = models.PositiveIntegerField(
        verbose_name="version", help_text="Number of the version that the link opens."
    )
    link_hash = models.CharField(
        max_length=64, unique=True, editable=False, help_text="Hash of the link. Never shown."
    )
    shared_by = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="shares_given", help_text="The person who made the link."
    )
    # None: any signed-in user.
    recipient = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="shares_received",
        help_text="The person the link is for. Empty: any signed-in person.",
    )
    outside = optional_text(
        "for someone outside",
        "What a person without an account shows to open the link. Empty: it needs a sign-in.",
        max_length=6,
        db_default="",
        choices=Proof.choices,
    )
    address = optional_text(
        "e-mail",
        "Where the codes for the link are sent.",
        max_length=254,
        db_default="",
    )
    proof_mac = optional_text(
        "proof",
        "Keyed hash of the pass phrase or of the last code. Never shown.",
        max_length=96,
        db_default="",
        editable=False,
    )
    tries = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        editable=False,
        verbose_name="wrong tries",
        help_text="How many pass phrases or codes were wrong. Too many end the link.",
    )
    codes = models.PositiveSmallIntegerField(
        default=0, db_default=0, editable=False, help_text="How many codes were asked for."
    )
    code_asked_at = optional_timestamp(
        "code requested", "When the last code was asked for, in UTC.", editable=False
    )
    code_due_at = optional_timestamp(
        "code due", "Since when a code waits to be sent, in UTC.", editable=False, db_index=True
    )
    note = models.CharField(max_length=200, blank=True, help_text="What the sender wrote for the recipient.")
    created_at = timestamp("created", "When the link was made, in UTC.")
    expires_at = models.DateTimeField(
        verbose_name="expires", help_text="When the link stops working, in UTC."
    )
    opened_by = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="shares_opened",
        help_text="The person who opened the link.",
    )
    opened_at = optional_timestamp("opened", "When the link was opened, in UTC. It opens once.")
    revoked_at = optional_timestamp("revoked", "When the link was revoked, in UTC.")

    class Meta:
        verbose_name = "one-time link"
        verbose_name_plural = "one-time links"
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"share {self.pk}"

    @property
    def audit_object(self) -> AuditObject:
        """How events name this share: by its secret."""
        return AuditObject(kind="share", uuid=self.uuid, name=self.secret.name)

    @property
    def reader(self) -> str:
        """Whom the link is for."""
        if self.outside:
            return f"{self.address} (outside)" if self.address else "someone outside"
        return self.recipient.username if self.recipient else "anyone signed in"

    @property
    def is_open(self) -> bool:
        """Whether the link can still be used, by any recipient."""
        is_used = self.opened_at is not None or self.revoked_at is not None
        return not is_used and has_begun(self.created_at) and self.expires_at > timezone.now()
