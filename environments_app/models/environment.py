"""Environments: the places in which secrets live."""

from typing import ClassVar, Final

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedQuerySet, AuthenticatedRow
from core.db.columns import ExactCharField, optional_timestamp

MAX_OFFLINE_HOURS: Final = 168
MAX_OUTSIDE_HOURS: Final = 168
MAX_APPROVALS: Final = 5
MAX_GUARDED_PREFIXES: Final = 50


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


class LivingEnvironments(models.Manager["Environment"]):
    """The environments that are not deleted."""

    def get_queryset(self) -> AuthenticatedQuerySet["Environment"]:
        """Return the environments that exist for people and programs."""
        rows: AuthenticatedQuerySet[Environment] = AuthenticatedQuerySet(self.model, using=self._db)
        return rows.filter(deleted_at__isnull=True)


class Environment(AuthenticatedRow):
    """A place for secrets with its own members and keys."""

    MAC_LABEL: ClassVar[str] = "environment"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("name", "kms_key_alias", "protected")
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = (
        "offline_hours",
        "approvals_required",
        "version_defaults",
        "outside_hours",
        "deleted_at",
        "purge_began_at",
        "guarded_prefixes",
        "emergency_reads",
    )

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
    outside_hours = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_OUTSIDE_HOURS)],
        verbose_name="links for people outside (hours)",
        help_text="How long a link may last that shows a value once to a person without an account, "
        f"{MAX_OUTSIDE_HOURS} at most. Empty: no such links. A protected environment has none.",
    )
    version_defaults = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="What clients of KV v2 demand of all writers of the environment's secrets.",
    )
    # A text, which a condition of SQL compares whole.
    guarded_prefixes = ExactCharField(
        max_length=4000,
        blank=True,
        default="",
        db_default="",
        verbose_name="guarded paths",
        help_text="Paths with blanks between them, such as app/root. Each secret under them is guarded: a "
        "value is read only after a second person has agreed.",
    )
    # Null where they are off: a row of older releases has no value, and its MAC covers none.
    emergency_reads = models.BooleanField(
        null=True,
        blank=True,
        default=None,
        verbose_name="emergency reads",
        help_text="Yes if a person may show a guarded value at once for a reason. Managers and auditors are "
        "alerted, and another person reviews the read.",
    )
    # Deleted, it exists for nobody: `objects` leaves it out, and the policy lets nothing be done in it.
    deleted_at = optional_timestamp(
        "deleted", "When the environment was deleted, in UTC. It is kept, sealed."
    )
    purge_began_at = optional_timestamp(
        "removal began", "When the worker began to remove it for good, in UTC. It can no longer be restored."
    )
    # Warnings for the user who saved it; not stored.
    warnings: tuple[str, ...] = ()
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When the environment was created, in UTC."
    )
    updated_at = models.DateTimeField(
        auto_now=True, verbose_name="updated", help_text="When its settings were last changed, in UTC."
    )

    objects: ClassVar[LivingEnvironments] = LivingEnvironments()  # type: ignore[assignment]  # narrower on purpose
    # Deleted ones too: for keys, verification, backups and the audit log.
    every = models.Manager.from_queryset(AuthenticatedQuerySet)()

    class Meta:
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return str(self.name)

    @property
    def delete_version_after(self) -> int:
        """How many seconds a new version of a secret can be read; 0 for always, less for no secret."""
        return int((self.version_defaults or {}).get("delete_version_after") or 0)

    @property
    def guarded_paths(self) -> list[str]:
        """The paths under which each secret is guarded."""
        return str(self.guarded_prefixes).split()

    def guards(self, name: str) -> bool:
        """Return whether a name lies under a guarded path, by whole segments."""
        return any(name == path or name.startswith(f"{path}/") for path in self.guarded_paths)

    @property
    def approvals_needed(self) -> int:
        return self.approvals_required or 1
