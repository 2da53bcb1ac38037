"""What happened, as rows: the deployment, its streams, their events, manifests, the anchors."""

from typing import ClassVar
from uuid import UUID, uuid4

from django.db import connection, models

from audit_app.crypto.hash_chain import HASH_LENGTH
from audit_app.models.append_only import AppendOnly
from audit_app.models.search_index import EventManager
from core.db.columns import optional_timestamp
from core.db.identity import Identified

MAC_LENGTH = 48
STREAM_LENGTH = 64
NAME_LENGTH = 600

# What `listed_entry` takes of an item, in its order.
LISTED_COLUMNS = ("secret_uuid", "number", "name", "row_digest", "version_digest")

_deployment: UUID | None = None


class Deployment(models.Model):
    """The installation: one row whose uuid enters every MAC, genesis and encryption context."""

    id = models.PositiveSmallIntegerField(
        primary_key=True,
        default=1,
        editable=False,
        verbose_name="ID",
        help_text="Always 1: a database holds one deployment.",
    )
    uuid = models.UUIDField(
        default=uuid4,
        editable=False,
        verbose_name="UUID",
        help_text="Identifier of this deployment. It is part of every encryption context and checksum.",
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="created", help_text="When the database was set up, in UTC."
    )

    def __str__(self) -> str:
        return str(self.uuid)


def deployment_uuid() -> UUID:
    """Return this installation's uuid, read once a process and made if it is missing."""
    global _deployment  # noqa: PLW0603 - one a process is the point
    if _deployment is not None:
        return _deployment
    deployment, created = Deployment.objects.get_or_create(pk=1)
    # A row that the open transaction made may yet be rolled back: read it again next time.
    if not (created and connection.in_atomic_block):
        _deployment = deployment.uuid
    return deployment.uuid


def forget_deployment() -> None:
    """Drop the uuid that this process remembers (for tests and after a restore)."""
    global _deployment  # noqa: PLW0603 - one a process is the point
    _deployment = None


class Installation(models.Model):
    """Which place may act on this database (installation.py); one row, under a MAC of the row key.

    `place` is empty after a restore, until an installation is activated.
    """

    id = models.PositiveSmallIntegerField(
        primary_key=True,
        default=1,
        editable=False,
        verbose_name="ID",
        help_text="Always 1: one installation acts on a database.",
    )
    uuid = models.UUIDField(
        editable=False,
        verbose_name="UUID",
        help_text="Identifier of the installation that may act on this database.",
    )
    place = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text="Random name in the data directory of the active installation. Empty after a restore.",
    )
    # Processes of the release before know neither, and compute `mac` without them.
    also = models.TextField(  # noqa: DJ001 - as above: they write no value
        null=True,
        editable=False,
        help_text="By what else it is known: its UUID, other addresses of its database, marks of the server.",
    )
    also_mac = models.BinaryField(
        null=True,
        editable=False,
        verbose_name="checksum of the marks",
        help_text="Keyed checksum of these marks. Written by Keeper, never shown.",
    )
    epoch = models.PositiveIntegerField(
        default=0, editable=False, help_text="How often the active installation changed."
    )
    since = models.DateTimeField(
        editable=False, verbose_name="active since", help_text="When this installation was activated, in UTC."
    )
    # The backup that this database was restored from, and when.
    backup = models.UUIDField(
        null=True,
        editable=False,
        help_text="The backup that this database was restored from. Empty if it was never restored.",
    )
    restored_at = models.DateTimeField(
        null=True,
        editable=False,
        verbose_name="restored",
        help_text="When the database was restored from a backup, in UTC.",
    )
    mac = models.BinaryField(
        max_length=MAC_LENGTH,
        editable=False,
        verbose_name="MAC",
        help_text="Keyed checksum of this row. Written by Keeper, never shown.",
    )

    def __str__(self) -> str:
        return f"installation {self.uuid}"


class StreamHead(models.Model):
    """The newest link of a stream; its row is what writers lock."""

    stream = models.CharField(
        max_length=STREAM_LENGTH,
        primary_key=True,
        verbose_name="log stream",
        help_text="Name of the log stream: the system or one environment.",
    )
    sequence = models.BigIntegerField(
        default=0, verbose_name="last event", help_text="Number of the newest event in the stream."
    )
    hash = models.BinaryField(
        max_length=HASH_LENGTH, help_text="Hash of the newest event. Written by Keeper, never shown."
    )

    class Meta:
        verbose_name = "log stream"
        verbose_name_plural = "log streams"

    def __str__(self) -> str:
        return f"{self.stream} #{self.sequence}"


class ReadManifest(AppendOnly):
    """The versions that one event about many is about: read (equal reads share it), or created in bulk."""

    digest = models.CharField(
        max_length=64,
        unique=True,
        help_text="SHA-256 of the listed versions. Equal lists share one manifest.",
    )
    size = models.PositiveIntegerField(help_text="Number of secrets in the manifest.")

    def __str__(self) -> str:
        return f"{self.size} values, {self.digest[:12]}"


