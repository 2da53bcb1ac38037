"""Keeper's own keys, by which it proves itself to providers without a secret (`private_key_jwt`, RFC 7523).

A key signs once its providers had a day to fetch it; the first one at once. After a year another one follows,
and the old one stays at the public address until that has signed for a day. The private half is sealed as a
client secret is.
"""

import secrets
import time
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone
from joserfc import jwt
from joserfc.jwk import RSAKey

from audit_app.errors import NotSealedHere
from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.row_authentication import record_integrity_violation, verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.interfaces import Place, Purpose, keyring
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import SignOnUnavailable, Tampered
from environments_app.models import ClientAuth, OidcClientKey, OidcProvider

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RENEWED_AFTER: Final = timedelta(days=365)
# How long providers may keep the keys that they fetched.
FETCHED_WITHIN: Final = timedelta(days=1)
_BITS: Final = 3072
_LABEL: Final = "oidc-client-key.private"
_SECONDS: Final = 60


def public_keys() -> dict[str, Any]:
    """Return what providers fetch: the public half of each key, the newest first."""
    return {"keys": [row.public_jwk for row in _rows()]}


def require_key(actor: Actor) -> None:
    """Make the first key, where there is none yet."""
    if not _rows():
        _make(actor)


def renew_keys() -> None:
    """Make the next key when the newest is a year old, and remove those that sign no more. Worker's task."""
    rows = _rows()
    if not rows:
        return
    now = timezone.now()
    in_use = OidcProvider.objects.filter(client_auth=ClientAuth.PRIVATE_KEY_JWT).exists()
    if in_use and rows[0].created_at <= now - RENEWED_AFTER:
        _make(actors.system())
    with transaction.atomic():
        # What has a successor that everybody has fetched, and that has signed for as long.
        for row, successor in zip(rows[1:], rows, strict=False):
            if successor.created_at <= now - 2 * FETCHED_WITHIN:
                _record(actors.system(), row, "removed", gone=True)
                row.delete()


def client_assertion(provider: OidcProvider, *, audience: str, algorithms: list[str] | None) -> str:
    """Return a token that proves Keeper to a provider for a minute, once. Raises SignOnUnavailable."""
    row = _signing()
    if row is None:
        raise SignOnUnavailable("Keeper has no key for this provider. Save the provider again.")
    algorithm = "PS256" if "PS256" in (algorithms or ()) else "RS256"
    now = int(time.time())
    claims = {
        "iss": provider.client_id, "sub": provider.client_id, "aud": audience,
        "iat": now, "exp": now + _SECONDS, "jti": secrets.token_urlsafe(16),
    }  # fmt: skip
    header = {"alg": algorithm, "kid": row.public_jwk["kid"], "typ": "JWT"}
    return jwt.encode(header, claims, _open(row), algorithms=[algorithm])


def reseal_client_keys() -> list[str]:
    """Re-encrypt every private key under the active system key; return what could not be, and why."""
    problems = list[str]()
    for row in OidcClientKey.objects.order_by("pk"):
        try:
            with lock_authentic(row) as stored:
                _seal(stored, _open(stored))
                stored.save(update_fields=["private"])
                _record(actors.system(), stored, "resealed")
        except (Tampered, SignOnUnavailable):
            problems.append(f"The sign-in key of {row.created_at:%Y-%m-%d} does not open: it stays as it is.")
    return problems


def _rows() -> list[OidcClientKey]:
    return list(verified_rows(OidcClientKey.objects.order_by("-created_at", "-pk")))


def _signing() -> OidcClientKey | None:
    """Return the newest key that every provider has fetched by now; the oldest where there is none."""
    rows, fetched = _rows(), timezone.now() - FETCHED_WITHIN
    return next((row for row in rows if row.created_at <= fetched), rows[-1] if rows else None)


def _make(actor: Actor) -> None:
    key = RSAKey.generate_key(_BITS, {"use": "sig"}, private=True, auto_kid=True)
    row = OidcClientKey(public_jwk=key.as_dict(private=False))
    _seal(row, key)
    with transaction.atomic():
        row.save()
        _record(actor, row, "added")


def _seal(row: OidcClientKey, key: RSAKey) -> None:
    row.private = keyring().seal(Purpose.SECOND_FACTOR, key.as_der(private=True), place=_place(row))


def _open(row: OidcClientKey) -> RSAKey:
    """Return a private key. Raises SignOnUnavailable if it was not sealed for this row."""
    try:
        return RSAKey.import_key(keyring().open(Purpose.SECOND_FACTOR, bytes(row.private), place=_place(row)))
    except NotSealedHere as error:
        record_integrity_violation(kind=row.MAC_LABEL, uuid=row.uuid, name=str(row.pk), reason=str(error))
        raise SignOnUnavailable("Keeper's key for identity providers cannot be read.") from error


def _place(row: OidcClientKey) -> Place:
    return Place(label=_LABEL, row=row.uuid, owner=row.uuid)


def _record(actor: Actor, row: OidcClientKey, change: str, *, gone: bool = False) -> None:
    record(
        actor=actor,
        action=Action.SSO_PROVIDER_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject(row.MAC_LABEL, row.uuid, row.public_jwk["kid"]),
        details={"change": f"key {change}", **row_digest_entry(row, gone=gone)},
    )
