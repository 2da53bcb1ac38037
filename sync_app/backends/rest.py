"""Backends and client of systems with one address: JSON over the guarded connections.

The client respects how many requests such a system lets a client send. The base of backends whose secrets
are variables is here as well.
"""

import json
import math
import ssl
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit

from urllib3.exceptions import HTTPError

from core.errors import BadEndpoint, EndpointRefused, OutboundError
from core.network.outbound import Reply, exchange, normalised_endpoint, pool
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import fill_defaults
from sync_app.backends.names import VariableNames, explain_bad_variable
from sync_app.backends.observations import SecretMetadata
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BackendError,
    BadDestination,
    ChangedSinceRead,
    CredentialsRejected,
    MountMissing,
    PermissionMissing,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
)

_CONNECTIONS: Final = 8
_ANSWER_BYTES: Final = 8 * 1024 * 1024
# Where a system asks to slow down and names no time.
_PAUSE_SECONDS: Final = 60.0
# Of a limit: each connection may be about to write, and looks at what it wrote.
_ROOM: Final = 2 * _CONNECTIONS


class NotFound(ChangedSinceRead):
    """There is no such thing, or the credentials may not know of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RestAnswer:
    """A successful answer."""

    status: int
    headers: Mapping[str, str]
    content: Any = field(repr=False)

    @property
    def at(self) -> int:
        """The server's time of the answer, in seconds since 1970; 0 if it names none."""
        return _server_time(self.headers)


class RestClient:
    """The connections to one address, safe to share between threads.

    Once the system asks for a pause, nothing is sent until that is over (`busy_seconds`).
    """

    def __init__(
        self,
        address: str,
        *,
        label: str,
        ca: str = "",
        seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the address, the name for messages, certificates (PEM), time and headers of a request."""
        self._headers = {"User-Agent": "keeper", **(headers or {})}
        self._path, self._label, self._seconds = urlsplit(address).path.rstrip("/"), label, seconds
        self._pool = pool(address, connections=_CONNECTIONS, ca=ca)
        self._free_at = 0.0
        # The latest of the server's times that answers had, and our clock then: a cache shows an earlier one.
        self._told = (0, 0.0)
        # How many requests the limit has left until when (seconds since 1970), where the system says so.
        self._left: tuple[int, float] | None = None
        self._lock = threading.Lock()

    @property
    def busy_seconds(self) -> float:
        return max(0.0, self._free_at - time.monotonic())

    @property
    def server_time(self) -> int:
        """The latest time that the server named in an answer, in seconds since 1970; 0 for none."""
        return self._told[0]

    @property
    def server_now(self) -> int:
        """The server's time by now, as `server_time` lets it be estimated; 0 for none."""
        told, at = self._told
        return told + math.ceil(time.monotonic() - at) if told else 0

    def close(self) -> None:
        self._pool.close()

    def require_room(self) -> None:
        """Raise TargetBusy, until the limit is reset, where it has no room for a write and its look."""
        left, until = self._left or (_ROOM, 0.0)
        if left < _ROOM and until > time.time():
            self._pause(until - time.time())
            raise self._busy()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> RestAnswer:
        """Send a request, and return its answer.

        Raises NotFound, PermissionMissing, RequestRefused (400, 409, 422) or another BackendError. Nothing of
        an answer is repeated.
        """
        if self.busy_seconds:
            raise self._busy()
        address = f"{self._path}{path}?{urlencode(query)}" if query else f"{self._path}{path}"
        content = None if body is None else json.dumps(body).encode()
        sent = {**self._headers, **(headers or {})} | (
            {"Content-Type": "application/json"} if content else {}
        )
        reply = self._exchange(method, address, content, sent)
        if (told := _server_time(reply.headers)) > self.server_time:
            self._told = (told, time.monotonic())
        self._left = _requests_left(reply.headers)
        if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
            found = json.loads(reply.body) if reply.body else None
            return RestAnswer(status=reply.status, headers=reply.headers, content=found)
        raise self._translate(method, reply)

    def _exchange(self, method: str, address: str, content: bytes | None, sent: Mapping[str, str]) -> Reply:
        try:
            return exchange(
                self._pool,
                method,
                address,
                body=content,
                headers=sent,
                seconds=self._seconds,
                most=_ANSWER_BYTES,
            )
        except EndpointRefused as error:
            raise TargetUnreachable(str(error)) from None
        except OutboundError as error:
            raise TargetUnreachable(f"{self._label}: {error}") from None
        except (HTTPError, OSError) as error:
            raise TargetUnreachable(
                f"{self._label} gave no answer ({type(error).__name__}): check the address"
            ) from None

    def _translate(self, method: str, reply: Reply) -> BackendError:  # noqa: PLR0911  one return a meaning
        status, label = reply.status, self._label
        if _is_limit(reply):
            self._pause(_asked_pause(reply))
            return self._busy()
        if status == HTTPStatus.UNAUTHORIZED:
            return CredentialsRejected(f"{label} does not accept the credentials: renew them")
        if status == HTTPStatus.FORBIDDEN:
            return PermissionMissing(f"{label} does not permit {method} here with these credentials")
        if status == HTTPStatus.NOT_FOUND:
            return NotFound(f"it is not in {label} any more: refresh the plan")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return TargetBusy(f"{label} failed ({status}): try again later")
        if status < HTTPStatus.BAD_REQUEST:
            return MountMissing(f"{label} sends clients elsewhere: it was renamed or moved")
        return RequestRefused(
            f"{label} refused {method} ({status}): check what it asks of names and values, then plan again"
        )

    def _pause(self, seconds: float) -> None:
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic() + seconds)

    def _busy(self) -> TargetBusy:
        seconds = self.busy_seconds
        return TargetBusy(
            f"{self._label} limits requests: it is asked again in {max(1, round(seconds))} seconds",
            retry_after=seconds,
        )


