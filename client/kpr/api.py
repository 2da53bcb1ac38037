"""Keeper's API over HTTP: one connection, no redirects, bounded answers, errors in one line."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from kpr import API_LEVEL, __version__
from kpr.connection import connect, limit
from kpr.errors import (
    ForbiddenError,
    KprError,
    NoAnswerError,
    NotFoundError,
    PendingError,
    RefusedError,
    SignInError,
    UnreachableError,
)

_SECONDS = 30.0
_LAST_SECONDS = 5.0
# An answer with all attempts takes so many times as long as a silence at most.
_SILENCES = 4
_MAX_BYTES = 128 * 1024 * 1024
_TRIES = 3
# A server that asks for a longer wait is reported instead of awaited.
_LONGEST_WAIT = 10
_BUSY = frozenset({429, 503})
# A proxy answers for a server that does not.
_ABSENT = frozenset({502, 503, 504})
_OK = range(200, 300)


@dataclass
class Answer:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def document(self) -> Any:
        """Return the JSON document. Raises UnreachableError if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise UnreachableError("The server did not answer as Keeper does: check its address.") from None


@dataclass
class Api:
    """One server, asked with one token."""

    server: str
    token: str = field(default="", repr=False)
    debug: bool = False
    # Less patient where a copy may be used instead.
    tries: int = _TRIES
    seconds: float = _SECONDS
    # Whether the token is revoked at the end: that of a trust, of which there are many.
    ends_token: bool = False
    _connection: HTTPConnection | None = field(default=None, repr=False)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        return self.send("GET", path, query=query)

    def every(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield every row of a list, page by page."""
        page = self.get(path, {**query, "limit": "200"}).document()
        while True:
            yield from page["results"]
            if not page["next"]:
                return
            following = urlsplit(page["next"])
            # The cursor alone: where to ask stays ours.
            page = self.send("GET", path, raw_query=following.query).document()

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        raw_query: str = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        accepted: tuple[int, ...] = (),
    ) -> Answer:
        """Ask, and return a successful answer or one of an accepted status.

        A read is repeated after a lost connection and, for seconds, where the server is busy.
        Raises the KprError that fits the answer.
        """
        sent = raw_query or urlencode(query or {})
        target = f"{urlsplit(self.server).path}/api/{path}{'?' if sent else ''}{sent}"
        content = None if body is None else json.dumps(body).encode()
        ends = time.monotonic() + _SILENCES * self.seconds
        for attempt in range(1, self.tries + 1):
            last = attempt == self.tries
            answer = self._try(method, target, content, headers or {}, last=last, ends=ends)
            if answer is None:
                time.sleep(0.2 * attempt)
                continue
            wait = answer.headers.get("retry-after", "")
            short = wait.isdigit() and int(wait) <= _LONGEST_WAIT
            if answer.status in _BUSY and method == "GET" and attempt < self.tries and short:
                time.sleep(int(wait))
                continue
            break
        if answer is None:  # pragma: no cover - the last attempt answers or raises
            raise UnreachableError("The server did not answer.")
        if answer.status == _PENDING and _approval(answer):
            raise PendingError(f"Approval is required first. The request: {_approval(answer)}")
        if answer.status in _OK or answer.status in accepted:
            return answer
        raise _problem(answer, self.server)

    def version(self) -> dict[str, Any]:
        """Return the version of the server. Raises UnreachableError if it is of an unknown level."""
        try:
            found: dict[str, Any] = self.get("version").document()
        except NotFoundError:
            return {"version": "unknown", "api_level": 0, "features": []}
        if int(found["api_level"]) > API_LEVEL:
            raise UnreachableError(
                f"Keeper {found['version']} is newer than kpr {__version__} understands: update kpr."
            )
        return found

    def _try(
        self,
        method: str,
        target: str,
        content: bytes | None,
        extra: Mapping[str, str],
        *,
        last: bool,
        ends: float,
    ) -> Answer | None:
        """Ask once; None if it is worth another attempt."""
        started = time.monotonic()
        try:
            connection = self._connection = self._connection or self._connect()
            limit(connection, seconds=self.seconds, ends=ends)
            connection.request(method, target, body=content, headers=self._headers(content, extra))
            answer = _read(connection.getresponse())
        except (OSError, HTTPException) as error:
            self.close()
            may_repeat = method == "GET" and not last and time.monotonic() < ends
            if may_repeat and not _is_of_tls(error) and not _refused_by_proxy(error):
                return None
            raise _no_answer(error, self.server, time.monotonic() - started) from None
        if self.debug:
            path = target.partition("?")[0]
            sys.stderr.write(
                f"kpr: {method} {path} {answer.status} {int((time.monotonic() - started) * 1000)} ms\n"
            )
        return answer

    def _headers(self, content: bytes | None, extra: Mapping[str, str]) -> dict[str, str]:
        headers = {"User-Agent": f"kpr/{__version__}", "Accept": "*/*", **extra}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def _connect(self) -> HTTPConnection:
        return connect(self.server, seconds=self.seconds, authority=os.environ.get("KPR_CA_FILE") or None)

    def end(self) -> None:
        """Revoke the token if it serves this command alone, and close the connection."""
        if self.ends_token:
            self.ends_token = False
            self.tries, self.seconds = 1, _LAST_SECONDS
            # It ends in minutes anyway: what the command did counts, not this.
            with suppress(KprError):
                self.send("DELETE", "whoami/token")
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_PENDING = 202


def path_of(*parts: str) -> str:
    """Return a path below /api; each part keeps its slashes and loses nothing."""
    return "/".join(quote(part, safe="/") for part in parts)


def _read(response: HTTPResponse) -> Answer:
    body = response.read(_MAX_BYTES + 1)
    if len(body) > _MAX_BYTES:
        raise HTTPException("the answer is too large")
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, body)


def _is_of_tls(error: Exception) -> bool:
    return type(error).__module__ == "ssl"


def _refused_by_proxy(error: Exception) -> str:
    """Return the status by which a proxy refused to connect, or nothing."""
    found = re.match(r"Tunnel connection failed: ([0-9]{3})", str(error))
    return found[1] if found else ""


def _no_answer(error: Exception, server: str, seconds: float) -> UnreachableError:
    if type(error).__name__ == "SSLCertVerificationError":
        # Another server answered: that is no reason to use a copy.
        return UnreachableError(
            f"The certificate of {server} is not trusted here: set KPR_CA_FILE to its authority."
        )
    if isinstance(error, TimeoutError):
        return NoAnswerError(f"{server} did not answer within {max(1, round(seconds))} s: try again.")
    if status := _refused_by_proxy(error):
        what = "its user and password" if status == "407" else "its address"
        return NoAnswerError(
            f"Cannot reach {server}: the proxy refused ({status}). Check {what} in https_proxy."
        )
    reason = getattr(error, "strerror", None) or type(error).__name__
    return NoAnswerError(f"Cannot reach {server}: {reason}. Check the address and the network.")


def _approval(answer: Answer) -> str:
    try:
        document = json.loads(answer.body)
    except ValueError:
        return ""
    return str(document.get("url", "")) if isinstance(document, dict) and "approval" in document else ""


def _problem(answer: Answer, server: str) -> KprError:
    """Return the error of an answer; its text is Keeper's own, which repeats nothing that was sent."""
    try:
        document = json.loads(answer.body)
        detail = str(document["detail"])
        fields = [f"{each.get('field', '')}: {each['reason']}" for each in document.get("errors", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        detail, fields = "", []
    told = " ".join(filter(None, [detail, *fields]))
    if answer.status == 401:  # noqa: PLR2004 - HTTP statuses are best read as numbers
        return SignInError(f"{server} does not accept the token: it ended or was revoked. Run kpr login.")
    if answer.status == 403:  # noqa: PLR2004 - as above
        return ForbiddenError(told or "You don't have permission to do this.")
    if answer.status == 404:  # noqa: PLR2004 - as above
        return NotFoundError(told or "Not found, or you have no access.")
    if answer.status in _BUSY | _ABSENT:
        kind = NoAnswerError if answer.status in _ABSENT else UnreachableError
        wait = answer.headers.get("retry-after", "")
        return kind(f"{told or f'{server} is busy.'}{f' Retry after {wait} s.' if wait else ''}")
    if answer.status >= 500 or 300 <= answer.status < 400:  # noqa: PLR2004 - as above
        return UnreachableError(f"{server} answered {answer.status}: check its address and its state.")
    return RefusedError(told or f"The server refused this ({answer.status}).")
