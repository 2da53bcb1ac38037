"""Who used which value, counted: derived from events by `queries/usage_index.py`, and in no backup.

The rows fill pages and filters. What decides (offboarding, retention, rotation) reads the events themselves.
"""

from typing import ClassVar

from django.db import models

from audit_app.models.log import STREAM_LENGTH
from audit_app.models.search_index import Derived


class Means(models.TextChoices):
    """How a value was used, by the kind of act."""

    READ = "read"
    EXPORT = "export"
    COPY = "copy"
    COMPARE = "compare"
    DELIVER = "deliver"
    SHARE = "share", "one-time link"
    WRITE = "write"


class Use(Derived):
    """What the acts of one actor by one means have in common."""

    actor_uuid = models.UUIDField(
        verbose_name="actor UUID", help_text="Identifier of the account or token that acted."
    )
    means = models.CharField(max_length=8, choices=Means.choices, help_text="How the value was used.")
    stream = models.CharField(
        max_length=STREAM_LENGTH,
        verbose_name="log stream",
        help_text="The log stream that holds the events.",
    )
    actor_kind = models.CharField(
        max_length=16,
        verbose_name="kind of actor",
        help_text="Whether a person, a token or Keeper itself acted.",
    )
    actor_name = models.CharField(
        max_length=255, verbose_name="actor", help_text="Name of the account or token at the last act."
    )
    protocol = models.CharField(
        max_length=32, blank=True, help_text="Protocol of the last act. Empty: pages and Keeper's own API."
    )
    first_at = models.DateTimeField(verbose_name="first", help_text="When the first act was, in UTC.")
    last_at = models.DateTimeField(verbose_name="last", help_text="When the last act was, in UTC.")
    count = models.PositiveIntegerField(
        help_text="Number of acts. Retention may have removed events, then it is the least number."
    )
    last_event_id = models.BigIntegerField(verbose_name="last event", help_text="The last of the events.")

    class Meta:
        abstract = True


class UsageEntry(Use):
    """One version of a secret, used alone."""

    object_uuid = models.UUIDField(verbose_name="secret UUID", help_text="Identifier of the secret.")
    number = models.PositiveIntegerField(
        verbose_name="version", help_text="Number of the version. 0: the event does not name it."
    )

    class Meta:
        verbose_name = "use of a value"
        verbose_name_plural = "uses of values"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["object_uuid", "actor_uuid", "number", "means", "stream"], name="audit_usage_key"
            )
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["actor_uuid", "object_uuid"], name="audit_usage_actor")
        ]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.means} v{self.number}"


class ManifestUse(Use):
    """The versions of one manifest, used together: equal exports of 1,000 secrets are one row."""

    manifest_id = models.BigIntegerField(
        verbose_name="manifest", help_text="The manifest that lists the versions."
    )
    # The secrets of a manifest are marked as used every few hours only.
    marked_at = models.DateTimeField(
        verbose_name="marked", help_text="When its secrets were last marked as used, in UTC."
    )

    class Meta:
        verbose_name = "use of many values"
        verbose_name_plural = "uses of many values"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["manifest_id", "actor_uuid", "means", "stream"], name="audit_manifest_use_key"
            )
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["actor_uuid", "manifest_id"], name="audit_manifest_use_actor")
        ]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.means} manifest {self.manifest_id}"


class SecretUse(Derived):
    """When a value of a secret last left Keeper, for the filters of lists.

    A read of many marks its secrets every few hours (`usage_index.MARK_HOURS`), so the time may be so much
    too early.
    """

    secret_uuid = models.UUIDField(
        unique=True, verbose_name="secret UUID", help_text="Identifier of the secret."
    )
    last_at = models.DateTimeField(
        verbose_name="last used", help_text="When a value was last read, exported or delivered, in UTC."
    )

    class Meta:
        verbose_name = "last use of a secret"
        verbose_name_plural = "last uses of secrets"

    def __str__(self) -> str:
        return f"{self.secret_uuid} {self.last_at}"


class UsagePosition(Derived):
    """How far the counts of use have followed one stream."""

    head = models.OneToOneField(
        "audit_app.StreamHead",
        on_delete=models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        db_column="stream",
        related_name="usage_position",
        verbose_name="log stream",
        help_text="The log stream whose uses are counted.",
    )
    sequence = models.BigIntegerField(
        default=0,
        verbose_name="counted up to",
        help_text="Number of the last event of the stream that is counted.",
    )

    def __str__(self) -> str:
        return f"{self.head_id} #{self.sequence}"
