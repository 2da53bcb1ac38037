"""The pool of guarded connections to one address that hvac's client uses, and several requests by it.

A push is as many requests as secrets, and a session of requests takes twice the CPU for each. Requests that
run at once stay within the bounds of the thread that makes them.
"""

import base64
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import orjson
from hvac.adapters import Adapter

from core.network.outbound import Ask, exchange, pool

# Those that act, those that confirm, and one that looks.
_CONNECTIONS: Final = 20
# A list of all that lies in a folder, with its metadata where the server gives that.
_LIST_BYTES: Final = 64 * 1024 * 1024
# A secret, which Vault itself bounds to a few megabytes.
_SECRET_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """What came back: a status, and bytes that may be anything."""

    status: int
    data: bytes = field(repr=False)


class PooledAdapter(Adapter):  # type: ignore[misc]  # hvac is not typed
    """Sends each request once and follows nothing; the status is for the caller to judge."""

    def __init__(
        self, *, seconds: float | None, prove: Callable[[Ask], None] | None = None, **options: Any
    ) -> None:
        """Take the seconds that a request has altogether, and what hvac's adapters take.

        `prove` is called with each connection that was just made, before anything else goes over it.
        """
        super().__init__(**options)
        self._path, self._seconds = urlsplit(self.base_uri).path, seconds
        self._lock = threading.Lock()
        self._index = ""
        self._pool = pool(self.base_uri, connections=_CONNECTIONS, prove=prove)

    def close(self) -> None:
        self._pool.close()
        super().close()

    def get_login_token(self, response: Reply) -> str:
        return str(orjson.loads(response.data)["auth"]["client_token"])

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = False,  # noqa: FBT001, FBT002 - hvac's signature
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request with the token and the namespace, or with these headers alone.

        Raises an OutboundError, an HTTPError of urllib3, or OSError.
        """
        query = f"?{urlencode(params)}" if params else ""
        status, answered, data = exchange(
            self._pool,
            method,
            f"{self._path}{url}{query}",
            body=None if json is None else orjson.dumps(json),
            headers=self._headers(method) if headers is None else headers,
            seconds=self._seconds,
            most=_LIST_BYTES if params and "list" in params else _SECRET_BYTES,
        )
        if index := answered.get("X-Vault-Index", ""):
            self._note_index(index, wrote=method != "GET")
        return Reply(status, data)

    def _note_index(self, index: str, *, wrote: bool) -> None:
        """Keep the newest state of the cluster that an answer names, for the requests to come."""
        with self._lock:
            before, now = _position(self._index), _position(index)
            # What cannot be compared is of the newest write.
            if now > before >= 0 or (wrote and now < 0) or not self._index:
                self._index = index

    def _headers(self, method: str) -> dict[str, str]:
        # Vault API, "Headers": X-Vault-Request keeps a proxy from being asked in Vault's place.
        headers = {"X-Vault-Token": str(self.token), "X-Vault-Request": "true"}
        if method == "PATCH":
            # RFC 7396; Vault takes no other kind of patch.
            headers["Content-Type"] = "application/merge-patch+json"
        if self._index:
            # OpenBao and Vault, "Eventual consistency": a node that is behind this state asks the active one.
            headers |= {"X-Vault-Index": self._index, "X-Vault-Inconsistent": "forward-active-node"}
        return headers | {"X-Vault-Namespace": self.namespace} if self.namespace else headers


def _position(index: str) -> int:
    """Return the position that an index of OpenBao names; -1 for one of another server, which names none."""
    try:
        return int(orjson.loads(base64.b64decode(index, validate=True))["value"])
    except (ValueError, KeyError, TypeError):
        return -1


Item = TypeVar("Item")
Answer = TypeVar("Answer")


def read_in_parallel(
    read: Callable[[Item], Answer], items: Iterable[Item], *, threads: int
) -> Iterator[Answer]:
    """Yield what `read` returns for each item, in their order, by so many threads.

    Raises what `read` raises; what is not begun by then is left out.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="keeper-sync") as pool:
        running = [pool.submit(copy_context().run, read, item) for item in items]
        try:
            for future in running:
                yield future.result()
        finally:
            for future in running:
                future.cancel()
