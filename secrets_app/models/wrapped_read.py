"""Wrapped reads: one pinned version, which the holder of a wrapping token opens once."""

from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.drafts import AuditObject
from core.db.columns import ExactCharField, optional_timestamp, timestamp
from environments_app.models import Environment
from secrets_app.models.secret import Secret


class WrappedRead(AuthenticatedRow):
    """What a wrapping token opens: a version, by whose right, until when, and whether it was opened.

    It holds no value, and of the wrapping token only the SHA-256 of 256 random bits: the row opens nothing.
    """

    MAC_LABEL: ClassVar[str] = "wrapped-read"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid", "secret.uuid", "number", "path", "token_hash", "bearer", "created_at",
        "expires_at", "opened_at", "revoked_at",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("approval",)

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="wrapped_reads",
        help_text="The environment of the wrapped secret.",
    )
    secret = models.ForeignKey(
        Secret,
        on_delete=models.CASCADE,
        related_name="wrapped_reads",
        help_text="The secret that the wrapping token opens once.",
    )
    number = models.PositiveIntegerField(
        verbose_name="version", help_text="Number of the version that the wrapping token opens."
    )
    path = models.CharField(max_length=700, help_text="The path that was read, as the client named it.")
    token_hash = models.CharField(
        max_length=64, unique=True, editable=False, help_text="Hash of the wrapping token. Never shown."
    )
    bearer = ExactCharField(
        max_length=22, db_index=True, help_text="Public ID of the token by whose right the value is read."
    )
    created_at = timestamp("wrapped", "When the read was wrapped, in UTC.")
    expires_at = models.DateTimeField(
        verbose_name="expires", db_index=True, help_text="When the wrapping token ends, in UTC."
    )
    opened_at = optional_timestamp("opened", "When the read was unwrapped, in UTC. It is unwrapped once.")
    approval = models.UUIDField(
        null=True,
        blank=True,
        help_text="The request that a second person must approve before it opens, for a guarded secret.",
    )
    revoked_at = optional_timestamp(
        "revoked", "When the wrapping token was revoked, or a restore ended it, in UTC."
    )

    class Meta:
        verbose_name = "wrapped read"
        verbose_name_plural = "wrapped reads"
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"wrapped read {self.pk}"

    @property
    def audit_object(self) -> AuditObject:
        """How events name this read: by its secret."""
        return AuditObject(kind="wrapped-read", uuid=self.uuid, name=self.secret.name)
