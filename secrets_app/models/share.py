"""Shares: one pinned version, shown once to a signed-in holder of the link."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.recorder import AuditObject
from environments_app.models import Environment, User
from secrets_app.models.secret import Secret


class Share(AuthenticatedRow):
    """What a link opens: a version, for whom, until when, and whether it was opened.

    The link's id is 256 random bits of which the SHA-256 is kept, so that the row opens nothing.
    """

    MAC_LABEL: ClassVar[str] = "share"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid",
        "secret.uuid",
        "number",
        "link_hash",
        "shared_by.uuid",
        "recipient.uuid",
        "expires_at",
        "opened_by.uuid",
        "opened_at",
        "revoked_at",
    )

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="shares")
    secret = models.ForeignKey(Secret, on_delete=models.CASCADE, related_name="shares")
    number = models.PositiveIntegerField()
    link_hash = models.CharField(max_length=64, unique=True, editable=False)
    shared_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="shares_given")
    # None: any signed-in user.
    recipient = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="shares_received"
    )
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    opened_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="shares_opened"
    )
    opened_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"share {self.pk}"

    @property
    def audit_object(self) -> AuditObject:
        """How events name this share: by its secret."""
        return AuditObject(kind="share", uuid=self.uuid, name=self.secret.name)

    @property
    def is_open(self) -> bool:
        """Whether the link can still be used, by any recipient."""
        return self.opened_at is None and self.revoked_at is None and self.expires_at > timezone.now()
