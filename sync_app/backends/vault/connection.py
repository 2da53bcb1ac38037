"""Asks Vault and OpenBao: signs in, refuses other mounts than KV version 2, and translates answers."""

import logging
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
from urllib3.exceptions import HTTPError

from audit_app.network.outbound import Ask, session
from core.errors import EndpointRefused, OutboundError
from sync_app.backends.answers import require_plain_id
from sync_app.backends.vault.adapter import PooledAdapter, Reply
from sync_app.backends.vault.errors import translate_error
from sync_app.errors import (
    BackendError,
    CredentialsRejected,
    MountMissing,
    PermissionMissing,
    SystemMismatch,
    TargetBusy,
    TargetSealed,
    TargetStandby,
    TargetUnreachable,
)

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
        with self._lock:
            if not self._ready:
                self._sign_in()
                self._refuse_other_engines()
                self._ready = True
        return self._send(method, path, **options)

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
        response = self._exchange(method, path, **options)
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
