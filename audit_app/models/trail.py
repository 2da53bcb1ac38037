"""What happened, as rows: the deployment, its streams, their events, manifests, the anchors."""

from typing import ClassVar
from uuid import UUID, uuid4

from django.db import connection, models

from audit_app.crypto.hash_chain import HASH_LENGTH
from audit_app.models.append_only import AppendOnly
from audit_app.models.search_index import EventManager
from audit_app.models.uuid_model import Identified

MAC_LENGTH = 48
STREAM_LENGTH = 64
NAME_LENGTH = 600

# What `listed_entry` takes of an item, in its order.
LISTED_COLUMNS = ("secret_uuid", "number", "name", "row_digest", "version_digest")

_deployment: UUID | None = None


class Deployment(models.Model):
    """The installation: one row whose uuid enters every MAC, genesis and encryption context."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    uuid = models.UUIDField(default=uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

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

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    uuid = models.UUIDField(editable=False)
    place = models.CharField(max_length=64, blank=True, editable=False)
    epoch = models.PositiveIntegerField(default=0, editable=False)
    since = models.DateTimeField(editable=False)
    # The backup that this database was restored from, and when.
    backup = models.UUIDField(null=True, editable=False)
    restored_at = models.DateTimeField(null=True, editable=False)
    mac = models.BinaryField(max_length=MAC_LENGTH, editable=False)

    def __str__(self) -> str:
        return f"installation {self.uuid}"


class StreamHead(models.Model):
    """The newest link of a stream; its row is what writers lock."""

    stream = models.CharField(max_length=STREAM_LENGTH, primary_key=True)
    sequence = models.BigIntegerField(default=0)
    hash = models.BinaryField(max_length=HASH_LENGTH)

    def __str__(self) -> str:
        return f"{self.stream} #{self.sequence}"


class ReadManifest(AppendOnly):
    """The versions that one event about many is about: read (equal reads share it), or created in bulk."""

    digest = models.CharField(max_length=64, unique=True)
    size = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.size} values, {self.digest[:12]}"


class ReadManifestItem(AppendOnly):
    """One version of one secret in a manifest, under the name it had then.

    The two digests are of a secret that the event created: of the row's state (row_state.py) and of the
    version. Both are NULL for a version that was read.
    """

    manifest = models.ForeignKey(ReadManifest, on_delete=models.PROTECT, related_name="items")
    secret_uuid = models.UUIDField()
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=NAME_LENGTH)
    row_digest = models.CharField(max_length=32, null=True)  # noqa: DJ001 - NULL: read, and not created
    version_digest = models.CharField(max_length=64, null=True)  # noqa: DJ001 - as above

    class Meta:
        indexes = [models.Index(fields=["secret_uuid", "number"], name="audit_item_secret")]

    def __str__(self) -> str:
        return f"{self.name} #{self.number}"


class AuditEvent(AppendOnly, Identified):
    """One act, chained to the previous one in its stream. Only record.py makes them.

    `details` is canonical JSON text; `hash` is SHA-256(previous hash | canonical bytes) and
    `mac` the keyring's tag over it (see chain.py). Each index is written with each act: what people search
    by has its indexes in the search table (docs/adr/0025).
    """

    # Without the index of other rows' uuids: nothing looks for an event by it, each write would pay for it.
    uuid = models.UUIDField(default=uuid4, editable=False)
    stream = models.CharField(max_length=STREAM_LENGTH)
    sequence = models.BigIntegerField()
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16)
    actor_uuid = models.UUIDField()
    actor_name = models.CharField(max_length=255)
    action = models.CharField(max_length=64)
    object_kind = models.CharField(max_length=64)
    object_uuid = models.UUIDField()
    object_name = models.CharField(max_length=NAME_LENGTH)
    outcome = models.CharField(max_length=16)
    address = models.CharField(max_length=64, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    details = models.TextField()
    manifest = models.ForeignKey(ReadManifest, null=True, on_delete=models.PROTECT, related_name="events")
    previous_hash = models.BinaryField(max_length=HASH_LENGTH)
    hash = models.BinaryField(max_length=HASH_LENGTH)
    mac = models.BinaryField(max_length=MAC_LENGTH)

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
        ]

    def __str__(self) -> str:
        return f"{self.stream} #{self.sequence} {self.action}"


class Checkpoint(AppendOnly):
    """A signed statement of all heads, numbered and chained, that also leaves for the sinks.

    `statement` is the canonical JSON that `digest` is of; `signature` is Ed25519 (see checkpoint.py).
    """

    number = models.BigIntegerField(unique=True)
    at = models.DateTimeField()
    statement = models.TextField()
    previous_digest = models.BinaryField(max_length=HASH_LENGTH)
    digest = models.BinaryField(max_length=HASH_LENGTH)
    key_id = models.UUIDField()
    signature = models.BinaryField(max_length=64)

    def __str__(self) -> str:
        return f"checkpoint {self.number}"


class SinkState(models.Model):
    """How far what leaves Keeper has come: a row for each sink, and one for the signing itself.

    `position` is the last number that the sink has taken. A row is a hint for the workers and
    proves nothing: what a sink holds is read back from it.
    """

    name = models.CharField(max_length=200, unique=True)
    position = models.BigIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)

    def __str__(self) -> str:
        return self.name


class StreamCursor(models.Model):
    """How far one stream has gone out to a sink of events."""

    sink = models.ForeignKey(SinkState, on_delete=models.CASCADE, related_name="cursors")
    stream = models.CharField(max_length=STREAM_LENGTH)
    sequence = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sink", "stream"], name="audit_cursor_place")]

    def __str__(self) -> str:
        return f"{self.stream} #{self.sequence}"


class RefusalCount(models.Model):
    """How often an address was refused in a minute, until the minute's event is written."""

    minute = models.DateTimeField()
    address = models.CharField(max_length=64)
    kind = models.CharField(max_length=64)
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["minute", "address", "kind"], name="audit_refusal_minute")
        ]

    def __str__(self) -> str:
        return f"{self.address} {self.kind}: {self.count}"
