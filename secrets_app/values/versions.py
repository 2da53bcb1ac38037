"""Makes the versions of secrets: sealed before the transaction, digested for the audit log."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import BigIntegerField, CharField, IntegerField, Max, OuterRef

from audit_app.events.actors import Actor
from audit_app.interfaces import Purpose, keyring
from core.canonical_json import Json, canonical_json, utc_text
from core.db.identity import uuid7
from core.db.prepared import Argument, PreparedQuery
from core.db.statements import Precondition
from environments_app.models import Environment
from secrets_app.envelope import seal
from secrets_app.errors import StaleVersion
from secrets_app.interfaces import guarded
from secrets_app.keys import fingerprints
from secrets_app.keys.data_keys import ActiveKey, active_key
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.keys.models import VALUES
from secrets_app.models import Secret, SecretVersion

_DIGEST_LABEL = b"keeper/version-digest/v1|"


@dataclass(frozen=True, kw_only=True)
class NewValue:
    """A value on its way into a version; it has no repr."""

    text: str
    comment: str = ""

    def __repr__(self) -> str:
        return "NewValue()"


def sealed_version(
    *, actor: Actor, secret: Secret, number: int, value: NewValue, key: ActiveKey | None = None
) -> SecretVersion:
    """Return the next version of a secret, sealed and not yet stored. May call KMS.

    `key` is the row of the active data key, if the caller has just read it. Call it before the transaction
    in which the version is saved.
    """
    data_key = active_key(secret.environment, key)
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


class Preceding(NamedTuple):
    """What precedes a new value of a secret, by one statement."""

    # Of the next version: after the secret's own, pending ones included, and those of deleted secrets of its
    # name. A program may have pinned a number of a former one.
    next_number: int
    # Of the current version; None if that was removed.
    fingerprint: bytes | None
    # The active data key, if it is that of the current version.
    key: ActiveKey | None
    is_guarded: bool


_KEY: Final = [f"data_key__{name}" for name in ActiveKey._fields]
_FROM_CURRENT: Final = PreparedQuery(
    lambda: (
        SecretVersion.objects.filter(
            secret__environment_id=Argument(0, BigIntegerField()),
            secret__name=Argument(1, CharField()),
            number__gte=Argument(2, IntegerField()),
        )
        .annotate(guarded=guarded(OuterRef("secret__uuid")))
        .order_by("number")
        .values_list(
            "secret_id", "number", "fingerprint", "guarded", "data_key__active", "data_key__purpose",
            "data_key__scope", *_KEY,
        )
    )
)  # fmt: skip
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


_FORMER_FROM: Final = PreparedQuery(
    lambda: (
        SecretVersion.objects.filter(
            secret__environment_id=Argument(0, BigIntegerField()),
            secret__name=Argument(1, CharField()),
            secret__live__isnull=True,
            number__gte=Argument(2, IntegerField()),
        )
        .order_by()
        .values_list("pk")
    )
)


def first_number(environment: Environment, name: str) -> int:
    """Return the number of a new secret's first version: the next after the deleted secrets of its name."""
    return (_LAST_OF_FORMER.first(environment.pk, name) or (0,))[0] + 1


def number_is_free(environment: Environment, name: str, number: int) -> Precondition:
    """Return that no deleted secret of a name has a number as high as this one."""
    error = StaleVersion("The secret was written and deleted meanwhile. Nothing was saved. Try again.")
    return Precondition(_FORMER_FROM.statement(environment.pk, name, number), error)


_GUARDED_FORMER: Final = PreparedQuery(
    lambda: (
        Secret.objects.filter(
            environment_id=Argument(0, BigIntegerField()),
            name=Argument(1, CharField()),
            live__isnull=True,
            guarded=True,
        )
        .order_by()
        .values_list("pk")
    )
)


_OTHER_PATHS: Final = PreparedQuery(
    lambda: (
        Environment.every.filter(pk=Argument(0, BigIntegerField()))
        .exclude(guarded_prefixes=Argument(1, CharField()))
        .order_by()
        .values_list("pk")
    )
)


def inherits_guard(environment: Environment, name: str) -> bool:
    """Return whether what gets a name is guarded: its path is, or a deleted secret of the name was."""
    return environment.guards(name) or _GUARDED_FORMER.first(environment.pk, name) is not None


def guards_as_before(environment: Environment) -> Precondition:
    """Return that an environment guards the paths that it did when it was read."""
    error = StaleVersion("The guarded paths here were changed meanwhile. Nothing was saved. Try again.")
    return Precondition(_OTHER_PATHS.statement(environment.pk, environment.guarded_prefixes), error)


def inherits_no_guard(environment: Environment, name: str) -> Precondition:
    """Return that no deleted secret of a name was guarded."""
    error = StaleVersion("A guarded secret of this name was deleted meanwhile. Nothing was saved. Try again.")
    return Precondition(_GUARDED_FORMER.statement(environment.pk, name), error)


def guarded_names(environment: Environment, names: Sequence[str]) -> set[str]:
    """Return for which of many names `inherits_guard` is true."""
    rows = Secret.objects.filter(environment=environment, name__in=names, live=None, guarded=True)
    return {*filter(environment.guards, names), *rows.order_by().values_list("name", flat=True)}


def first_numbers(environment: Environment, names: Sequence[str]) -> dict[str, int]:
    """Return what `first_number` does for many names, by name, of those that are not 1."""
    rows = SecretVersion.objects.filter(
        secret__environment=environment, secret__name__in=names, secret__live=None
    )
    return dict(rows.order_by().values_list("secret__name").annotate(first=Max("number") + 1))


def preceding(secret: Secret) -> Preceding:
    """Return what precedes a new value of a secret."""
    rows = _FROM_CURRENT.all(secret.environment_id, secret.name, secret.current_number)
    number = max((row[1] for row in rows), default=secret.current_number) + 1
    for owner, version, fingerprint, is_guarded, *key in rows:
        if (owner, version) == (secret.pk, secret.current_number):
            active, purpose, scope, *columns = key
            usable = active and purpose == VALUES and scope == secret.environment.uuid
            return Preceding(
                number, bytes(fingerprint), ActiveKey._make(columns) if usable else None, bool(is_guarded)
            )
    # Without its current version a secret takes no value, but one that was only described does.
    return Preceding(number, None, None, bool(secret.current_number))


def next_number(secret: Secret) -> int:
    """Return the number of the next version of a secret."""
    return preceding(secret).next_number


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
