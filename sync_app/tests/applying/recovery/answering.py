"""Has a system answer one kind of request as a row of its backend's table of answers has it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from urllib3.exceptions import ProtocolError

from core.network import outbound
from core.network.aws import PermittedSession
from sync_app.backends import rest as rest_client
from sync_app.backends.answers import Request, VendorAnswer
from sync_app.backends.kubernetes import connection as kubernetes_connection
from sync_app.backends.vault import adapter as vault_adapter

# The requests that give a secret its value, by the operation of AWS.
_AWS_WRITES: Final = {"CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "PutParameter"}
_AWS_LOOKS: Final = {
    "DescribeSecret",
    "GetSecretValue",
    "ListSecrets",
    "GetParameter",
    "GetParameters",
    "GetParametersByPath",
    "DescribeParameters",
    "ListTagsForResource",
}
# Of the others, by a part of the address: what signs in or names the system.
_NO_PLACES: Final = ("public-key", "/sys/", "/auth/")


@dataclass
class Answering:
    """Answers all requests of the kind of a row, from the first one on; `carried_out` sends the writes all the same."""

    folders: Sequence[str]
    row: VendorAnswer
    carried_out: bool
    # The method, or operation of AWS, that is answered so; empty: each.
    of: str = ""
    # The last write.
    wrote: str = ""
    answered: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        send_aws, exchange = PermittedSession.send, outbound.exchange

        def aws(session: PermittedSession, asked: Any) -> Any:
            target = asked.headers.get("X-Amz-Target", b"")
            operation = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
            kind = (
                Request.WRITE
                if operation in _AWS_WRITES
                else Request.LOOK
                if operation in _AWS_LOOKS
                else None
            )
            return self._answer(kind, operation, lambda: _whole(send_aws(session, asked)), self._for_aws)

        def rest(pool: Any, method: str, url: str, **options: Any) -> outbound.Reply:
            holds = any(f"/{folder}" in url for folder in self.folders) and not any(
                part in url for part in _NO_PLACES
            )
            # The mark of Vault is no value.
            writes = method in {"POST", "PUT", "PATCH"} and "/metadata/" not in url
            kind = (Request.WRITE if writes else Request.LOOK if method == "GET" else None) if holds else None
            reply: outbound.Reply = self._answer(
                kind, method, lambda: exchange(pool, method, url, **options), self._for_rest
            )
            return reply

        monkeypatch.setattr(PermittedSession, "send", aws)
        for module in (rest_client, kubernetes_connection, vault_adapter):
            monkeypatch.setattr(module, "exchange", rest)

    def _answer(
        self, kind: Request | None, request: str, send: Callable[[], Any], refuse: Callable[[], Any]
    ) -> Any:
        is_write, is_look = kind is Request.WRITE, kind is Request.LOOK
        is_of = self.of in {"", self.wrote if self.row.to is Request.LOOK_AFTER else request}
        due = {
            Request.WRITE: is_write,
            Request.LOOK: is_look and not self.wrote,
            Request.LOOK_AFTER: is_look and bool(self.wrote),
        }[self.row.to]
        if not due or not is_of:
            answer = send()
            self.wrote = request if is_write else self.wrote
            return answer
        self.answered += 1
        if is_write and self.carried_out:
            send()
        return refuse()

    def _for_rest(self) -> outbound.Reply:
        if not self.row.status:
            raise ProtocolError("connection broken")
        return outbound.Reply(self.row.status, dict(self.row.headers), self.row.body.encode())

    def _for_aws(self) -> AWSResponse:
        if not self.row.status:
            raise ConnectionClosedError(endpoint_url="https://aws.example")
        return AWSResponse("", self.row.status, dict(self.row.headers), _Raw(self.row.body.encode()))  # type: ignore[arg-type]


def _whole(answer: Any) -> Any:
    # The content can be read once, and is kept by that.
    assert answer.content is not None
    return answer


class _Raw:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self._content
