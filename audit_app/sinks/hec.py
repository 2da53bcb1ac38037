"""Splunk's HTTP Event Collector: a batch is one POST, and counts once its indexers have it, if asked."""

import json
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final
from uuid import uuid4

from audit_app.errors import LineRefused, SinkDown
from audit_app.sinks.base import Sink
from audit_app.sinks.webhook import HttpEndpoint
from core.network.limits import current_limit, limited

_EVENTS, _ACKNOWLEDGEMENTS = "/services/collector/event", "/services/collector/ack"
_OK, _BAD_REQUEST, _TOO_LARGE = 200, 400, 413
# "No data", "Invalid data format", "Event field is required" and "cannot be blank": the batch is at fault.
_OF_THE_DATA: Final = frozenset({5, 6, 12, 13})
_POLL_SECONDS: Final = 1.0
# For a batch, until it is acknowledged.
_SECONDS: Final = 40.0


class HecSink(Sink):
    """Sends events to a collector, each in Splunk's envelope.

    Code 0 means accepted into a queue. With `acknowledged` the collector is asked until the events are
    indexed; without that answer in time they are sent again, so that a repetition is possible.
    """

    kind: ClassVar[str] = "hec"

    def __init__(self, name: str, endpoint: HttpEndpoint, *, acknowledged: bool) -> None:
        super().__init__(name)
        self._endpoint, self._acknowledged = endpoint, acknowledged

    def write(self, lines: Sequence[bytes], *, number: int, stream: str = "") -> int:
        del number, stream
        headers = {
            "Authorization": f"Splunk {self._endpoint.credential()}",
            "Content-Type": "application/json",
        }
        channel = str(uuid4())
        if self._acknowledged:
            headers["X-Splunk-Request-Channel"] = channel
        with limited(_SECONDS), self._endpoint.opened() as post:
            status, answer = post(_EVENTS, b"".join(lines), headers)
            reply = _reply(answer)
            if status in {_BAD_REQUEST, _TOO_LARGE} and (
                status == _TOO_LARGE or reply.get("code") in _OF_THE_DATA
            ):
                raise LineRefused(_told(status, reply))
            if status != _OK or reply.get("code") != 0:
                raise SinkDown(f"{self.name}: {_told(status, reply)}")
            if self._acknowledged:
                ticket = reply.get("ackId")
                if not isinstance(ticket, int):
                    raise SinkDown(f"{self.name}: the token does not acknowledge: leave out ack=1")
                self._await(post, f"{_ACKNOWLEDGEMENTS}?channel={channel}", ticket, headers)
        return len(lines)

    def _await(self, post: Any, path: str, number: int, headers: dict[str, str]) -> None:
        """Ask until the events are indexed. Raises SinkDown after the deadline of the whole batch."""
        body = json.dumps({"acks": [number]}).encode()
        while True:
            try:
                status, answer = post(path, body, headers)
            except SinkDown as error:
                raise SinkDown(f"{error}: the events were accepted and not acknowledged") from None
            reply = _reply(answer)
            if status != _OK:
                raise SinkDown(f"{self.name}: asked for an acknowledgement: {_told(status, reply)}")
            acknowledged = reply.get("acks")
            if isinstance(acknowledged, dict) and acknowledged.get(str(number)) is True:
                return
            if current_limit().ends - time.monotonic() <= _POLL_SECONDS:
                raise SinkDown(f"{self.name}: accepted the events and did not acknowledge them in time")
            time.sleep(_POLL_SECONDS)


def _reply(body: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return reply if isinstance(reply, dict) else {}


def _told(status: int, reply: dict[str, Any]) -> str:
    """Return what a collector answered, by its number: its text may repeat what was sent."""
    code = reply.get("code")
    meaning = _CODES.get(code, "") if isinstance(code, int) else ""
    return f"answered {status}" + (f", code {code}: {meaning}" if meaning else "")


_CODES: Final = {
    1: "the token is disabled",
    2: "a token is required",
    3: "the authorization is invalid",
    4: "the token is invalid",
    5: "no data",
    6: "the data is invalid",
    7: "the index is not one of the token's",
    8: "an internal error of the server",
    9: "the server is busy",
    10: "the channel is missing: the token demands acknowledgement, so add ack=1",
    11: "the channel is invalid",
    12: "the event is missing",
    13: "the event is empty",
    14: "acknowledgement is disabled",
}
