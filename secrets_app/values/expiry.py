"""Takes the expiry of a certificate from the certificate itself, unless one was set.

An expiry informs and never blocks. One that is empty, or equals the end of the previous certificate, was
not set by a user: it moves with the value. Any other was set by a user and stays.
"""

from datetime import datetime
from typing import Final

from audit_app.crypto.canonical_json import Json
from secrets_app.models import Secret
from secrets_app.secret_types.registry import Facts
from secrets_app.values.metadata import Metadata

# UTCTime begins with 1950, and the last year stands for "no well-defined end" (RFC 5280, 4.1.2.5).
_FIRST_YEAR: Final = 1950
_NO_END: Final = 9999
_UNKNOWN: Final[Facts] = {}


def certificate_end(facts: object) -> datetime | None:
    """Return when the certificate ends that these facts describe, which is the leaf of its chain.

    None for whatever is no certificate, or has no end.
    """
    # What is stored may have been edited.
    not_after = facts.get("not_after") if isinstance(facts, dict) else None
    if not isinstance(not_after, str):
        return None
    try:
        end = datetime.fromisoformat(not_after)
    except ValueError:
        return None
    return end if _FIRST_YEAR <= end.year < _NO_END else None


def effective_expiry(stored: datetime | None, *, after: Facts, before: Facts = _UNKNOWN) -> datetime | None:
    """Return the expiry of a secret whose value was described by `before` and now is by `after`."""
    if stored is None or stored == certificate_end(before):
        return certificate_end(after)
    return stored


def apply_facts(secret: Secret, facts: Facts) -> dict[str, Json]:
    """Describe a secret, not yet saved, by the facts of its next value; its expiry moves along.

    Return the details for the event of the change.
    """
    expires_at = effective_expiry(secret.expires_at, after=facts, before=secret.facts)
    moved = expires_at != secret.expires_at
    secret.expires_at, secret.facts = expires_at, facts
    return {"fields": ["expires_at"]} if moved else {}


def apply_facts_keeping_expiry(secret: Secret, facts: Facts, *, metadata: Metadata, is_next: bool) -> None:
    """Describe a secret, not yet saved, by the facts of a value that came with this metadata, now set.

    A date that was given along counts, and one that was emptied along gives way to a certificate's own.
    Else the expiry moves only if the value `is_next`: an equal one changes nothing.
    """
    if metadata.get("expires_at") is None and (is_next or "expires_at" in metadata):
        apply_facts(secret, facts)
    else:
        secret.facts = facts
