"""What errors of Vault and OpenBao mean to an operator, by status and, where that is not enough, text.

The texts are recognised and not repeated: they may quote what was sent.
"""

from collections.abc import Sequence
from http import HTTPStatus

from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    MountMissing,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
    TargetSealed,
    TargetStandby,
)

_CAPABILITIES = {"GET": "read or list", "POST": "create and update", "DELETE": "delete", "PATCH": "patch"}


def translate_error(  # noqa: PLR0911  one return a meaning
    method: str, path: str, status: int, errors: Sequence[str]
) -> BackendError:
    """Return what an answer of Vault to this request means."""
    text = " ".join(map(str, errors))
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return TargetStandby("this node sends clients elsewhere: give the address of the active node")
    if "sealed" in text and status == HTTPStatus.SERVICE_UNAVAILABLE:
        return TargetSealed("Vault is sealed: unseal it")
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return TargetStandby("Vault is not initialised")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return TargetStandby("Vault has no active node")
    if status == HTTPStatus.NOT_FOUND:
        return MountMissing(f"Vault has nothing mounted for {path.partition('/')[0]}")
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED}:
        return PermissionMissing(f"the token's policy lacks {_CAPABILITIES[method]} on {path}")
    if status == HTTPStatus.BAD_REQUEST and "check-and-set" in text:
        return ChangedSinceRead("the secret was changed in Vault since it was read: plan again")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return QuotaExceeded("the value is larger than Vault takes")
    upgrading = status == HTTPStatus.BAD_REQUEST and "pgrading" in text
    if upgrading or status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TargetBusy(f"Vault is busy or failed ({status}): try again later")
    return RequestRefused(f"Vault refused {method} on {path} ({status})")
