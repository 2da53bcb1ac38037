"""The endpoint rule, and HTTP to other systems: where Keeper may connect with a credential.

The rule is applied to the address that is connected to, after the name was resolved, so that no
name, redirect or second answer of a name server leads anywhere else. Permitted are addresses of
the public Internet, by TLS, and the networks that KEEPER_OUTBOUND_ALLOWED names, also without
it. Link-local addresses (where clouds hand out credentials), loopback and private ones are not.
"""

import ipaddress
import socket
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from audit_app.errors import BadEndpoint, EndpointRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# RFC 6052: an IPv4 address in the last 32 bits, reached through a translator.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


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
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        shown = f"{shown}:{port}"
    return urlunsplit((scheme, shown, "".join(f"/{segment}" for segment in segments), "", ""))


def is_permitted(address: str, *, encrypted: bool) -> bool:
    """Say whether Keeper may connect to this numeric address, with or without TLS."""
    ip = _underlying(ipaddress.ip_address(address))
    if any(ip in network for network in allowed_networks(tuple(settings.KEEPER_OUTBOUND_ALLOWED))):
        return True
    return encrypted and ip.is_global and not ip.is_multicast


def session() -> requests.Session:
    """Return a session that obeys the rule, follows no redirect, and knows no proxy or .netrc."""
    made = _Session()
    made.trust_env = False
    made.mount("https://", _Adapter())
    made.mount("http://", _Adapter())
    return made


def pool(endpoint: str, *, connections: int, seconds: float) -> HTTPConnectionPool:
    """Return so many connections to one endpoint that obey the rule; `seconds` is to connect, and to read.

    For many requests to one place, each of which costs half of what it does by a session. Nothing
    is retried, and no redirect followed, where `urlopen` is told so.
    """
    manager = PoolManager(
        maxsize=connections,
        timeout=Timeout(connect=seconds, read=seconds),
        cert_reqs="CERT_REQUIRED",
        ca_certs=DEFAULT_CA_BUNDLE_PATH,
    )
    manager.pool_classes_by_scheme = POOLS
    return manager.connection_from_url(endpoint)


def permitted_addresses(host: str, port: int, *, encrypted: bool) -> list[str]:
    """Resolve a host and return its addresses.

    Raises EndpointRefused if any of them is not permitted: a name that also points inside is not
    to be trusted to point elsewhere next time. Raises OSError if the name does not resolve.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(info[4][0]).partition("%")[0] for info in found))
    for address in addresses:
        if not is_permitted(address, encrypted=encrypted):
            how = "" if encrypted else " without TLS"
            raise EndpointRefused(
                f"{host} is at {address}, where Keeper does not connect{how}: "
                "add its network to KEEPER_OUTBOUND_ALLOWED if that is intended"
            )
    return addresses


class PermittedConnection(HTTPConnection):
    """A plain connection to a permitted address."""

    def _new_conn(self) -> socket.socket:
        return _connected(self, super()._new_conn, encrypted=False)


class PermittedTlsConnection(HTTPSConnection):
    """A TLS connection to a permitted address; the certificate must be for the host's name."""

    def _new_conn(self) -> socket.socket:
        return _connected(self, super()._new_conn, encrypted=True)


class PermittedPool(HTTPConnectionPool):
    """Connections to permitted addresses."""

    ConnectionCls = PermittedConnection


class PermittedTlsPool(HTTPSConnectionPool):
    """TLS connections to permitted addresses."""

    ConnectionCls = PermittedTlsConnection


POOLS: Final = {"http": PermittedPool, "https": PermittedTlsPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS


class _Session(requests.Session):
    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request and follow no redirect, whatever the caller says."""
        kwargs["allow_redirects"] = False
        return super().request(*args, **kwargs)


def _connected(connection: HTTPConnection, connect: Any, *, encrypted: bool) -> socket.socket:
    """Connect to the very addresses that were judged; nothing is resolved a second time."""
    name = connection._dns_host  # noqa: SLF001  urllib3's own name for what it resolves
    failure: OSError | HTTPError | None = None
    for address in permitted_addresses(name, connection.port or 0, encrypted=encrypted):
        connection._dns_host = address  # noqa: SLF001 - as above
        try:
            made: socket.socket = connect()
        except (OSError, HTTPError) as error:
            failure = error
        else:
            return made
        finally:
            connection._dns_host = name  # noqa: SLF001 - as above
    raise failure or OSError(f"{name} has no address")


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
