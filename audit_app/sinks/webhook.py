"""HTTP: each batch of lines is one POST to an address, under the endpoint rule."""

import hashlib
from collections.abc import Sequence
from typing import ClassVar, Final
from urllib.parse import urlsplit

import requests
from django.conf import settings

from audit_app.errors import SinkDown
from audit_app.sinks.base import Sink
from core.errors import OutboundError
from core.network import outbound

_TAKEN: Final = range(200, 300)


class WebhookSink(Sink):
    """Posts JSON lines; what was sent and not answered is sent again under the same Idempotency-Key.

    KEEPER_AUDIT_HTTP_TOKEN is sent as a bearer token. The address may itself be a credential, so that
    only its host is named, with a digest to distinguish two.
    """

    kind: ClassVar[str] = "http"

    def __init__(self, what: str, address: str) -> None:
        digest = hashlib.sha256(address.encode()).hexdigest()[:8]
        super().__init__(f"{what}:{urlsplit(address).scheme}://{urlsplit(address).hostname}#{digest}")
        self._address = address

    def write(self, lines: Sequence[bytes], *, number: int) -> None:
        """Post the lines; only a status of 200 to 299 means that they were taken."""
        body = b"".join(lines)
        key = hashlib.sha256(body).hexdigest()[:32]
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f"{number}-{key}"}
        if token := settings.KEEPER_AUDIT_HTTP_TOKEN:
            headers["Authorization"] = f"Bearer {token}"
        try:
            with outbound.session() as session:
                reply = session.post(self._address, data=body, headers=headers)
        except (requests.RequestException, OutboundError) as error:
            # The message of a library may hold the address.
            raise SinkDown(f"{self.name}: {type(error).__name__}") from None
        if reply.status_code not in _TAKEN:
            raise SinkDown(f"{self.name}: answered {reply.status_code}")
