"""Between Keeper and every other system: each request in the terms of a write, and what is done with it.

A rule of the test answers in the place of the system, loses requests or answers, or shows what was there before.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from urllib3.exceptions import ProtocolError

from core.network import outbound
from core.network.aws import PermittedSession
from core.network.outbound import Reply
from sync_app.backends import rest
from sync_app.backends.answers import Request
from sync_app.backends.kubernetes import connection as kubernetes_connection

# What of an API changes the value of a secret, deletes it, shows one, or lists them.
_AWS: Final = {
    "CreateSecret": "write",
    "UpdateSecretVersionStage": "write",
    "PutParameter": "write",
    "DeleteSecret": "delete",
    "DeleteParameter": "delete",
    "DescribeSecret": "look",
    "GetSecretValue": "look",
    "GetParameter": "look",
    "GetParameterHistory": "look",
    "ListSecrets": "list",
    "DescribeParameters": "list",
}
_METHODS: Final = {"PUT": "write", "POST": "write", "PATCH": "write", "DELETE": "delete"}
_ARN: Final = re.compile(r"arn:[^:]*:[^:]*:[^:]*:[^:]*:secret:(.*)-.{6}")


class Lost(Exception):
    """No answer comes; `carried_out` is whether the request was done all the same."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request: what it is for (write, delete, look, list, or other), of which item, and how it is done."""

    kind: str
    item: str
    what: str
    carry_out: Callable[[], Reply]
    aws: bool = False

    def is_(self, request: Request, *, written: bool) -> bool:
        """Return whether it is this request of a write; `written` is whether the write was answered."""
        return {
            Request.WRITE: self.kind == "write",
            Request.LOOK: self.kind == "look" and not written,
            Request.LOOK_AFTER: self.kind == "look" and written,
        }[request]


@dataclass
class Wire:
    """Passes every request to a rule, which by default has it carried out."""

    folders: Sequence[str]
    rule: Callable[[Asked], Reply] = lambda asked: asked.carry_out()
    log: list[str] = field(default_factory=list)

    def pass_on(self, asked: Asked) -> Reply:
        self.log.append(f"{asked.kind} {asked.what}")
        answer = self.rule(asked)
        self.log[-1] += f" -> {answer.status}"
        return answer

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have each request of Keeper's to any system pass by."""
        send, send_aws = outbound.exchange, PermittedSession.send

        def exchange(pool: Any, method: str, url: str, **options: Any) -> Reply:
            def carry_out() -> Reply:
                return send(pool, method, url, **options)

            try:
                return self.pass_on(_asked(method, url, options["body"], carry_out, self.folders))
            except Lost:
                self.log[-1] += " -> lost"
                raise ProtocolError("connection broken") from None

        def request(permitted: PermittedSession, asked: Any) -> Any:
            def carry_out() -> Reply:
                answer = send_aws(permitted, asked)
                return Reply(answer.status_code, dict(answer.headers), answer.content)

            try:
                answer = self.pass_on(_asked_of_aws(asked, carry_out))
            except Lost:
                self.log[-1] += " -> lost"
                raise ConnectionClosedError(endpoint_url=asked.url) from None
            return AWSResponse(asked.url, answer.status, answer.headers, _Raw(answer.body))  # type: ignore[arg-type]  # a raw answer of our own

        monkeypatch.setattr(rest, "exchange", exchange)
        monkeypatch.setattr(kubernetes_connection, "exchange", exchange)
        monkeypatch.setattr(PermittedSession, "send", request)
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


class _Raw:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self._content


def _asked(
    method: str, url: str, body: bytes | None, carry_out: Callable[[], Reply], folders: Sequence[str]
) -> Asked:
    path = urlsplit(url).path
    found = re.fullmatch(rf".*/(?:{'|'.join(folders)})(?:/([^/?]+))?", path)
    kind, item = "other", ""
    if found and found[1] != "public-key":
        item = unquote(found[1] or "")
        kind = _METHODS.get(method, "look" if item else "list")
    if kind == "write" and not item:
        content = json.loads(body or b"{}")
        item = content.get("name") or content.get("key") or content["metadata"]["name"]
    return Asked(kind=kind, item=item, what=f"{method} {url}", carry_out=carry_out)


def _asked_of_aws(asked: Any, carry_out: Callable[[], Reply]) -> Asked:
    target = asked.headers.get("X-Amz-Target", b"")
    operation = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
    body = json.loads(asked.body or b"{}") if operation else {}
    kind = _AWS.get(operation, "other")
    if operation == "UpdateSecretVersionStage" and body["VersionStage"] != "AWSCURRENT":
        kind = "other"
    named = str(body.get("SecretId") or body.get("Name") or "")
    arn = _ARN.fullmatch(named)
    item = arn[1] if arn else re.sub(r":\d+$", "", named).removeprefix("/")
    return Asked(
        kind=kind, item=item, what=f"{operation} {json.dumps(body)[:120]}", carry_out=carry_out, aws=True
    )
