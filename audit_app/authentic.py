"""Says of a single link, wherever it stands, whether Keeper wrote it; what the chain adds is its place."""

from collections.abc import Iterable

from audit_app.chain import Link, canonical_bytes, event_hash, manifest_digest
from audit_app.errors import BadDetails
from audit_app.keyring import Purpose, keyring


def is_authentic(link: Link) -> bool:
    """Say whether a link is as Keeper wrote it."""
    try:
        canonical = canonical_bytes(link.fields)
    except BadDetails:
        return False
    return event_hash(link.previous_hash, canonical) == link.hash and keyring().verify(
        Purpose.AUDIT_MAC, link.hash, link.mac
    )


def digest_of_stored(entries: Iterable[tuple[str, int, str]]) -> str:
    """Return the digest of a stored list of what was read; empty, as none is, where it can have none."""
    try:
        return manifest_digest(entries)
    except (TypeError, BadDetails):
        return ""
