"""Says of a single link, wherever it stands, whether Keeper wrote it; what the chain adds is its place."""

from audit_app.chain import Link, canonical_bytes, event_hash
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
