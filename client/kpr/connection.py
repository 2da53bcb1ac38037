"""Connections: direct or by a proxy, with a deadline for each whole answer."""

import os
import time
from base64 import b64encode
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from typing import Any
from urllib.parse import unquote, urlsplit

from kpr.errors import UsageError


def connect(address: str, *, seconds: float, authority: str | None = None) -> HTTPConnection:
    """Return a connection to the server of an address, which a request opens; `authority` is a file.

    Raises UsageError for a proxy that cannot be used.
    """
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "http":
        return HTTPConnection(host, port, timeout=seconds)
    import ssl  # noqa: PLC0415 - not needed for a server on this machine

    context = ssl.create_default_context(cafile=authority)
    proxy = _proxy(host)
    if not proxy:
        return HTTPSConnection(host, port, timeout=seconds, context=context)
    via, via_port, headers = _parts(proxy)
    secure = HTTPSConnection(via, via_port, timeout=seconds, context=context)
    secure.set_tunnel(host, port or 443, headers)
    return secure


def limit(connection: HTTPConnection, *, seconds: float, ends: float) -> None:
    """Let the next answer of a connection be silent for so long, and be whole at a time of the clock."""

    def answer(sock: Any, *given: Any, **named: Any) -> HTTPResponse:
        limited: Any = _Limited(sock, seconds, ends)
        return HTTPResponse(limited, *given, **named)

    connection.timeout = max(0.001, min(seconds, ends - time.monotonic()))
    if connection.sock is not None:
        connection.sock.settimeout(connection.timeout)
    connection.response_class = answer  # type: ignore[assignment]  # called as the class is


def reader(sock: Any, *, seconds: float, ends: float) -> BufferedReader:
    """Return what a socket receives until a time: its own limit begins again with each byte."""
    return BufferedReader(_File(sock, seconds, ends))


class _Limited:
    """A socket of which an answer is read until a time."""

    def __init__(self, sock: Any, seconds: float, ends: float) -> None:
        self._sock, self._seconds, self._ends = sock, seconds, ends

    def makefile(self, _mode: str) -> BufferedReader:
        return reader(self._sock, seconds=self._seconds, ends=self._ends)


class _File(RawIOBase):
    def __init__(self, sock: Any, seconds: float, ends: float) -> None:
        self._sock, self._seconds, self._ends = sock, seconds, ends
        # It keeps the socket open for the rest of an answer that ends the connection.
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(self._seconds, left))
        count: int | None = self._file.readinto(buffer)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _proxy(host: str) -> str:
    """Return the proxy that the variables name for a host, or nothing."""
    if not (os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")):
        return ""
    from urllib.request import getproxies_environment, proxy_bypass  # noqa: PLC0415 - rarely needed

    return "" if proxy_bypass(host) else getproxies_environment().get("https", "")


def _parts(proxy: str) -> tuple[str, int, dict[str, str]]:
    """Return host and port of a proxy, and the header that names its user. Raises UsageError."""
    try:
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, port = via.hostname or "", via.port or 80
    except ValueError:
        host, port = "", 0
    # The way to the proxy is not encrypted: where https:// asks for that, no password goes out.
    if not host or via.scheme not in {"http", "https"} or (via.scheme == "https" and via.username):
        raise UsageError("https_proxy cannot be used: give the proxy as http://[USER:PASSWORD@]HOST:PORT.")
    if via.username is None:
        return host, port, {}
    user = f"{unquote(via.username)}:{unquote(via.password or '')}"
    return host, port, {"Proxy-Authorization": f"Basic {b64encode(user.encode()).decode()}"}
