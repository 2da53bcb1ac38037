"""What makes repeating one very write to a target harmless: the same write has the same token."""

from typing import Final

from audit_app.canonical import Json, canonical_json
from audit_app.keyring import Purpose, keyring
from sync_app.models import Target

_LABEL: Final = b"keeper/sync-token/v1|"


def write_token(target: Target, *, place: str, keeper_version: str, target_version: str) -> str:
    """Return the token, 64 hexadecimal digits, of writing Keeper's version over the target's.

    `place` is the remote id, or the name where there is nothing yet. A value that is put there as
    pending and becomes current later is the same write, and so the same version.
    """
    message: list[Json] = [str(target.uuid), place, keeper_version, target_version]
    return keyring().mac(Purpose.AUDIT_MAC, _LABEL + canonical_json(message))[-32:].hex()
