"""Migrations: what is carried from another system, by which rules, and how far it has come."""

from enum import StrEnum
from typing import ClassVar, Final

from django.db import models

from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from core.db.columns import ExactCharField, choice, optional_text, optional_timestamp, timestamp
from core.db.identity import Identified
from environments_app.models import Environment
from secrets_app.envelope import SOURCE_CREDENTIALS, Context
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.models import MAX_NAME_LENGTH, DataKey
from secrets_app.models.origin import MAX_ORIGIN

MAX_PLACE: Final = 512
MAX_MOUNT: Final = 200


class MigrationState(StrEnum):
    """How far a migration has come."""

    PLANNING = "planning"
    PLANNED = "planned"
    APPLYING = "applying"
    # The source is looked at again, and further versions are carried, until it is stopped.
    FOLLOWING = "following"
    PAUSED = "paused"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


# A worker has something to do.
WORKING: Final = (MigrationState.PLANNING, MigrationState.APPLYING)
ENDED: Final = (MigrationState.DONE, MigrationState.STOPPED)


class Word(StrEnum):
    """What a line of the plan says about a secret of the source."""

    NEW = "new"
    SAME = "same"
    NEWER = "newer"
    CHANGED = "changed on both sides"
    RENAMED = "renamed"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    SKIPPED = "skipped"


class Choice(StrEnum):
    """Which side wins where both have changed; SKIP settles what cannot be carried."""

    KEEP = "keep"
    TAKE = "take"
    SKIP = "skip"


class LineState(StrEnum):
    """What became of a line."""

    PLANNED = "planned"
    CARRIED = "carried"
    # It differs from the plan by now, or was refused when it was stored: the reason is on the line.
    LEFT = "left"


class Migration(AuthenticatedRow):
    """A source, the rules where its secrets go, and the plan that was made of both.

    `environment` is the first of the environments that the rules name. Its key seals the credentials, and its
    stream has the acts on the migration.
    """

    MAC_LABEL: ClassVar[str] = "migration"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid", "source", "endpoint", "settings", "rules", "actor_kind", "actor_uuid",
        "actor_name", "plan",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("plan_digest", "approvals", "follow_seconds", "ended_at")

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="migrations",
        help_text="The first environment that secrets are carried to.",
    )
    source = models.CharField(max_length=32, help_text="The kind of system that secrets are carried from.")
    endpoint = models.CharField(max_length=2048, help_text="Address that the credentials may be sent to.")
    settings = models.JSONField(default=dict, help_text="Settings of the source, without credentials.")
    # Each with a place of the source and where its secrets go (`sync_app.migration.placing`).
    rules = models.JSONField(default=list, help_text="Where the secrets of each place go.")
    actor_kind = models.CharField(max_length=16, help_text="Kind of who requested the migration.")
    actor_uuid = models.UUIDField(verbose_name="actor UUID", help_text="Identifier of the requester.")
    actor_name = models.CharField(max_length=150, help_text="Name of the requester.")
    state = choice(
        MigrationState,
        "How far the migration has come.",
        max_length=16,
        default=MigrationState.PLANNING,
    )
    plan = models.PositiveIntegerField(
        default=1, help_text="Number of the plan; each look at the source makes one."
    )
    planned_at = optional_timestamp("planned", "When the plan was made, in UTC.")
    # SHA-256 over the lines, in hexadecimal; empty while they are made.
    plan_digest = optional_text("plan digest", "Checksum of the plan's lines.", max_length=64)
    # The uuid of the approval by that of each protected environment.
    approvals = models.JSONField(default=dict, blank=True, help_text="Approvals of the plan, by environment.")
    counts = models.JSONField(default=dict, blank=True, help_text="Number of secrets and versions, by word.")
    follow_seconds = models.PositiveIntegerField(
        default=0, help_text="Seconds between two looks at the source. 0: it is not followed."
    )
    due_at = optional_timestamp("next look", "When the source is looked at next, in UTC.", db_index=True)
    error = optional_text(help_text="Why the work ended or waits.", max_length=500)
    attempts = models.PositiveIntegerField(default=0, help_text="Number of attempts in a row that failed.")
    lease_owner = optional_text("lease owner", "The worker that carries it out.", max_length=150)
    lease_until = optional_timestamp("lease until", "When another worker may carry it on, in UTC.")
    epoch = models.PositiveIntegerField(default=0, help_text="Number of claims by workers.")
    created_at = timestamp("created", "When the migration was requested, in UTC.")
    ended_at = optional_timestamp("ended", "When the migration was finished or stopped, in UTC.")

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"{self.source} {self.endpoint}"

    @property
    def actor(self) -> Actor:
        return Actor(kind=ActorKind(self.actor_kind), uuid=self.actor_uuid, name=self.actor_name)

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="migration", uuid=self.uuid, name=str(self.endpoint)[:200])


