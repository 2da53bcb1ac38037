"""Connection to Vault and OpenBao: sign-in, KV version 2 alone, and what its errors mean to an operator.

Other mounts than KV version 2 are refused. Errors are recognised by status and, where that is not enough,
by text. The texts are not repeated: they may quote what was sent.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from urllib3.exceptions import HTTPError

from core.errors import EndpointRefused, OutboundError
from core.network.outbound import Ask, session
from sync_app.backends.answers import Proof, Request, VendorAnswer, require_plain_id
from sync_app.backends.vault.adapter import PooledAdapter, Reply
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    CredentialsRejected,
    MountMissing,
    OutcomeUnknown,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    SystemMismatch,
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


logger = logging.getLogger(__name__)


class VaultConnection:
    """The connections to one mount, safe to share between threads.

    The first request signs in: it renews a token of which half is over, or takes one from the AppRole.
    """

    def __init__(
        self,
        address: str,
        *,
        mount: str,
        namespace: str,
        approle: str,
        credentials: Mapping[str, str],
        seconds: float | None,
    ) -> None:
        """Take the address, the paths, `credentials` as VaultKv2 names them, and the time for a request."""
        self._mount, self._approle = mount, approle
        self._credentials = credentials
        self._address = address
        self._lock = threading.Lock()
        self._ready = False
        # The server's time less our monotonic clock's, in seconds.
        self._offset: float | None = None
        self._cluster = ""
        self._health_path = f"{urlsplit(address).path.rstrip('/')}/v1/sys/health"
        self._adapter = PooledAdapter(
            prove=self._require_same_cluster,
            base_uri=address,
            token=credentials["token"],
            namespace=namespace or None,
            session=session(),
            seconds=seconds,
        )

    @property
    def token(self) -> str:
        """The token that is sent: the given one, or the one that the AppRole lent."""
        return str(self._adapter.token)

    def close(self) -> None:
        """Revoke a token that an AppRole gave, and close the connections."""
        if self._ready and not self._credentials["token"]:
            try:
                self._send("POST", "auth/token/revoke-self")
            except BackendError:
                # It expires automatically.
                self._ready = False
        self._adapter.close()

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any] | None:
        """Send a request, signed in, and return its answer; None is Vault's word for nothing there.

        Raises a BackendError.
        """
        self._prepare()
        return self._send(method, path, **options)

    def text(self, path: str, *, params: Mapping[str, str]) -> str | None:
        """Return the text of an answer, signed in, with its numbers as they were sent; None as `request`.

        Raises a BackendError.
        """
        self._prepare()
        response = self._exchange("GET", path, params=params)
        return response.data.decode() if self._judged("GET", path, response) is not None else None

    def _prepare(self) -> None:
        with self._lock:
            if not self._ready:
                self._sign_in()
                self._refuse_other_engines()
                self._ready = True

    def read_health(self) -> dict[str, Any]:
        """Return a node's health data, whatever its status: outside a namespace, and without a token."""
        body = _json_body(self._exchange("GET", "sys/health", headers={}))
        if isinstance(told := body.get("server_time_utc"), int):
            # In whole seconds: what it deleted in this one is over.
            self._offset = told + 1 - time.monotonic()
        return body

    def server_time(self) -> datetime:
        """Return the time of the server, at most a second ahead; ours, if it gives none."""
        if self._offset is None:
            self.read_health()
        if self._offset is None:
            return datetime.now(UTC)
        return datetime.fromtimestamp(self._offset + time.monotonic(), UTC)

    def identify_cluster(self) -> str:
        """Ask which cluster answers; each connection that is made from then on has to lead to that one.

        Raises TargetSealed, TargetStandby, or another BackendError.
        """
        self._cluster = _cluster_id(self.read_health())
        return self._cluster

    def _require_same_cluster(self, ask: Ask) -> None:
        """Refuse a connection to another cluster, as after a failover in the middle of a pass."""
        if self._cluster and (found := _cluster_id(_object(ask(self._health_path)))) != self._cluster:
            raise SystemMismatch(
                f"the cluster {found} answers by now, and the pass began with {self._cluster}: nothing more "
                "was written. Have the address lead to the right system again"
            )

    def _sign_in(self) -> None:
        """Take a token from the AppRole, or prolong the given one if half of its time is over."""
        if not self._credentials["token"]:
            body = {"role_id": self._credentials["role_id"], "secret_id": self._credentials["secret_id"]}
            try:
                reply = self._send("POST", f"auth/{self._approle}/login", json=body)
            except BackendError as error:
                if error.permanent:
                    raise CredentialsRejected(
                        "Vault does not accept the AppRole: renew its secret id"
                    ) from None
                raise
            if reply is None:
                raise MountMissing(f"Vault has no AppRole at {self._approle}")
            self._adapter.token = reply["auth"]["client_token"]
            return
        reply = self._send("GET", "auth/token/lookup-self") or {"data": {}}
        token = reply["data"]
        granted = token.get("period") or token.get("creation_ttl") or 0
        if token.get("renewable") and token.get("ttl", 0) * 2 < granted:
            self._send("POST", "auth/token/renew-self")

    def _refuse_other_engines(self) -> None:
        """Refuse a mount that is not KV version 2: in version 1 `data/x` would be a secret's name."""
        try:
            reply = self._send("GET", f"sys/internal/ui/mounts/{self._mount}")
        except PermissionMissing:
            # Vault hides a mount from a token without a permission below it.
            raise MountMissing(f"no mount {self._mount}, or the token's policy names nothing in it") from None
        engine = reply["data"] if reply else {}
        # Vault also answers for paths below a mount, where `data/x` would be a secret's name.
        if not f"/{self._mount}/".endswith(f"/{engine.get('path')}"):
            raise MountMissing(f"{self._mount} is a path inside another mount: name the mount itself")
        if engine.get("type") != "kv" or (engine.get("options") or {}).get("version") != "2":
            raise MountMissing(f"the mount {self._mount} is not a KV version 2 secrets engine")

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any] | None:
        return self._judged(method, path, self._exchange(method, path, **options))

    def _judged(self, method: str, path: str, response: Reply) -> dict[str, Any] | None:
        body = _json_body(response)
        if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            return body
        # Deleted data answers 404 with its metadata; nothing at all with no words about it.
        if response.status == HTTPStatus.NOT_FOUND and ("data" in body or not body.get("errors")):
            return body if body.get("data") else None
        error = translate_error(method, path, response.status, _error_texts(body))
        raise self._translate_denial(error) if isinstance(error, PermissionMissing) else error

    def _exchange(self, method: str, path: str, **options: Any) -> Reply:
        try:
            return self._adapter.request(method, f"/v1/{path}", **options)
        except EndpointRefused as error:
            raise TargetUnreachable(str(error)) from None
        except OutboundError as error:
            raise TargetUnreachable(f"Vault: {error}") from None
        except (HTTPError, OSError) as error:
            # The reply, if there was one, may hold a value: it is not passed on.
            logger.warning("Vault gave no answer: %s", type(error).__name__)
            raise TargetUnreachable(f"Can't reach {self._address}. Check the address.") from None

    def _translate_denial(self, error: PermissionMissing) -> BackendError:
        """Return what a denial means: that Vault does not know the token, which it answers alike, or not."""
        path = "auth/token/lookup-self"
        response = self._exchange("GET", path)
        if response.status == HTTPStatus.OK:
            return error
        found = translate_error("GET", path, response.status, _error_texts(_json_body(response)))
        if not found.permanent:
            # Busy or sealed: no result for the token.
            return found
        return CredentialsRejected(
            "Vault does not know the token, or it has expired: sign in again for a new one"
        )


def _cluster_id(health: Mapping[str, Any]) -> str:
    """Return the id of the cluster that a node belongs to. Raises TargetSealed or TargetStandby."""
    if "initialized" not in health:
        # A quota answers 429 as a standby does, and a proxy whatever it likes: it is no state of a node.
        raise TargetBusy(
            "sys/health was not answered: Vault, or a proxy before it, limits requests or failed"
        )
    if health.get("sealed"):
        raise TargetSealed("Vault is sealed: unseal it")
    if not health.get("cluster_id"):
        raise TargetStandby("sys/health tells no id of a cluster: give the address of the active node")
    return require_plain_id(health["cluster_id"])


def _json_body(response: Reply) -> dict[str, Any]:
    return _object(response.data)


def _object(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _error_texts(body: dict[str, Any]) -> list[Any]:
    said = body.get("errors")
    return said if isinstance(said, list) else []
