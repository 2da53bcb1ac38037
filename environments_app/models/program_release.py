"""Releases of programs: which of them read guarded values, and where, since two people agreed to it."""

from typing import ClassVar, Final
from uuid import UUID

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.drafts import AuditObject
from core.clock import has_begun
from core.db.columns import optional_text, optional_timestamp, timestamp
from environments_app.models.columns import path_prefix
from environments_app.models.environment import Environment

# What the audit log holds of the name of an object.
_NAME_LENGTH: Final = 600


class ProgramKind(models.TextChoices):
    """What a program signs in by."""

    TOKEN = "token", "Service token"
    TRUST = "trust", "Trust"


class ProgramRelease(AuthenticatedRow):
    """A program that reads guarded values, of one secret or of all under a path, without asking each time.

    It names its rows by their uuids: what is made again under the same name is not released.
    """

    MAC_LABEL: ClassVar[str] = "program-release"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid", "program_kind", "program_uuid", "program_name", "program_state", "secret_uuid",
        "path", "expires_at", "reason", "asked_by_uuid", "asked_by_name", "agreed_by", "approval",
        "created_at", "ended_at", "ended_by",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("suspended_at",)

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="program_releases",
        help_text="Environment whose guarded secrets the program reads.",
    )
    program_kind = models.CharField(
        max_length=5, choices=ProgramKind.choices, help_text="Whether it is a service token or a trust."
    )
    program_uuid = models.UUIDField(
        db_index=True, verbose_name="program UUID", help_text="Identifier of the token or trust."
    )
    program_name = models.CharField(
        max_length=100, verbose_name="program", help_text="Name of the token or trust at that time."
    )
    # A trust that was changed since lets in others than were agreed on.
    program_state = optional_text(
        "state of the program",
        "Digest of whom the trust let in, and to what, at that time. Empty for a token.",
        max_length=64,
    )
    secret_uuid = models.UUIDField(
        null=True,
        blank=True,
        verbose_name="secret UUID",
        help_text="The one secret that it reads. Empty: each guarded one under the path.",
    )
    path = path_prefix("Name of the secret, or the path under which it reads each guarded one.")
    expires_at = optional_timestamp("expires", "When the release ends, in UTC. Empty: until it is ended.")
    reason = models.CharField(max_length=500, help_text="Why the program needs the values.")
    asked_by_uuid = models.UUIDField(
        verbose_name="requested by (UUID)", help_text="Identifier of the manager who asked for it."
    )
    asked_by_name = models.CharField(
        max_length=150, verbose_name="requested by", help_text="The manager who asked for it."
    )
    agreed_by = models.CharField(max_length=800, help_text="Who agreed to it.")
    approval = models.UUIDField(help_text="Identifier of the request by which they agreed.")
    created_at = timestamp("released", "When the program was released, in UTC.")
    suspended_at = optional_timestamp(
        "suspended", "Set by a restore until an operator releases the row, in UTC.", editable=False
    )
    ended_at = optional_timestamp("ended", "When the release was ended, in UTC. Empty: it was not.")
    ended_by = optional_text("ended by", "Who ended it.", max_length=150)

    class Meta:
        verbose_name = "released program"
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.program_name} for {self.path}{'' if self.secret_uuid else '/'}"

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="release", uuid=self.uuid, name=str(self)[:_NAME_LENGTH])

    @property
    def is_live(self) -> bool:
        """Whether it has begun, and is neither ended nor suspended nor over."""
        begun = self.expires_at is None or has_begun(self.created_at)
        over = self.expires_at is not None and self.expires_at <= timezone.now()
        return self.ended_at is None and self.suspended_at is None and begun and not over

    def covers(self, secret: UUID, name: str) -> bool:
        """Return whether it is for a secret of this uuid and name; a path counts by whole segments."""
        return self.secret_uuid in {None, secret} and self.reaches(name)

    def reaches(self, name: str) -> bool:
        """Return whether it is for secrets of this name; a path counts by whole segments."""
        is_below = self.secret_uuid is None and name.startswith(f"{self.path}/")
        return name == self.path or is_below