class MountRule(AuthenticatedRow):
    """Where a client of the old system finds in an environment what came from a mount.

    With a `folder`, paths below it are meant, and that folder is no part of the name here.
    """

    MAC_LABEL: ClassVar[str] = "mount-rule"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("environment.uuid", "mount", "folder", "prefix")

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="mount_rules",
        help_text="The environment that has the secrets of the mount.",
    )
    mount = ExactCharField(max_length=MAX_MOUNT, help_text="Name of the mount in the old system.")
    folder = ExactCharField(
        max_length=MAX_MOUNT, blank=True, help_text="First folder of the paths that are meant. Empty: all."
    )
    prefix = ExactCharField(
        max_length=MAX_MOUNT, blank=True, help_text="What the names here begin with. Empty: nothing."
    )
    created_at = timestamp("created", "When the rule was made, in UTC.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["environment", "mount", "folder"], name="mount_rule_place")
        ]

    def __str__(self) -> str:
        return f"{self.mount}/{self.folder}" if self.folder else str(self.mount)


class SourceCredentials(Identified):
    """The sealed credentials of a migration's source; the row is gone once the migration has ended."""

    migration = models.OneToOneField(
        Migration,
        on_delete=models.CASCADE,
        related_name="source_credentials",
        help_text="The migration that uses the credentials.",
    )
    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="source_credentials",
        help_text="The environment whose key encrypts the credentials.",
    )
    credentials = EncryptedField(
        label=SOURCE_CREDENTIALS,
        context="sealing_context",
        verbose_name="encrypted credentials",
        help_text="Credentials for the source, encrypted. Never shown.",
    )
    data_key = models.ForeignKey(
        DataKey,
        to_field="uuid",
        on_delete=models.PROTECT,
        related_name="source_credentials",
        help_text="The key that encrypts the credentials.",
    )
    created_at = timestamp("created", "When the credentials were stored, in UTC.")

    class Meta:
        verbose_name = "credentials of a source"
        verbose_name_plural = "credentials of sources"

    def __str__(self) -> str:
        return f"credentials of migration {self.migration_id}"

    def sealing_context(self) -> Context:
        return Context(
            deployment=deployment_uuid(),
            label=SOURCE_CREDENTIALS,
            row=self.uuid,
            environment=self.environment.uuid,
            parent=(str(self.migration.endpoint).encode(),),
        )


class MigrationLine(AuthenticatedRow):
    """A secret of the source, and what the plan does with it; it holds no value.

    `versions` has of each version the number that it gets here, its number there, time, author, state and
    keyed fingerprint.
    """

    # The digest of the plan is over its lines, and the event of the plan has that.
    RECORDED: ClassVar[bool] = False
    MAC_LABEL: ClassVar[str] = "migration-line"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "migration.uuid", "plan", "place", "path", "environment_uuid", "name", "word", "versions",
        "described",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("secret_uuid", "etag", "chosen")

    migration = models.ForeignKey(
        Migration, on_delete=models.CASCADE, related_name="lines", help_text="The migration of the line."
    )
    plan = models.PositiveIntegerField(help_text="Number of the plan.")
    place = ExactCharField(max_length=MAX_PLACE, help_text="The mount, project or account in the source.")
    path = ExactCharField(max_length=MAX_ORIGIN, help_text="The path of the secret in the source.")
    environment_uuid = models.UUIDField(
        null=True, verbose_name="environment UUID", help_text="Environment that the secret goes to."
    )
    name = ExactCharField(max_length=MAX_NAME_LENGTH, blank=True, help_text="Name of the secret in Keeper.")
    word = choice(Word, "What the plan does with the secret.", max_length=24)
    reason = optional_text(help_text="Why the line has this word or state.", max_length=500)
    versions = models.JSONField(default=list, help_text="Numbers, times, states and keyed fingerprints.")
    described = models.JSONField(default=dict, blank=True, help_text="Owner, tags and other metadata.")
    secret_uuid = models.UUIDField(null=True, verbose_name="secret UUID", help_text="The secret in Keeper.")
    etag = optional_text(help_text="State of the secret in Keeper that the plan has seen.", max_length=64)
    state = choice(LineState, "What became of the line.", max_length=8, default=LineState.PLANNED)
    chosen = optional_text(help_text="Which side wins if both have changed.", max_length=8)

    class Meta:
        verbose_name = "line of a migration"
        verbose_name_plural = "lines of migrations"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["migration", "state", "id"], name="migration_line_by_state"),
        ]
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.place}/{self.path}"
