"""HTTP: each batch of lines is one POST to an address, under the endpoint rule."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from audit_app.errors import LineRefused, SinkDown
from audit_app.sinks.base import Sink
from core.errors import OutboundError
from core.network.limits import ANSWER_BYTES
from core.network.outbound import exchange, pool

_TAKEN: Final = range(200, 300)
# Bad request, payload too large, unprocessable content: the same lines are refused again.
_OF_THE_LINES: Final = frozenset({400, 413, 422})
# Sends a body to a path below the address; returns status and answer.
Post = Callable[[str, bytes, dict[str, str]], tuple[int, bytes]]


@dataclass(frozen=True, kw_only=True)
class HttpEndpoint:
    """An HTTP address; `credential` opens what authorizes there, when it is sent.

    `ca` holds the certificates (PEM) that its own has to be issued by; empty, the public authorities count.
    """

    sink: str
    address: str
    credential: Callable[[], str]
    ca: str = ""

    @contextmanager
    def opened(self) -> Iterator[Post]:
        """Yield what sends over one connection; it raises SinkDown if there was no answer."""
        parts = urlsplit(self.address)
        connections = pool(f"{parts.scheme}://{parts.netloc}", connections=1, ca=self.ca)
        query = f"?{parts.query}" if parts.query else ""

        def post(path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
            url = f"{parts.path.rstrip('/') if path else parts.path or '/'}{path}{query}"
            try:
                reply = exchange(
                    connections, "POST", url, body=body, headers=headers, seconds=None, most=ANSWER_BYTES
                )
            except OutboundError as error:
                raise SinkDown(f"{self.sink}: {error}") from None
            except (HTTPError, OSError, UnicodeError) as error:
                # The message of a library may hold the address.
                raise SinkDown(f"{self.sink}: {type(error).__name__}") from None
            return reply.status, reply.body

        try:
            yield post
        finally:
            connections.close()


class WebhookSink(Sink):
    """Posts JSON lines; what was sent and not answered is sent again under the same Idempotency-Key.

    A credential is sent as a bearer token. The address may itself be a credential, so that only its host is
    named, with a digest to distinguish two.
    """

    kind: ClassVar[str] = "http"

    def __init__(self, endpoint: HttpEndpoint) -> None:
        super().__init__(endpoint.sink)
        self._endpoint = endpoint

    def write(self, lines: Sequence[bytes], *, number: int, stream: str = "") -> int:
        """Post the lines; only a status of 200 to 299 means that they were taken."""
        body = b"".join(lines)
        key = hashlib.sha256(body).hexdigest()[:32]
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f"{number}-{key}"}
        if token := self._endpoint.credential():
            headers["Authorization"] = f"Bearer {token}"
        with self._endpoint.opened() as post:
            status, _ = post("", body, headers)
        if stream and status in _OF_THE_LINES:
            raise LineRefused(f"answered {status}")
        if status not in _TAKEN:
            raise SinkDown(f"{self.name}: answered {status}")
        return len(lines)


def hidden_address(address: str) -> str:
    """Return how an address is named that may hold a credential: its host, and a digest."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    return f"{urlsplit(address).scheme}://{urlsplit(address).hostname}#{digest}"
