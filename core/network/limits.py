"""Bounds on each request to another system: the time that it takes altogether, and the size of its answer.

A timeout of a library bounds one wait. A server that sends a byte before each wait ends holds a thread
for ever, and one that sends without an end takes all memory. The sockets of this module belong to the
request of `limited`: before each wait they take the time that it has left, and they count what comes.
Every client uses them, whatever its protocol, and none of them works outside a request.
"""

import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.conf import settings

from core.errors import AnswerTooLarge, DeadlinePassed, OutboundError
from core.network.client_address import parse_address

# The default maximum size of an answer.
ANSWER_BYTES: Final = 1024 * 1024
# How many names are asked for at once. A name server that does not answer holds no more threads.
_RESOLVING: Final = threading.BoundedSemaphore(16)
# include/uapi/linux/tcp.h, `tcpi_bytes_received` of `struct tcp_info`.
_TCP_INFO_BYTES: Final = 192
_BYTES_RECEIVED: Final = 128


class Limit:
    """What one request has left."""

    def __init__(self, *, seconds: float, most: int, ends: float) -> None:
        self._seconds, self._most, self.ends = seconds, most, ends
        self._received = 0

    def seconds_left(self) -> float:
        """Return the time that is left. Raises DeadlinePassed if there is none."""
        seconds = self.ends - time.monotonic()
        if seconds <= 0:
            raise self.passed()
        return seconds

    def passed(self) -> DeadlinePassed:
        return DeadlinePassed(f"there was no whole answer within {self._seconds:g} seconds")

    def count(self, received: int) -> None:
        """Count bytes that came. Raises AnswerTooLarge if they are too many altogether."""
        self.refuse_above(self._received + received)
        self._received += received

    def refuse_above(self, received: int) -> None:
        """Raise AnswerTooLarge if an answer has more bytes than it may."""
        if received > self._most:
            raise AnswerTooLarge(f"the answer is larger than {self._most // 1024:,} KiB")


_limit: ContextVar[Limit | None] = ContextVar("outbound_limit", default=None)
_proceed: ContextVar[Callable[[], None] | None] = ContextVar("outbound_proceed", default=None)


@contextmanager
def limited(seconds: float | None = None, *, most: int = ANSWER_BYTES) -> Iterator[Limit]:
    """Bound the request that the block sends; within another one it has no more time than that.

    Without `seconds`, KEEPER_OUTBOUND_SECONDS. Raises the error of `guarded` before anything is sent.
    """
    if (proceed := _proceed.get()) is not None:
        proceed()
    seconds = settings.KEEPER_OUTBOUND_SECONDS if seconds is None else seconds
    ends, outer = time.monotonic() + seconds, _limit.get()
    limit = Limit(seconds=seconds, most=most, ends=min(ends, outer.ends) if outer else ends)
    token = _limit.set(limit)
    try:
        yield limit
    finally:
        _limit.reset(token)


@contextmanager
def guarded(proceed: Callable[[], None]) -> Iterator[None]:
    """Call a function before each request of the block; what it raises stops the work there."""
    token = _proceed.set(proceed)
    try:
        yield
    finally:
        _proceed.reset(token)


def current_limit() -> Limit:
    """Return the limit of the request that this thread is sending."""
    limit = _limit.get()
    if limit is None:
        raise RuntimeError("a request to another system has no limit: send it in `limited`")
    return limit


class LimitedSocket(socket.socket):
    """A connection whose every wait ends with the request that it serves."""

    def recv(self, *args: Any) -> bytes:
        with _wait(self) as limit:
            received = super().recv(*args)
            limit.count(len(received))
        return received

    def recv_into(self, *args: Any) -> int:
        with _wait(self) as limit:
            received = super().recv_into(*args)
            limit.count(received)
        return received

    def send(self, *args: Any) -> int:
        with _wait(self):
            return super().send(*args)

    def sendall(self, *args: Any) -> None:
        with _wait(self):
            super().sendall(*args)