def _server_time(headers: Mapping[str, str]) -> int:
    try:
        return int(parsedate_to_datetime(headers["Date"]).timestamp())
    except (KeyError, TypeError, ValueError):
        return 0


def _is_limit(reply: Reply) -> bool:
    """Return whether an answer is a limit, and not a refusal (GitHub, "Troubleshooting the REST API")."""
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    named = "Retry-After" in reply.headers or reply.headers.get("X-RateLimit-Remaining") == "0"
    # A secondary limit may name neither: only its message does.
    return reply.status == HTTPStatus.FORBIDDEN and (named or b"rate limit" in reply.body.lower())


def _asked_pause(reply: Reply) -> float:
    """Return the seconds to wait: those named, or until the limit is reset, or a minute."""
    if (named := reply.headers.get("Retry-After", "")).isdecimal():
        return float(named)
    left, until = _requests_left(reply.headers) or (1, 0.0)
    return _PAUSE_SECONDS if left else max(1.0, until - time.time())


def _requests_left(headers: Mapping[str, str]) -> tuple[int, float] | None:
    """Return how many requests a limit has left, and when it is reset, in seconds since 1970.

    Sources: GitHub, "Rate limits for the REST API"; GitLab, "Rate limits", "Response headers".
    """
    for prefix in ("X-RateLimit", "RateLimit"):
        left, until = headers.get(f"{prefix}-Remaining", ""), headers.get(f"{prefix}-Reset", "")
        if left.isdecimal() and until.isdecimal():
            return int(left), float(until)
    return None


class RestBackend(Backend):
    """A system at the address in the destination's field `address`."""

    # Of a request; None: KEEPER_OUTBOUND_SECONDS.
    timeout_seconds: ClassVar[float | None] = None
    page_size: ClassVar[int]

    @classmethod
    def endpoint(cls, destination: Mapping[str, str]) -> str:
        try:
            return normalised_endpoint(fill_defaults(cls.destination_fields, destination)["address"])
        except BadEndpoint as error:
            raise BadDestination(str(error), field="address") from error

    def batch_get_metadata(self, names: Collection[str]) -> dict[str, SecretMetadata]:
        wanted = {self.remote_name(name): name for name in names}
        found = {}
        for seen in self.list_secrets():
            if name := wanted.get(self.remote_name(seen.name)):
                found[name] = replace(seen, name=name)
        return found

    def restore(self, name: str) -> SecretMetadata:
        """Return the present state: nothing that was deleted is kept."""
        return self.get_metadata(name)


class VariableBackend(RestBackend):
    """A system whose secrets are environment variables: upper case, without folders."""

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._names = VariableNames(self.destination["prefix"])

    @property
    def path_prefix(self) -> str:
        return self._names.path

    def remote_name(self, name: str) -> str:
        return self._names.variable(name)

    def explain_refusal(self, act: str, name: str) -> str:
        if act != "create":
            return ""
        variable = self.remote_name(name)
        return self._explain_name(variable) or explain_bad_variable(variable)

    def get_metadata(self, name: str) -> SecretMetadata:
        return self._find(name) or SecretMetadata(name=name, presence=Presence.ABSENT)

    def _change(self, send: Callable[[], RestAnswer], *, of: str = "") -> RestAnswer:
        """Send a write, to the item `of` if it is of an existing one.

        Such systems answer 404 also to what is not permitted, so that nothing private is disclosed. Raises
        PermissionMissing for a write to a place that is shown, MountMissing if the place is not, and
        ChangedSinceRead if it is the item that is gone.
        """
        try:
            return send()
        except PermissionMissing:
            pass
        except NotFound as error:
            self._require_place()
            if of and self._find(of) is None:
                raise ChangedSinceRead(str(error)) from None
        raise PermissionMissing(self._lacking)

    @property
    @abstractmethod
    def _lacking(self) -> str:
        """What an operator is told where a write is not permitted: which permission is missing."""

    @abstractmethod
    def _require_place(self) -> None:
        """Raise MountMissing unless the place of the variables is shown to the credentials."""

    @abstractmethod
    def _find(self, name: str) -> SecretMetadata | None:
        """Return the metadata of a variable; None if there is none."""

    def _explain_name(self, variable: str) -> str:
        """Return why the system takes no variable of this name; empty if it does."""
        return ""


def refuse_unreadable(ca: str) -> None:
    """Raise BadDestination for what is no certificate in PEM; nothing is none of them."""
    try:
        if ca:
            ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise BadDestination("enter certificates in PEM", field="ca_certificate") from None
