"""Makes the versions of secrets: sealed before the transaction, digested for the audit log."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import BigIntegerField, CharField, IntegerField, Max

from audit_app.events.actors import Actor
from audit_app.interfaces import Purpose, keyring
from core.canonical_json import Json, canonical_json, utc_text
from core.db.identity import uuid7
from core.db.prepared import Argument, PreparedQuery
from core.db.statements import Statement
from environments_app.models import Environment
from secrets_app.envelope import seal
from secrets_app.keys import fingerprints
from secrets_app.keys.data_keys import active_key, query_for_active_key
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import Secret, SecretVersion

_DIGEST_LABEL = b"keeper/version-digest/v1|"


@dataclass(frozen=True, kw_only=True)
class NewValue:
    """A value on its way into a version; it has no repr."""

    text: str
    comment: str = ""

    def __repr__(self) -> str:
        return "NewValue()"


def sealed_version(*, actor: Actor, secret: Secret, number: int, value: NewValue) -> SecretVersion:
    """Return the next version of a secret, sealed and not yet stored. May call KMS.

    Call it before the transaction in which the version is saved.
    """
    data_key = active_key(secret.environment)
    plaintext = value.text.encode()
    version = SecretVersion(
        uuid=uuid7(),
        secret=secret,
        number=number,
        data_key_id=data_key.id,
        fingerprint=fingerprints.fingerprint(plaintext),
        author=actor.name,
        author_uuid=actor.uuid,
        comment=value.comment,
    )
    context = version.sealing_context()
    version.value = Sealed(seal(plaintext, data_key=data_key, context=context), context)
    return version


# Of all secrets that have or had the name: a program may have pinned a number of a former one.
_FROM_NUMBER: Final = PreparedQuery(
    lambda: (
        SecretVersion.objects.filter(
            secret__environment_id=Argument(0, BigIntegerField()),
            secret__name=Argument(1, CharField()),
            number__gte=Argument(2, IntegerField()),
        )
        .order_by("number")
        .values_list("secret_id", "number", "fingerprint")
    )
)
_LAST_OF_FORMER: Final = PreparedQuery(
    lambda: (
        SecretVersion.objects.filter(
            secret__environment_id=Argument(0, BigIntegerField()),
            secret__name=Argument(1, CharField()),
            secret__live__isnull=True,
        )
        .order_by("-number")
        .values_list("number")[:1]
    )
)


def first_number(environment: Environment, name: str) -> int:
    """Return the number of a new secret's first version: the next after the deleted secrets of its name."""
    return (_LAST_OF_FORMER.first(environment.pk, name) or (0,))[0] + 1


def query_for_first_number(environment: Environment, name: str) -> Statement:
    """Return what `first_number` asks."""
    return _LAST_OF_FORMER.statement(environment.pk, name)


def queries_for_creating(environment: Environment, name: str) -> list[Statement]:
    """Return what a first version asks: its number, and the key that seals it."""
    return [query_for_first_number(environment, name), query_for_active_key(environment)]


def first_numbers(environment: Environment, names: Sequence[str]) -> dict[str, int]:
    """Return what `first_number` does for many names, by name, of those that are not 1."""
    rows = SecretVersion.objects.filter(
        secret__environment=environment, secret__name__in=names, secret__live=None
    )
    return dict(rows.order_by().values_list("secret__name").annotate(first=Max("number") + 1))


def following_from(secret: Secret, number: int) -> tuple[int, dict[int, bytes]]:
    """Return the number of the next version, and the secret's fingerprints from `number` on, by number.

    The number follows those of the secret, pending ones included, and of deleted secrets of its name.
    """
    rows = _FROM_NUMBER.all(secret.environment_id, secret.name, number)
    own = {version: bytes(fingerprint) for owner, version, fingerprint in rows if owner == secret.pk}
    return max((version for _, version, _ in rows), default=number) + 1, own


def queries_for_writing(secret: Secret) -> list[Statement]:
    """Return what a new value of a secret asks: its newest versions, and the key that seals it."""
    return [
        _FROM_NUMBER.statement(secret.environment_id, secret.name, secret.current_number),
        query_for_active_key(secret.environment),
    ]


def next_number(secret: Secret) -> int:
    """Return the number of the next version of a secret."""
    return following_from(secret, secret.current_number)[0]


def version_digest(version: SecretVersion) -> str:
    """Return the keyed digest by which the audit log remembers a version, in hexadecimal.

    It covers the version's uuid, secret, number, fingerprint, author, comment and time, and survives
    re-sealing, since the sealed bytes are no part of it.
    """
    return keyring().mac(Purpose.AUDIT_MAC, _digest_message(version)).hex()


def listed_digest(message: bytes) -> str:
    """Return the digest of what `digest_message` gave for a manifest, in hexadecimal.

    It needs no key: the MAC of the event covers the manifest.
    """
    return hashlib.sha256(message).hexdigest()


def matches_listed(version: SecretVersion, digest: str) -> bool:
    """Return whether a stored version is the one that a manifest lists."""
    return listed_digest(_digest_message(version)) == digest


def matches_digest(version: SecretVersion, digest: str) -> bool:
    """Return whether a stored version is the one that its write event digested."""
    try:
        tag = bytes.fromhex(digest)
    except ValueError:
        return False
    return keyring().verify(Purpose.AUDIT_MAC, _digest_message(version), tag)


def write_details(version: SecretVersion) -> dict[str, Json]:
    """Return the details of a new version for the event of its write."""
    return {"version": str(version.uuid), "number": version.number, "digest": version_digest(version)}


def digest_message(
    *,
    version: UUID | str,
    secret: UUID | str,
    number: int,
    fingerprint: bytes,
    author: str,
    author_uuid: UUID | str,
    comment: str,
    at: str,
) -> bytes:
    """Return what the digest of a version is over: its time in UTC as text, the uuids as such or as text."""
    return _DIGEST_LABEL + canonical_json(
        # The uuids become text on the way.
        [version, secret, number, fingerprint.hex(), author, author_uuid, comment, at]
    )


def _digest_message(version: SecretVersion) -> bytes:
    return digest_message(
        version=version.uuid,
        secret=version.secret.uuid,
        number=version.number,
        fingerprint=bytes(version.fingerprint),
        author=version.author,
        author_uuid=version.author_uuid,
        comment=version.comment,
        at=utc_text(version.created_at),
    )
