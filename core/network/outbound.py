"""The endpoint rule, and HTTP to other systems: where Keeper may connect with a credential.

The rule is applied to the address that is connected to, after the name was resolved, so that no
name, redirect or second answer of a name server leads anywhere else. Permitted are addresses of
the public Internet, by TLS, and the networks that KEEPER_OUTBOUND_ALLOWED names, also without
it. Link-local addresses (where clouds hand out credentials), loopback and private ones are not.

Each request has one deadline and a largest answer (`core.network.limits`).
"""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from core.errors import AnswerUnreadable, BadEndpoint, EndpointRefused
from core.network.limits import ANSWER_BYTES, limited, limited_context, opened, resolved

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# RFC 6052: an IPv4 address in the last 32 bits, reached through a translator.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_PIECE: Final = 64 * 1024
# Of the answer by which a connection is proved, so much is read.
_PROOF_BYTES: Final = 64 * 1024


def normalised_endpoint(url: str) -> str:
    """Return the one spelling of an endpoint: scheme, host, port unless usual, path without final slash.

    Raises BadEndpoint if it is not http or https, or carries user info, a query or a fragment.
    """
    try:
        parts = urlsplit(url.strip())
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").rstrip("."), parts.port
        host = host if ":" in host else host.encode("idna").decode("ascii").lower()
    except ValueError as error:
        raise BadEndpoint("not an address: write https://host.example:port") from error
    if scheme not in _DEFAULT_PORTS or not host:
        raise BadEndpoint("an address begins with https://, or http:// in an allowed network, and a host")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise BadEndpoint("an address has no user, password, query or fragment")
    segments = [segment for segment in parts.path.split("/") if segment]
    if not set(segments).isdisjoint({".", ".."}) or "%" in parts.path or "\\" in url:
        raise BadEndpoint("the path of an address is plain: no . or .. and nothing encoded")
    shown_host = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        shown_host = f"{shown_host}:{port}"
    return urlunsplit((scheme, shown_host, "".join(f"/{segment}" for segment in segments), "", ""))


def is_permitted(address: str, *, encrypted: bool) -> bool:
    """Return whether Keeper may connect to this numeric address, with or without TLS."""
    ip = _underlying(ipaddress.ip_address(address))
    if any(ip in network for network in allowed_networks(tuple(settings.KEEPER_OUTBOUND_ALLOWED))):
        return True
    return encrypted and ip.is_global and not ip.is_multicast


def require_permitted_literal(endpoint: str) -> None:
    """Refuse an endpoint whose host is a numeric address, or localhost, that Keeper never connects to.

    Other names are judged at each connection: what they resolve to may change. Raises BadEndpoint.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    try:
        permitted = is_permitted(
            "127.0.0.1" if host == "localhost" else host, encrypted=parts.scheme == "https"
        )
    except ValueError:
        return
    if not permitted:
        raise BadEndpoint(
            f"Keeper doesn't connect to {host}. An operator can allow its network in KEEPER_OUTBOUND_ALLOWED"
        )


def session(*, most: int = ANSWER_BYTES) -> requests.Session:
    """Return a session that obeys the rule, follows no redirect, and knows no proxy or .netrc.

    `most` bounds the size of an answer, and a request's `timeout` all of its time. A request raises an
    OutboundError, or a RequestException.
    """
    made = _Session(most)
    made.trust_env = False
    made.headers["Accept-Encoding"] = "identity"
    made.mount("https://", _Adapter())
    made.mount("http://", _Adapter())
    return made


def certificate_problem(url: str, error: requests.exceptions.SSLError) -> str:
    """Return whose certificate is not accepted, and why, in the library's words."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__context__
    why = cause.verify_message if cause else "the handshake failed"
    return (
        f"Keeper does not accept the TLS certificate of {urlsplit(url).hostname}: {why}. "
        "It takes those of public authorities."
    )


# Sends a GET for a path over one connection, and returns the beginning of what comes back.
Ask = Callable[[str], bytes]


def pool(
    endpoint: str, *, connections: int, prove: Callable[[Ask], None] | None = None, ca: str = ""
) -> HTTPConnectionPool:
    """Return so many connections to one endpoint that obey the rule, for requests by `exchange`.

    For many requests to one place, each of which costs half of what it does by a session. `prove` is called
    with each connection that was just made, and raises what keeps it from being used. `ca` holds the
    certificates (PEM) that the endpoint's has to be issued by, in place of the public authorities.
    """
    trusted: dict[str, Any] = {"ca_cert_data": ca} if ca else {"ca_certs": DEFAULT_CA_BUNDLE_PATH}
    manager = PoolManager(maxsize=connections, cert_reqs="CERT_REQUIRED", **trusted)
    manager.pool_classes_by_scheme = POOLS
    connections_of_host = manager.connection_from_url(endpoint)
    connections_of_host.prove = prove  # type: ignore[attr-defined]  # of the classes in POOLS
    return connections_of_host


