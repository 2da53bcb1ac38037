"""Asks the API server of a cluster over the guarded connections."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson
from urllib3.exceptions import HTTPError

from core.errors import AnswerTooLarge, EndpointRefused, OutboundError
from core.network.outbound import exchange, pool
from sync_app.backends.kubernetes.answers import translate
from sync_app.errors import TargetUnreachable

_CONNECTIONS: Final = 16
# A Secret holds 1 MiB at most, and Base64 makes it a third longer; annotations have 256 KiB.
_ANSWER_BYTES: Final = 4 * 1024 * 1024


class PageTooLarge(TargetUnreachable):
    """An answer has more bytes than are read of one: fewer objects have to be asked for."""


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
            reply = exchange(
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
        except AnswerTooLarge:
            raise PageTooLarge("the answer of the API server is larger than Keeper reads at once") from None
        except OutboundError as error:
            raise TargetUnreachable(f"Kubernetes: {error}") from None
        except (HTTPError, OSError) as error:
            raise TargetUnreachable(
                f"the API server gave no answer ({type(error).__name__}): check address and CA certificate"
            ) from None
        if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
            answer: dict[str, Any] = orjson.loads(reply.body)
            return answer
        raise translate(method, path, reply)
