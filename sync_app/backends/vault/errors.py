"""What errors of Vault and OpenBao mean to an operator, by status and, where that is not enough, text.

The texts are recognised and not repeated: they may quote what was sent.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from sync_app.backends.answers import Proof, Request, VendorAnswer
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    MountMissing,
    OutcomeUnknown,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
    TargetSealed,
    TargetStandby,
    TargetUnreachable,
)

_STATUS: Final = 'Vault API, "HTTP status codes"'
_CONSISTENCY: Final = 'OpenBao and Vault, "Eventual consistency"'
_KV: Final = 'KV version 2 API, "Create/update secret"'
_QUOTAS: Final = 'Vault and OpenBao, "Resource quotas"'
_NOTHING_THERE: Final = '{"errors":[]}'

ANSWERS: Final = (
    VendorAnswer(
        answer="400, another version is current than `cas` names",
        to=Request.WRITE,
        status=400,
        body='{"errors":["check-and-set parameter did not match the current version"]}',
        proves=Proof.NOTHING,
        error=ChangedSinceRead,
        source=_KV,
    ),
    VendorAnswer(
        answer="400, another request that the engine refuses",
        to=Request.WRITE,
        status=400,
        body='{"errors":["invalid request"]}',
        proves=Proof.NOTHING,
        error=RequestRefused,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="403",
        to=Request.WRITE,
        status=403,
        body='{"errors":["permission denied"]}',
        proves=Proof.NOTHING,
        error=PermissionMissing,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="404, no handler for the path",
        to=Request.WRITE,
        status=404,
        body='{"errors":["no handler for route"]}',
        proves=Proof.NOTHING,
        error=MountMissing,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="412, the node is behind the state that was asked for",
        to=Request.WRITE,
        status=412,
        body='{"errors":["required index state not present"]}',
        proves=Proof.NOTHING,
        error=TargetBusy,
        source=_CONSISTENCY,
    ),
    VendorAnswer(
        answer="413",
        to=Request.WRITE,
        status=413,
        body='{"errors":["request body too large"]}',
        proves=Proof.NOTHING,
        error=QuotaExceeded,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="429, a quota of requests",
        to=Request.WRITE,
        status=429,
        body='{"errors":["request path rate limit quota exceeded"]}',
        proves=Proof.NOTHING,
        error=TargetBusy,
        source=_QUOTAS,
    ),
    VendorAnswer(
        answer="500",
        to=Request.WRITE,
        status=500,
        body='{"errors":["internal error"]}',
        proves=Proof.UNKNOWN,
        error=TargetBusy,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="503, sealed",
        to=Request.WRITE,
        status=503,
        body='{"errors":["Vault is sealed"]}',
        proves=Proof.UNKNOWN,
        error=TargetSealed,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="503, no active node",
        to=Request.WRITE,
        status=503,
        body='{"errors":["no active node"]}',
        proves=Proof.UNKNOWN,
        error=TargetStandby,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="none",
        to=Request.WRITE,
        status=0,
        proves=Proof.UNKNOWN,
        error=TargetUnreachable,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="403",
        to=Request.LOOK,
        status=403,
        body='{"errors":["permission denied"]}',
        proves=Proof.NOTHING,
        error=PermissionMissing,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="404, as of a standby that is behind",
        to=Request.LOOK_AFTER,
        status=404,
        body=_NOTHING_THERE,
        proves=Proof.UNKNOWN,
        error=OutcomeUnknown,
        source=_CONSISTENCY,
    ),
    VendorAnswer(
        answer="403",
        to=Request.LOOK_AFTER,
        status=403,
        body='{"errors":["permission denied"]}',
        proves=Proof.UNKNOWN,
        error=PermissionMissing,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="429, a quota of requests",
        to=Request.LOOK_AFTER,
        status=429,
        body='{"errors":["request path rate limit quota exceeded"]}',
        proves=Proof.UNKNOWN,
        error=TargetBusy,
        source=_QUOTAS,
    ),
    VendorAnswer(
        answer="503, sealed",
        to=Request.LOOK_AFTER,
        status=503,
        body='{"errors":["Vault is sealed"]}',
        proves=Proof.UNKNOWN,
        error=TargetSealed,
        source=_STATUS,
    ),
    VendorAnswer(
        answer="none",
        to=Request.LOOK_AFTER,
        status=0,
        proves=Proof.UNKNOWN,
        error=TargetUnreachable,
        source=_STATUS,
    ),
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
    # 412: this node is behind the state that was asked for.
    passing = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.PRECONDITION_FAILED}
    if upgrading or status in passing or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TargetBusy(f"Vault is busy or failed ({status}): try again later")
    return RequestRefused(f"Vault refused {method} on {path} ({status})")