class ReadManifestItem(AppendOnly):
    """One version of one secret in a manifest, under the name it had then.

    The two digests are of a secret that the event created: of the row's state (row_state.py) and of the
    version. Both are NULL for a version that was read.
    """

    manifest = models.ForeignKey(
        ReadManifest,
        on_delete=models.PROTECT,
        related_name="items",
        help_text="The manifest that lists this version.",
    )
    secret_uuid = models.UUIDField(verbose_name="secret UUID", help_text="Identifier of the secret.")
    number = models.PositiveIntegerField(
        verbose_name="version", help_text="Number of the version that was read or created."
    )
    name = models.CharField(max_length=NAME_LENGTH, help_text="Name of the secret at that time.")
    row_digest = models.CharField(  # noqa: DJ001 - NULL: read, and not created
        max_length=32, null=True, help_text="Digest of the row of a created secret. Empty for a read."
    )
    version_digest = models.CharField(  # noqa: DJ001 - as above
        max_length=64, null=True, help_text="Digest of the created version. Empty for a read."
    )

    class Meta:
        indexes = [models.Index(fields=["secret_uuid", "number"], name="audit_item_secret")]

    def __str__(self) -> str:
        return f"{self.name} #{self.number}"


class AuditEvent(AppendOnly, Identified):
    """One act, chained to the previous one in its stream. Only `recorder.py` makes them.

    `details` is canonical JSON text; `hash` is SHA-256(previous hash | canonical bytes) and
    `mac` the keyring's tag over it (`crypto/hash_chain.py`). Each index is written with each act: what
    people search by has its indexes in the search table (ADR 25).
    """

    # Without the index of other rows' uuids: nothing looks for an event by it, each write would pay for it.
    uuid = models.UUIDField(
        default=uuid4, editable=False, verbose_name="UUID", help_text="Identifier of the event."
    )
    stream = models.CharField(
        max_length=STREAM_LENGTH,
        verbose_name="log stream",
        help_text="The hash chain that the event belongs to: the system or one environment.",
    )
    sequence = models.BigIntegerField(
        verbose_name="number", help_text="Position of the event in its stream, without gaps."
    )
    at = models.DateTimeField(verbose_name="time", help_text="When it happened, in UTC.")
    actor_kind = models.CharField(
        max_length=16,
        verbose_name="kind of actor",
        help_text="Whether a person, a token or Keeper itself acted.",
    )
    actor_uuid = models.UUIDField(
        verbose_name="actor UUID", help_text="Identifier of the account or token that acted."
    )
    actor_name = models.CharField(
        max_length=255, verbose_name="actor", help_text="Name of the account or token at that time."
    )
    action = models.CharField(max_length=64, help_text="What was done or tried.")
    object_kind = models.CharField(
        max_length=64,
        verbose_name="kind of object",
        help_text="What the act was about: a secret, an account, a target and so on.",
    )
    object_uuid = models.UUIDField(verbose_name="object UUID", help_text="Identifier of the object.")
    object_name = models.CharField(
        max_length=NAME_LENGTH, verbose_name="object", help_text="Name of the object at that time."
    )
    outcome = models.CharField(max_length=16, help_text="How the act ended: allowed, denied or failed.")
    address = models.CharField(
        max_length=64,
        blank=True,
        verbose_name="IP address",
        help_text="Network address that the request came from. Empty for work of Keeper itself.",
    )
    request_id = models.CharField(
        max_length=64,
        blank=True,
        verbose_name="request ID",
        help_text="Identifier of the request, as in logs and in the response header.",
    )
    details = models.TextField(help_text="What else was recorded, as JSON. It never holds a value.")
    # Few events have one: on SQLite migration 0012 makes its index, of those alone.
    manifest = models.ForeignKey(
        ReadManifest,
        null=True,
        on_delete=models.PROTECT,
        related_name="events",
        db_index=False,
        help_text="The versions that an act on many secrets was about.",
    )
    previous_hash = models.BinaryField(
        max_length=HASH_LENGTH, help_text="Hash of the previous event in the stream. Never shown."
    )
    hash = models.BinaryField(
        max_length=HASH_LENGTH, help_text="Hash of this event and the previous hash. Never shown."
    )
    mac = models.BinaryField(
        max_length=MAC_LENGTH, verbose_name="MAC", help_text="Keyed checksum of the hash. Never shown."
    )

    objects: ClassVar["EventManager[AuditEvent]"] = EventManager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "sequence"], name="audit_event_link")]
        indexes = [
            models.Index(fields=["object_uuid", "id"], name="audit_event_object"),
            models.Index(fields=["actor_uuid", "id"], name="audit_event_actor"),
            # Decisions go by acts (active installation, cuts, recorded rows), and may trust no other table.
            models.Index(fields=["action", "id"], name="audit_event_action"),
            models.Index(fields=["at"], name="audit_event_at"),
            # By sequence MariaDB would sort a whole stream, and a read of several streams has no other order.
            models.Index(fields=["stream", "id"], name="audit_event_stream"),
            # Without it, acts that are rare in a stream are searched for through all of the stream or act.
            models.Index(fields=["stream", "action", "id"], name="audit_event_stream_action"),
        ]

    def __str__(self) -> str:
        return f"{self.stream} #{self.sequence} {self.action}"


