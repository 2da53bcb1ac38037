"""Where a request comes from, as far as the proxies in front of Keeper can be believed."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX_SOCKET = "unix"
_SUBSCRIBER_PREFIX = 64


def client_address(request: HttpRequest) -> str:
    """Return the client's address, "" if the server knows none.

    KEEPER_FORWARDED_HEADER (X-Forwarded-For) is read from the right, since each proxy appends
    whom it heard: the first address that is no trusted proxy is the client. Entries further left can be
    forged.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    if not is_trusted_proxy(peer):
        return _text(peer)
    nearest = peer
    for hop in reversed(request.META.get(forwarded_name(), "").split(",")):
        address = _without_port(hop.strip())
        if parse_address(address) is None:
            break
        nearest = address
        if not is_trusted_proxy(address):
            break
    return _text(nearest)


def forwarded_name() -> str:
    """Return the name under which WSGI passes settings.KEEPER_FORWARDED_HEADER."""
    return _name_in_wsgi(settings.KEEPER_FORWARDED_HEADER)


@lru_cache(maxsize=8)
def _name_in_wsgi(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


def is_trusted_proxy(address: str) -> bool:
    """Return whether an address lies in settings.KEEPER_TRUSTED_PROXIES; no address: "unix" does."""
    trusted = settings.KEEPER_TRUSTED_PROXIES
    if not trusted:
        return False
    if not address:
        return UNIX_SOCKET in trusted
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in networks(tuple(trusted)))


@lru_cache(maxsize=8)
def networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks that entries of addresses and networks name.

    Raises ValueError if one is neither.
    """
    return tuple(ip_network(entry, strict=False) for entry in entries if entry != UNIX_SOCKET)


def subscriber(address: str) -> str:
    """Return what stands for one client in counting: an IPv6 client owns its whole /64."""
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _SUBSCRIBER_PREFIX), strict=False))
    return address


@lru_cache(maxsize=1024)
def parse_address(text: str) -> Address | None:
    """Return the address that a text is, an IPv4 one that is written as IPv6 as such; else None."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _text(address: str) -> str:
    parsed = parse_address(address)
    return "" if parsed is None else str(parsed)


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    if hop.count(":") == 1:
        return hop.partition(":")[0]
    return hop


@lru_cache(maxsize=1024)
def networks_of(cidrs: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return networks by their texts."""
    return tuple(ip_network(cidr) for cidr in cidrs)


def are_within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    """Return whether each of some networks lies in one of the others; none are all networks."""
    if not outer:
        return True
    places = networks_of(tuple(outer))
    return bool(inner) and all(
        any(each.version == place.version and each.subnet_of(place) for place in places)  # type: ignore[arg-type]  # the versions were compared
        for each in networks_of(tuple(inner))
    )
