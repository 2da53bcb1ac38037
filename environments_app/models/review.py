"""Access reviews: who had which access when a review began, and what its reviewers decided about each."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.drafts import AuditObject
from core.canonical_json import Json, canonical_json, utc_text
from core.db.columns import ExactCharField, optional_text, optional_timestamp, timestamp
from environments_app.names import MAX_PREFIX

# Stands in a scope for the administrators, auditors and tokens of the installation.
INSTALLATION: Final = "(installation)"


class ReviewState(models.TextChoices):
    """How far a review is."""

    OPEN = "open", "Open"
    SIGNED = "signed", "Signed off"
    CANCELLED = "cancelled", "Canceled"


class Review(AuthenticatedRow):
    """One review of access: `population` is the SHA-256 over its frozen items."""

    MAC_LABEL: ClassVar[str] = "review"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "name", "scope", "population_at", "items_count", "population", "opened_by_uuid", "opened_by_name",
        "due_at", "state", "closed_by_uuid", "closed_by_name", "closed_at", "comment",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("places", "prefix", "kinds", "ends_undecided", "given")

    name = models.CharField(max_length=100, help_text="Such as: Access, fourth quarter.")
    # Names at the time; an environment may be deleted later, and the review stays.
    scope = models.JSONField(default=list, help_text="Names of the environments whose access is reviewed.")
    places = models.JSONField(
        null=True,
        blank=True,
        verbose_name="environment UUIDs",
        help_text="Identifiers of those environments.",
    )
    prefix = ExactCharField(
        "path prefix",
        max_length=MAX_PREFIX,
        blank=True,
        default="",
        db_default="",
        help_text="Only access that reaches names under this path. Empty: all access.",
    )
    kinds = models.JSONField(null=True, blank=True, help_text="Only access by these paths. Empty: by any.")
    ends_undecided = models.BooleanField(
        null=True,
        blank=True,
        verbose_name="ends what nobody decided",
        help_text="Whether a worker ends what is undecided a week after the review was due.",
    )
    population_at = timestamp("frozen", "When the access was listed that is reviewed, in UTC.")
    items_count = models.PositiveIntegerField(
        default=0, verbose_name="items", help_text="How much access was listed."
    )
    population = models.CharField(
        max_length=64, default="", help_text="SHA-256 over what was listed, as the audit log has it."
    )
    opened_by_uuid = models.UUIDField(
        verbose_name="started by (UUID)", help_text="Identifier of the account that started the review."
    )
    opened_by_name = models.CharField(
        max_length=150, verbose_name="started by", help_text="The administrator who started the review."
    )
    due_at = models.DateTimeField(verbose_name="due", help_text="When all shall be decided, in UTC.")
    # How many reminders went out; it decides nothing.
    reminders = models.PositiveSmallIntegerField(default=0, editable=False, help_text="Reminders sent.")
    state = models.CharField(
        max_length=10,
        choices=ReviewState.choices,
        default=ReviewState.OPEN,
        help_text="Whether the review is open, signed off or canceled.",
    )
    closed_by_uuid = models.UUIDField(
        null=True,
        blank=True,
        verbose_name="closed by (UUID)",
        help_text="Identifier of the account that signed it off or canceled it.",
    )
    closed_by_name = optional_text("closed by", "Who signed it off or canceled it.", max_length=150)
    closed_at = optional_timestamp("closed", "When it was signed off or canceled, in UTC.")
    comment = optional_text(help_text="What was written at the end of the review.", max_length=500)
    given = models.JSONField(
        null=True,
        blank=True,
        verbose_name="given since",
        help_text="The access that was given after the list was made, as the sign-off acknowledged it.",
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return str(self.name)

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="review", uuid=self.uuid, name=self.name)

    @property
    def is_open(self) -> bool:
        return self.state == ReviewState.OPEN

    @property
    def is_overdue(self) -> bool:
        return self.is_open and self.due_at <= timezone.now()

    @property
    def covers_installation(self) -> bool:
        return INSTALLATION in self.scope

    @property
    def scope_text(self) -> str:
        """What is reviewed, in words."""
        under = f", only what reaches {self.prefix}/" if self.prefix else ""
        kinds = [AccessKind(kind).label.lower() for kind in self.kinds or ()]
        return ", ".join(self.scope) + under + (f", only {', '.join(kinds)}" if kinds else "")


class AccessKind(models.TextChoices):
    """The path by which somebody or something has access."""

    DIRECT = "direct", "Direct grant"
    GROUP = "group", "By a group"
    TOKEN = "token", "Service token"
    TRUST = "trust", "Trust"
    INSTALLATION = "installation", "Role in the installation"
    RELEASE = "release", "Release for guarded secrets"


class Decision(models.TextChoices):
    """What a reviewer decided about one access."""

    UNDECIDED = "", "Not decided"
    KEEP = "keep", "Keep"
    CHANGE = "change", "Change"
    END = "end", "End"


class ReviewItem(AuthenticatedRow):
    """One access as it was when the review began, and the decision about it.

    What was frozen never changes. It names rows by their uuids, so that it stays when they are gone.
    """

    FROZEN: ClassVar[tuple[str, ...]] = (
        "kind", "environment_uuid", "environment_name", "subject_kind", "subject_uuid", "subject_name",
        "row_uuid", "place_uuid", "role", "prefix", "via", "granted_by_uuid", "granted_by_name", "since",
        "expires_at", "hindrances", "last_used_at", "unused", "reviewer_uuid", "reviewer_name",
    )  # fmt: skip
    MAC_LABEL: ClassVar[str] = "review-item"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "review.uuid", *FROZEN, "decision", "reason", "decided_state", "decided_by_uuid", "decided_by_name",
        "decided_at",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("kept",)

    # The index below begins with it.
    review = models.ForeignKey(
        Review,
        on_delete=models.PROTECT,
        related_name="items",
        db_index=False,
        help_text="The review that it belongs to.",
    )
    kind = models.CharField(
        max_length=12, choices=AccessKind.choices, help_text="By which path the access exists."
    )
    environment_uuid = models.UUIDField(
        null=True,
        blank=True,
        verbose_name="environment UUID",
        help_text="The environment. Empty: the installation.",
    )
    environment_name = optional_text(
        "environment", "Name of the environment. Empty: the installation.", max_length=63
    )
    subject_kind = models.CharField(
        max_length=8, verbose_name="kind of holder", help_text="Person, token or trust."
    )
    subject_uuid = models.UUIDField(
        verbose_name="holder UUID", help_text="Identifier of the person, token or trust."
    )
    subject_name = models.CharField(
        max_length=150, verbose_name="holder", help_text="The person, token or trust that has the access."
    )
    row_uuid = models.UUIDField(
        verbose_name="row UUID", help_text="Identifier of the membership, token, trust or account."
    )
    place_uuid = models.UUIDField(
        null=True,
        blank=True,
        verbose_name="place UUID",
        help_text="Identifier of the person's place in the group.",
    )
    role = models.CharField(max_length=16, help_text="The role that was held.")
    prefix = optional_text(help_text="The path that limited the role. Empty: all names.", max_length=600)
    via = models.CharField(max_length=600, verbose_name="path", help_text="How the access came about.")
    granted_by_uuid = models.UUIDField(
        null=True,
        blank=True,
        verbose_name="granted by (UUID)",
        help_text="Identifier of the account that granted it.",
    )
    granted_by_name = optional_text("granted by", "Who granted it.", max_length=150)
    since = optional_timestamp("since", "Since when, in UTC. Empty: not known.")
    expires_at = optional_timestamp("expires", "When it ends by itself, in UTC. Empty: it does not.")
    hindrances = optional_text("held back by", "Why it opened nothing then. Empty: in force.", max_length=300)
    last_used_at = optional_timestamp("last used", "When it was last used, in UTC. Empty: never.")
    unused = models.BooleanField(help_text="Whether to keep it asks for a reason.")
    reviewer_uuid = models.UUIDField(
        null=True,
        blank=True,
        db_index=True,
        verbose_name="reviewer UUID",
        help_text="Identifier of the reviewer. Empty: nobody could review it.",
    )
    reviewer_name = optional_text("reviewer", "The person who is asked.", max_length=150)
    decision = models.CharField(
        max_length=8,
        choices=Decision.choices,
        default=Decision.UNDECIDED,
        blank=True,
        help_text="Whether the access was kept, made less or ended.",
    )
    reason = optional_text(help_text="Why it was decided so.", max_length=500)
    # The digest of the access that the decision was about.
    decided_state = optional_text("state decided about", "Digest of the access at that time.", max_length=32)
    kept = models.JSONField(
        null=True,
        blank=True,
        verbose_name="kept as",
        help_text="The role, path and end that were kept, and whether they are those that were listed.",
    )
    decided_by_uuid = models.UUIDField(
        null=True,
        blank=True,
        verbose_name="decided by (UUID)",
        help_text="Identifier of the account that decided.",
    )
    decided_by_name = optional_text("decided by", "Who decided.", max_length=150)
    decided_at = optional_timestamp("decided", "When it was decided, in UTC.")

    class Meta:
        verbose_name = "access under review"
        verbose_name_plural = "access under review"
        ordering: ClassVar[list[str]] = ["id"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["review", "decision", "id"], name="review_item_by_decision")
        ]

    def __str__(self) -> str:
        return f"{self.subject_name}: {self.role} in {self.environment_name or 'the installation'}"

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="review-item", uuid=self.uuid, name=str(self))

    @property
    def right(self) -> dict[str, Json]:
        """The right that was listed."""
        return right_of(self.role, self.prefix, self.expires_at)

    @property
    def kept_otherwise(self) -> str:
        """The right that was kept, if it is not the one that was listed."""
        if not self.kept or self.kept["as_listed"]:
            return ""
        under = f" under {self.kept['prefix']}/" if self.kept["prefix"] else ""
        return f"{self.kept['role']}{under}, until {self.kept['expires_at'] or 'it is ended'}"

    @property
    def frozen(self) -> str:
        """What was frozen, as the text that the population is hashed of."""
        facts = {"uuid": str(self.uuid), **{name: _plain(getattr(self, name)) for name in self.FROZEN}}
        return canonical_json(facts).decode()


def population_of(items: Iterable[ReviewItem]) -> str:
    """Return the SHA-256 over what was frozen of items, in whatever order they are."""
    return hashlib.sha256("\n".join(sorted(item.frozen for item in items)).encode()).hexdigest()


def right_of(role: object, prefix: str, expires_at: datetime | None) -> dict[str, Json]:
    """Return a right as events and packs have it."""
    return {"role": str(role), "prefix": prefix, "expires_at": utc_text(expires_at) if expires_at else None}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return utc_text(value)
    return str(value) if isinstance(value, UUID) else value