class Reply(NamedTuple):
    """A whole answer; the names of headers match in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def exchange(
    connections: HTTPConnectionPool,
    method: str,
    url: str,
    *,
    body: bytes | None,
    headers: Mapping[str, str],
    seconds: float | None,
    most: int,
) -> Reply:
    """Send one request once, follow nothing, and return its whole answer.

    Raises an OutboundError, an HTTPError of urllib3, or OSError.
    """
    with limited(seconds, most=most) as limit:
        response = connections.urlopen(
            method,
            url,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            # A length is announced before there is memory for it.
            limit.refuse_above(response.length_remaining or 0)
            return Reply(response.status, response.headers, b"".join(response.stream(_PIECE)))
        finally:
            # What was not read to its end would be the start of the next answer.
            if not response.closed:
                response.close()
            response.release_conn()


def permitted_addresses(host: str, port: int, *, encrypted: bool) -> list[str]:
    """Resolve a host and return its addresses.

    Raises EndpointRefused if any of them is not permitted: a name that also points inside is not
    to be trusted to point elsewhere next time. Raises DeadlinePassed if no name server answers, OSError
    if the name does not resolve.
    """
    with limited():
        addresses = resolved(host.strip("[]"), port)
    for address in addresses:
        if not is_permitted(address, encrypted=encrypted):
            how = "" if encrypted else " without TLS"
            raise EndpointRefused(
                f"{host}{'' if host == address else f' is at {address}'}; Keeper doesn't connect there{how}. "
                "An operator can allow its network in KEEPER_OUTBOUND_ALLOWED"
            )
    return addresses


class LimitedConnection(HTTPConnection):
    """A plain connection that keeps the limits of its requests."""

    encrypted: ClassVar[bool] = False

    def _addresses(self) -> list[str]:
        return resolved(self.host.strip("[]"), self.port or 0)

    def _new_conn(self) -> socket.socket:
        """Connect to the very addresses that were found; nothing is resolved a second time."""
        addresses = self._addresses()
        try:
            return opened(addresses, self.port or 0, options=self.socket_options or ())
        except OSError as error:
            raise NewConnectionError(self, f"no connection: {type(error).__name__}") from error


class LimitedTlsConnection(LimitedConnection, HTTPSConnection):
    """A TLS connection that keeps the limits; the certificate must be for the host's name."""

    encrypted: ClassVar[bool] = True

    def connect(self) -> None:
        """Connect, and let TLS keep the limits too."""
        if self.ssl_context is None:
            self.ssl_context = create_urllib3_context()
        limited_context(self.ssl_context)
        HTTPSConnection.connect(self)


class PermittedConnection(LimitedConnection):
    """A plain connection to a permitted address."""

    def _addresses(self) -> list[str]:
        return permitted_addresses(self.host, self.port or 0, encrypted=self.encrypted)


class PermittedTlsConnection(PermittedConnection, LimitedTlsConnection):
    """A TLS connection to a permitted address."""


class LimitedPool(HTTPConnectionPool):
    """Connections that keep the limits."""

    ConnectionCls = LimitedConnection


class LimitedTlsPool(HTTPSConnectionPool):
    """TLS connections that keep the limits."""

    ConnectionCls = LimitedTlsConnection


class _ProvedPool(HTTPConnectionPool):
    """Connections each of which is proved once it is open, before anything else is sent over it."""

    prove: Callable[[Ask], None] | None = None

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if self.prove is None or connection.sock is not None:
            return connection

        def ask(path: str) -> bytes:
            connection.request("GET", path, preload_content=False, decode_content=False)
            return bytes(connection.getresponse().read(_PROOF_BYTES))

        try:
            connection.connect()
            self.prove(ask)
        except BaseException:
            connection.close()
            raise
        return connection


class PermittedPool(_ProvedPool):
    """Connections to permitted addresses."""

    ConnectionCls = PermittedConnection


class PermittedTlsPool(_ProvedPool, HTTPSConnectionPool):
    """TLS connections to permitted addresses."""

    ConnectionCls = PermittedTlsConnection


LIMITED_POOLS: Final = {"http": LimitedPool, "https": LimitedTlsPool}
POOLS: Final = {"http": PermittedPool, "https": PermittedTlsPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send, and refuse a compressed answer: a small one may become a large one."""
        answer = super().send(*args, **kwargs)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            answer.close()
            raise AnswerUnreadable("the answer is compressed, which was not asked for")
        return answer


class _Session(requests.Session):
    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request within the limits, read the answer, and follow no redirect."""
        kwargs |= {"allow_redirects": False, "stream": False}
        with limited(kwargs.pop("timeout", None), most=self._most):
            return super().request(*args, **kwargs)


def _underlying(ip: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)


@lru_cache(maxsize=8)
def allowed_networks(networks: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks of KEEPER_OUTBOUND_ALLOWED. Raises ValueError for what is none."""
    return tuple(ipaddress.ip_network(network, strict=False) for network in networks)
