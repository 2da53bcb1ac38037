"""The pure part of the chain: an event's canonical bytes, its hash, and its genesis."""

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias
from uuid import UUID

from core.canonical_json import canonical_json
from core.errors import BadDetails

HASH_LENGTH = 32

# A version that was read: its secret's uuid as text, its number, the name. Of a secret that was created, the
# digests of its row and of its version follow.
ReadItem: TypeAlias = tuple[str, int, str]
CreatedItem: TypeAlias = tuple[str, int, str, str | None, str | None]


class EventFields(NamedTuple):
    """Everything in an event that its hash covers, uuids in hexadecimal, the time as UTC text."""

    uuid: str
    stream: str
    sequence: int
    at: str
    actor_kind: str
    actor_uuid: str
    actor_name: str
    action: str
    object_kind: str
    object_uuid: str
    object_name: str
    outcome: str
    address: str
    request_id: str
    details: str
    manifest_digest: str | None


class Link(NamedTuple):
    """An event as it is stored, with what chains it."""

    fields: EventFields
    previous_hash: bytes
    hash: bytes
    mac: bytes


def canonical_bytes(fields: EventFields) -> bytes:
    """Return what is hashed of an event: JSON, keys sorted, times in UTC with microseconds.

    `details` enters as the text that is stored, so that no parser has to agree on it.
    """
    return canonical_json(
        {
            "action": fields.action,
            "actor_kind": fields.actor_kind,
            "actor_name": fields.actor_name,
            "actor_uuid": fields.actor_uuid,
            "address": fields.address,
            "at": fields.at,
            "details": fields.details,
            "manifest": fields.manifest_digest,
            "object_kind": fields.object_kind,
            "object_name": fields.object_name,
            "object_uuid": fields.object_uuid,
            "outcome": fields.outcome,
            "request_id": fields.request_id,
            "sequence": fields.sequence,
            "stream": fields.stream,
            "uuid": fields.uuid,
        }
    )


def event_hash(previous: bytes, canonical: bytes) -> bytes:
    """Return SHA-256(previous hash | canonical bytes)."""
    return hashlib.sha256(previous + canonical).digest()


def genesis(deployment: UUID, stream: str) -> bytes:
    """Return what stands for the previous hash of a stream's first event.

    It binds the stream to its deployment: one that is copied from another does not fit.
    """
    return hashlib.sha256(b"keeper/v1/audit-stream" + deployment.bytes + stream.encode()).digest()


def listed_entry(
    secret_uuid: str, number: int, name: str, row_digest: str | None, version_digest: str | None
) -> ReadItem | CreatedItem:
    """Return the entry that the digest of a manifest covers, from the columns of an item."""
    if row_digest is None and version_digest is None:
        return (secret_uuid, number, name)
    return (secret_uuid, number, name, row_digest, version_digest)


def manifest_digest(entries: Iterable[ReadItem | CreatedItem]) -> str:
    """Return the hexadecimal SHA-256 over the entries of a manifest, in sorted order."""
    # The JSON library takes plain tuples alone; of one, `tuple` returns the same.
    ordered = sorted(map(tuple, entries))
    return hashlib.sha256(canonical_json(ordered)).hexdigest()


class Damage(NamedTuple):
    """What is wrong with the chain, and at which sequence."""

    kind: str
    sequence: int
    message: str


def damage(
    link: Link, expected: int, previous: bytes, is_keepers: Callable[[bytes, bytes], bool]
) -> Damage | None:
    """Return what is wrong with a link, or None if it continues the chain.

    `expected` and `previous` are the sequence and the previous hash that it should have;
    `is_keepers(hash, mac)` returns whether the MAC is valid under Keeper's key.
    """
    sequence = link.fields.sequence
    if sequence != expected:
        return Damage("missing", expected, f"events {expected} to {sequence - 1} are missing")
    try:
        canonical = canonical_bytes(link.fields)
    except BadDetails:
        return Damage("edited", sequence, "the event holds what Keeper never records")
    genuine = is_keepers(link.hash, link.mac)
    fits = event_hash(previous, canonical) == link.hash
    if fits and genuine and link.previous_hash == previous:
        return None
    if fits and not genuine:
        return Damage("forged", sequence, "the event is not one that Keeper's key has written")
    if genuine and not fits:
        return _misplaced(link, canonical, previous)
    return Damage("edited", sequence, "the event is not the one that was recorded")


def _misplaced(link: Link, canonical: bytes, previous: bytes) -> Damage:
    """Return what is wrong with a hash that Keeper has made, and that does not fit here."""
    sequence = link.fields.sequence
    if event_hash(link.previous_hash, canonical) == link.hash:
        return Damage("forked", sequence, "the event goes on from another history than the one before it")
    if link.previous_hash != previous:
        return Damage("reordered", sequence, "the event stood in another place")
    return Damage("edited", sequence, "the event is not the one that was recorded")
