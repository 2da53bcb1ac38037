"""Where a version comes from that was carried from another system."""

from typing import ClassVar, Final

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.db.columns import ExactCharField, optional_number, optional_text, optional_timestamp
from secrets_app.models.secret import SecretVersion

MAX_ORIGIN: Final = 1024
MAX_AUTHOR: Final = 150


class VersionOrigin(AuthenticatedRow):
    """The system, path, number and author that a carried version has where it was written.

    The version has its time there as well (`SecretVersion.written_at`), for what answers many reads.
    """

    # It comes with its version, which the event lists, and goes with it.
    RECORDED: ClassVar[bool] = False
    MAC_LABEL: ClassVar[str] = "version-origin"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "version.uuid", "migration", "system", "place", "path", "number", "identifier",
        "author", "written_at",
        "state",
    )  # fmt: skip

    version = models.OneToOneField(
        SecretVersion,
        on_delete=models.CASCADE,
        related_name="origin",
        help_text="The version that was carried.",
    )
    migration = models.UUIDField(help_text="Identifier of the migration that carried it.")
    system = models.CharField(max_length=32, help_text="The kind of system, such as vault.")
    place = ExactCharField(max_length=512, help_text="The mount, project or account in that system.")
    path = ExactCharField(max_length=MAX_ORIGIN, help_text="The path of the secret in that system.")
    number = optional_number("number there", "Number of the version in that system. Empty if it has none.")
    identifier = optional_text(
        "identifier there", "Identifier of the version in that system.", max_length=128
    )
    author = optional_text("author there", "Name of who wrote it there.", max_length=MAX_AUTHOR)
    written_at = optional_timestamp("written there", "When it was written there, in UTC.")
    # A version whose value that system no longer gave.
    state = optional_text(
        help_text="Deleted or destroyed, if that system no longer had the value.", max_length=16
    )

    class Meta:
        verbose_name = "origin of a version"
        verbose_name_plural = "origins of versions"

    def __str__(self) -> str:
        number = f" v{self.number}" if self.number else ""
        return f"{self.system}: {self.place}/{self.path}{number}"
