"""Values of the older scheme, Fernet: they open only in rows that were inventoried, until it is final.

A Fernet token is bound to no row. So the inventory is: an event for each version that was imported,
with a keyed digest over the version's uuid and its token. A token that was put into another row, or
came after the inventory, does not open; after the migration was finalised none does.
"""

from typing import Final
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.interfaces import Purpose, keyring
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from secrets_app.envelope import SECRET_VERSION_VALUE, Context
from secrets_app.errors import KeyUnavailable, NotInventoried, WrongContext

# Version 0x80 and the zeros that lead the time, in base64.
_PREFIX: Final = b"gAAAA"
_LABEL: Final = b"keeper/legacy-token/v1|"


def is_legacy(stored: bytes) -> bool:
    """Return whether what is stored looks like a Fernet token."""
    return stored.startswith(_PREFIX)


def open_token(token: bytes, context: Context) -> bytes:
    """Return the value of a token that was inventoried for its place.

    Raises NotInventoried if it was not, or the migration was finalised, WrongContext if no key
    opens it, and KeyUnavailable if LEGACY_FERNET_KEYS is empty.
    """
    if context.label != SECRET_VERSION_VALUE or is_final():
        raise NotInventoried("a value of the older scheme opens here no more")
    events = AuditEvent.objects.filter(object_uuid=context.row, action=Action.SECRET_INVENTORY)
    tags = [parsed_details(event.details).get("token") for event in events]
    if not any(_is_tag_of(tag, context.row, token) for tag in tags):
        raise NotInventoried("a value of the older scheme was put where none was imported")
    return decrypt_token(token)


def decrypt_token(token: bytes) -> bytes:
    """Return what a token holds, wherever it is from: for the import, which inventories it.

    Raises WrongContext if no key opens it, KeyUnavailable if LEGACY_FERNET_KEYS is empty or wrong.
    """
    if not settings.LEGACY_FERNET_KEYS:
        raise KeyUnavailable("values of the older scheme need LEGACY_FERNET_KEYS", permanent=True)
    try:
        keys = MultiFernet([Fernet(key) for key in settings.LEGACY_FERNET_KEYS])
    except ValueError as error:
        raise KeyUnavailable("LEGACY_FERNET_KEYS holds what is no Fernet key", permanent=True) from error
    try:
        return keys.decrypt(token)
    except InvalidToken as error:
        raise WrongContext("no key of LEGACY_FERNET_KEYS opens the value") from error


def inventory_tag(row: UUID, token: bytes) -> str:
    """Return the digest by which the audit log remembers a token in its row, in hexadecimal."""
    return keyring().mac(Purpose.AUDIT_MAC, _message(row, token)).hex()


def is_final() -> bool:
    """Return whether a migration was finalised, after which no value of the older scheme opens."""
    return AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.KEY_MIGRATION_FINALISE).exists()


def _is_tag_of(tag: object, row: UUID, token: bytes) -> bool:
    try:
        stored = bytes.fromhex(tag) if isinstance(tag, str) else b""
    except ValueError:
        return False
    return keyring().verify(Purpose.AUDIT_MAC, _message(row, token), stored)


def _message(row: UUID, token: bytes) -> bytes:
    return _LABEL + row.bytes + token
