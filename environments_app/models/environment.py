"""Environments: the places in which secrets live."""

from typing import ClassVar, Final

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.db.columns import ExactCharField

MAX_OFFLINE_HOURS: Final = 168
MAX_APPROVALS: Final = 5


class Colour(models.TextChoices):
    """The palette of environments: the pages' stylesheet has a class for each, under a strict CSP."""

    SLATE = "slate"
    BLUE = "blue"
    TEAL = "teal"
    GREEN = "green"
    LIME = "lime"
    AMBER = "amber"
    ORANGE = "orange"
    RED = "red"
    PINK = "pink"
    VIOLET = "violet"


class Environment(AuthenticatedRow):
    """A place for secrets with its own members and keys."""

    MAC_LABEL: ClassVar[str] = "environment"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("name", "kms_key_alias", "protected")
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("offline_hours", "approvals_required", "version_defaults")

    name = ExactCharField(
        max_length=63,
        unique=True,
        help_text="Short name in addresses, tokens and the API. It cannot be changed later.",
    )
    display_name = models.CharField(
        max_length=100, blank=True, help_text="What people see on pages. Empty: the name is shown."
    )
    description = models.TextField(
        max_length=2000, blank=True, help_text="What the environment is for, and who runs it."
    )
    colour = models.CharField(
        max_length=10,
        choices=Colour.choices,
        default=Colour.SLATE,
        verbose_name="color",
        help_text="Color of the environment's label on pages.",
    )
    position = models.PositiveIntegerField(default=0, help_text="Order in lists. Lower numbers come first.")
    protected = models.BooleanField(
        default=False, help_text="Changes need an approval, and buttons ask for the environment's name."
    )
    # NULL is one, as in rows that are older than the column.
    approvals_required = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        verbose_name="approvals required",
        validators=[MinValueValidator(1), MaxValueValidator(MAX_APPROVALS)],
        help_text="How many different people must approve a change of a protected environment. Empty: one.",
    )
    kms_key_alias = models.CharField(
        max_length=2048,
        blank=True,
        verbose_name="KMS key",
        help_text="Alias (alias/…), key ID or ARN in KMS. Empty: the key of the installation.",
    )
    offline_hours = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_OFFLINE_HOURS)],
        verbose_name="offline copies (hours)",
        help_text="How long kpr may use its encrypted copy of values while Keeper cannot be reached, "
        f"{MAX_OFFLINE_HOURS} at most. Empty: it keeps no copy.",
    )
    version_defaults = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="What clients of KV v2 demand of all writers of the environment's secrets.",
    )
    # Warnings for the user who saved it; not stored.
    warnings: tuple[str, ...] = ()
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When the environment was created, in UTC."
    )
    updated_at = models.DateTimeField(
        auto_now=True, verbose_name="updated", help_text="When its settings were last changed, in UTC."
    )

    class Meta:
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return str(self.name)

    @property
    def approvals_needed(self) -> int:
        return self.approvals_required or 1

    @property
    def title(self) -> str:
        return self.display_name or self.name
