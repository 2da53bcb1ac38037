"""Asks the API server of a cluster over the guarded connections, and translates its answers."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson
from urllib3.exceptions import HTTPError

from audit_app.errors import EndpointRefused, OutboundError
from audit_app.network.outbound import exchange, pool
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    CredentialsRejected,
    MountMissing,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
)

_CONNECTIONS: Final = 16
# A Secret holds 1 MiB at most, and Base64 makes it a third longer; a page of metadata is smaller.
_ANSWER_BYTES: Final = 4 * 1024 * 1024
_CHANGED: Final = "the Secret changed in Kubernetes after it was read: refresh the plan"


class NotFound(ChangedSinceRead):
    """There is no such object."""


class KubernetesConnection:
    """The connections to one API server, safe to share between threads."""

    def __init__(self, address: str, *, token: str, ca: str, seconds: float | None) -> None:
        """Take the address, a bearer token, the cluster's certificates (PEM), and the time for a request."""
        self._path, self._token, self._seconds = urlsplit(address).path.rstrip("/"), token, seconds
        self._pool = pool(address, connections=_CONNECTIONS, ca=ca)

    def close(self) -> None:
        self._pool.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
        content: str = "application/json",
    ) -> dict[str, Any]:
        """Send a request and return the object that it is answered with.

        Raises NotFound, ChangedSinceRead for a conflict, or another BackendError. No answer is repeated.
        """
        address = f"{self._path}{path}?{urlencode(query)}" if query else f"{self._path}{path}"
        headers = {"Accept": accept, "Authorization": f"Bearer {self._token}", "User-Agent": "keeper"}
        if body is not None:
            headers["Content-Type"] = content
        try:
            status, _, data = exchange(
                self._pool,
                method,
                address,
                body=None if body is None else orjson.dumps(body),
                headers=headers,
                seconds=self._seconds,
                most=_ANSWER_BYTES,
            )
        except EndpointRefused as error:
            raise TargetUnreachable(str(error)) from None
        except OutboundError as error:
            raise TargetUnreachable(f"Kubernetes: {error}") from None
        except (HTTPError, OSError) as error:
            raise TargetUnreachable(
                f"the API server gave no answer ({type(error).__name__}): check address and CA certificate"
            ) from None
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            answer: dict[str, Any] = orjson.loads(data)
            return answer
        raise _translate(method, path, status, _reason(data))


def _reason(data: bytes) -> str:
    """Return the reason of a Status object: one of the words of the API, never its message."""
    try:
        status = orjson.loads(data)
    except ValueError:
        return ""
    return str(status.get("reason", "")) if isinstance(status, dict) else ""


def _translate(method: str, path: str, status: int, reason: str) -> BackendError:  # noqa: PLR0911  one return a meaning
    """Return what an answer means (Kubernetes API conventions, "HTTP Status codes")."""
    if status == HTTPStatus.UNAUTHORIZED:
        return CredentialsRejected("the API server does not accept the token: renew it")
    if status == HTTPStatus.FORBIDDEN:
        # /api/v1/namespaces/NAMESPACE/RESOURCE, or /apis/GROUP/v1/namespaces/NAMESPACE/RESOURCE.
        parts = path.strip("/").split("/")
        place = 4 if parts[0] == "api" else 5
        resource = parts[place] if len(parts) > place else "namespaces"
        return PermissionMissing(f"the token's role lacks {_VERBS.get(method, method)} on {resource}")
    if status == HTTPStatus.NOT_FOUND:
        return NotFound("the Secret is gone from Kubernetes: refresh the plan")
    if status == HTTPStatus.CONFLICT:
        return ChangedSinceRead(_CHANGED)
    if status == HTTPStatus.GONE:
        return TargetBusy("the list expired in Kubernetes: try again")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return QuotaExceeded("the value is larger than a Secret may be (1 MiB)")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TargetBusy(f"the API server is busy or failed ({status}): try again later")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return MountMissing("the API server sends clients elsewhere: give its own address")
    return RequestRefused(f"Kubernetes refused {method} ({status} {reason})".rstrip())


_VERBS: Final = {"GET": "get or list", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