class LimitedTlsSocket(ssl.SSLSocket):
    """The same for TLS; `recv` and `recv_into` of the base read, and `sendall` sends, by these."""

    def read(self, len: int | None = 1024, buffer: Any = None) -> Any:
        with _wait(self) as limit:
            # With a buffer it returns how much it put there.
            received: Any = super().read(len, buffer)  # type: ignore[arg-type]  # None: as much as there is
            limit.count(received if buffer is not None else received.__len__())
        return received

    def send(self, *args: Any) -> int:
        with _wait(self):
            return super().send(*args)

    def do_handshake(self, *args: Any) -> None:
        with _wait(self):
            super().do_handshake(*args)

    def unwrap(self) -> socket.socket:
        with _wait(self):
            return super().unwrap()


def limited_context(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let the connections that a context makes keep the limits, and return it."""
    context.sslsocket_class = LimitedTlsSocket
    return context


def opened(addresses: Sequence[str], port: int, *, options: Sequence[Any] = ()) -> LimitedSocket:
    """Connect to the first of numeric addresses that answers; each has an equal share of the time.

    Raises DeadlinePassed, or OSError.
    """
    limit, failure = current_limit(), OSError("no address")
    for number, address in enumerate(addresses):
        share = limit.seconds_left() / (len(addresses) - number)
        line = LimitedSocket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            for option in options:
                line.setsockopt(*option)
            line.settimeout(share)
            line.connect((address, port))
        except OSError as error:
            line.close()
            failure = error
        else:
            return line
    if isinstance(failure, TimeoutError):
        raise limit.passed() from None
    raise failure


def resolved(host: str, port: int) -> list[str]:
    """Return the addresses of a host, within the time of the request.

    A name server that does not answer keeps a thread of its own busy, never the caller's.
    Raises DeadlinePassed, or OSError if the name does not resolve.
    """
    limit = current_limit()
    if parse_address(host):
        return [host]
    if not _RESOLVING.acquire(timeout=limit.seconds_left()):
        raise limit.passed()
    addresses: Future[list[str]] = Future()
    try:
        threading.Thread(target=_resolve, args=(addresses, host, port), name="resolve", daemon=True).start()
    except BaseException:
        # The thread that gives the place back never was.
        _RESOLVING.release()
        raise
    try:
        return addresses.result(timeout=limit.seconds_left())
    except FutureTimeout:
        raise DeadlinePassed(f"no name server answered for {host}") from None


class Counted:
    """A connection that a library in C reads from; the kernel knows how much came."""

    def __init__(self, descriptor: int) -> None:
        """Take a connected socket's file descriptor."""
        self._descriptor = descriptor

    def refuse_large(self) -> None:
        """Raise AnswerTooLarge if more came than the request may get."""
        # A descriptor of its own is closed with this object; that of the library stays.
        with socket.fromfd(self._descriptor, socket.AF_INET, socket.SOCK_STREAM) as twin:
            try:
                tcp_info = twin.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            except OSError:
                return  # a local socket, which has no network behind it
        if len(tcp_info) >= _BYTES_RECEIVED + 8:
            current_limit().refuse_above(struct.unpack_from("=Q", tcp_info, _BYTES_RECEIVED)[0])


def _resolve(future: Future[list[str]], host: str, port: int) -> None:
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys(str(info[4][0]).partition("%")[0] for info in infos)
        future.set_result(list(addresses))
    except (OSError, UnicodeError) as error:
        future.set_exception(error)
    finally:
        _RESOLVING.release()


@contextmanager
def _wait(line: socket.socket) -> Iterator[Limit]:
    """Give a wait the time that its request has left; a connection that had none or too much is closed."""
    limit = current_limit()
    try:
        line.settimeout(limit.seconds_left())
        yield limit
    except TimeoutError:
        _cut(line)
        raise limit.passed() from None
    except OutboundError:
        _cut(line)
        raise


def _cut(line: socket.socket) -> None:
    """Close a connection, even if a library still holds file objects of it."""
    if (descriptor := line.detach()) >= 0:
        os.close(descriptor)