class Checkpoint(AppendOnly):
    """A signed statement of all heads, numbered and chained, that also leaves for the sinks.

    `statement` is the canonical JSON that `digest` is of; `signature` is Ed25519 (see checkpoint.py).
    """

    number = models.BigIntegerField(unique=True, help_text="Position of the checkpoint, without gaps.")
    at = models.DateTimeField(
        verbose_name="signed", help_text="When the heads of all streams were signed, in UTC."
    )
    statement = models.TextField(help_text="The signed text, as JSON: the head of each stream.")
    previous_digest = models.BinaryField(
        max_length=HASH_LENGTH, help_text="Digest of the previous checkpoint. Never shown."
    )
    digest = models.BinaryField(max_length=HASH_LENGTH, help_text="SHA-256 of the statement. Never shown.")
    key_id = models.UUIDField(
        verbose_name="signing key", help_text="Identifier of the key that signed the statement."
    )
    signature = models.BinaryField(
        max_length=64, help_text="Ed25519 signature of the statement. Never shown."
    )

    def __str__(self) -> str:
        return f"checkpoint {self.number}"


class SinkState(models.Model):
    """How far what leaves Keeper has come: a row for each sink, and one for the signing itself.

    `position` is the last number that the sink has taken. A row is a hint for the workers and
    proves nothing: what a sink holds is read back from it.
    """

    name = models.CharField(
        max_length=200,
        unique=True,
        verbose_name="sink",
        help_text="Where checkpoints or events are delivered outside the database.",
    )
    position = models.BigIntegerField(
        default=0,
        verbose_name="delivered up to",
        help_text="Number of the last checkpoint or event that the sink accepted.",
    )
    leased_until = optional_timestamp("claimed until", "Until when a worker holds this sink, in UTC.")
    due_at = optional_timestamp("next attempt", "When the next delivery is due, in UTC.")
    succeeded_at = optional_timestamp("last success", "When the sink last accepted a delivery, in UTC.")
    failures = models.PositiveIntegerField(
        default=0, help_text="Number of failed attempts since the last success."
    )
    error = models.CharField(
        max_length=500, blank=True, help_text="Why the last attempt failed. Empty after a success."
    )
    # The event that the sink refuses for what it is; only this one may be skipped.
    refused_stream = models.CharField(
        max_length=STREAM_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="Log stream of the event that the sink refuses. Empty if it refuses none.",
    )
    refused_sequence = models.BigIntegerField(
        null=True, blank=True, help_text="Number of the event that the sink refuses."
    )

    class Meta:
        verbose_name = "audit sink"
        verbose_name_plural = "audit sinks"

    def __str__(self) -> str:
        return self.name


class StreamCursor(models.Model):
    """How far one stream has gone out to a sink of events."""

    sink = models.ForeignKey(
        SinkState,
        on_delete=models.CASCADE,
        related_name="cursors",
        help_text="The sink that receives the events.",
    )
    stream = models.CharField(
        max_length=STREAM_LENGTH, verbose_name="log stream", help_text="The log stream that is delivered."
    )
    sequence = models.BigIntegerField(
        verbose_name="delivered up to",
        help_text="Number of the last event of the stream that the sink accepted.",
    )

    class Meta:
        verbose_name = "delivery position"
        verbose_name_plural = "delivery positions"
        constraints = [models.UniqueConstraint(fields=["sink", "stream"], name="audit_cursor_place")]

    def __str__(self) -> str:
        return f"{self.stream} #{self.sequence}"


class RefusalCount(models.Model):
    """How often an address was refused in a minute, until the minute's event is written."""

    minute = models.DateTimeField(help_text="The minute in which requests were refused, in UTC.")
    address = models.CharField(
        max_length=64,
        verbose_name="IP address",
        help_text="Network address that the refused requests came from.",
    )
    kind = models.CharField(max_length=64, verbose_name="reason", help_text="Why the requests were refused.")
    count = models.PositiveIntegerField(
        default=0,
        verbose_name="requests",
        help_text="Number of refused requests in this minute. One audit event records them all.",
    )

    class Meta:
        verbose_name = "count of refused requests"
        verbose_name_plural = "counts of refused requests"
        constraints = [
            models.UniqueConstraint(fields=["minute", "address", "kind"], name="audit_refusal_minute")
        ]

    def __str__(self) -> str:
        return f"{self.address} {self.kind}: {self.count}"
