"""Migrations of data keys from the key file to KMS: at most one is open."""

from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models.columns import optional_timestamp, timestamp

FINALISED = "finalised"
ROLLED_BACK = "rolled-back"


class KeyMigration(AuthenticatedRow):
    """A migration; while it is open every data key carries both wraps, new ones too.

    `local_key_uri` is the key file that a rollback goes back to: on a machine with another one no
    data key is made.
    """

    MAC_LABEL: ClassVar[str] = "key-migration"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("local_key_uri", "open", "outcome")

    local_key_uri = models.CharField(
        max_length=2048,
        verbose_name="key file",
        help_text="Identifier of the key file that a rollback returns to.",
    )
    # True or null, since MariaDB has no conditional unique constraints.
    open = models.BooleanField(
        null=True,
        default=True,
        help_text="Yes while data keys carry both wraps. No once the migration has ended.",
    )
    outcome = models.CharField(
        max_length=16,
        blank=True,
        choices=[(FINALISED, FINALISED), (ROLLED_BACK, ROLLED_BACK)],
        help_text="How the migration ended: finalized or rolled back.",
    )
    started_at = timestamp("started", "When the migration began, in UTC.")
    ended_at = optional_timestamp("ended", "When the migration ended, in UTC.")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["open"], name="key_migration_one_open")]
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"migration {self.uuid}"
