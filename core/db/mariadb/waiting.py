"""Ends the wait for a database server that says nothing; the driver itself waits without limit.

A thread looks at all connections of the process, and shuts the socket of one whose answer is overdue: the
driver then raises 2013, as for any connection that ended. A greeting, a login and a ping have a limit. A
statement has none, since a migration may take minutes: the server is asked by a second connection whether it
works on it.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from time import monotonic, sleep
from typing import Any, Final
from weakref import WeakSet

from MySQLdb import Error
from MySQLdb.connections import Connection
from MySQLdb.cursors import SSCursor

# Each host may take as long to connect, and so may an answer to a ping.
HOST_SECONDS: Final = 3.0
# The driver's own limit ends the way to the host before.
_GRACE_SECONDS: Final = 0.5
_TICK_SECONDS: Final = 0.25
# After so long, and again after as long, a server is asked whether it works on a statement.
_STATEMENT_SECONDS: Final = 10.0
# A statement may take so long where a proxy hides which server works on it.
_HIDDEN_SECONDS: Final = 60.0
# The kernel looks for a silent peer after 3 s and gives up 3 s later, as it does where nobody acknowledges.
_KERNEL: Final = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 3),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 6000),
)
# Those of standard input, output and errors: the driver says 0 before it has a socket.
_STANDARD: Final = 2


class WatchedConnection(Connection):  # type: ignore[misc]  # the driver has no types
    """A connection of which no wait is without end."""

    # When the connection, or the answer to a ping, is overdue.
    ends = inf
    # Since when a statement waits for its answer; and when the server was asked about it.
    since, asked = inf, -inf
    # Whether the wait was ended.
    is_silent = False
    # Its descriptor, its own address and the server's thread, from when it is connected.
    _number, _thread = -1, 0
    _name: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.opened_with = kwargs
        self.ends = monotonic() + kwargs.get("connect_timeout", HOST_SECONDS) + _GRACE_SECONDS
        _WATCH.add(self)
        try:
            super().__init__(*args, **kwargs)
        finally:
            # What failed is closed, and its number may already be that of another socket.
            self.ends = inf
        # The driver says neither while it waits for an answer.
        self._number, self._thread = self.fileno(), self.thread_id()
        with self.handle() as own:
            self._name = own.getsockname()
            if own.family != socket.AF_UNIX:
                for level, name, value in _KERNEL:
                    # Linux knows all of them.
                    if hasattr(socket, name):
                        own.setsockopt(level, getattr(socket, name), value)

    def handle(self) -> socket.socket:
        """Return another handle of the socket, to be closed. Raises OSError while there is none."""
        number = self._number if self._number >= 0 else self.fileno()
        if number <= _STANDARD:
            raise OSError("not connected yet")
        own = socket.socket(fileno=os.dup(number))
        if self._name not in {None, own.getsockname()}:
            own.close()
            raise OSError("closed meanwhile, and the number is another one's")
        return own

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Let what the block asks be answered in so long."""
        self.ends = monotonic() + seconds
        try:
            yield
        finally:
            self.ends = inf

    def query(self, query: str | bytes) -> None:
        self.wait(super().query, query)

    def store_result(self) -> Any:
        return self.wait(super().store_result)

    def next_result(self) -> Any:
        return self.wait(super().next_result)

    def commit(self) -> None:
        self.wait(super().commit)

    def rollback(self) -> None:
        self.wait(super().rollback)

    def wait(self, act: Callable[..., Any], *args: Any) -> Any:
        """Let what the driver does count as a statement that waits for its answer."""
        self.since = monotonic()
        try:
            return act(*args)
        finally:
            self.since = inf

    def look(self) -> None:
        """End a wait that is overdue; let the server be asked about a statement that takes long."""
        now = monotonic()
        if now > self.ends:
            self.end()
        elif now - max(self.since, self.asked) > _STATEMENT_SECONDS:
            self.asked = now
            threading.Thread(target=self._ask, args=(self.since,), daemon=True).start()

    def end(self) -> None:
        """Shut the socket, so that the thread that waits goes on."""
        # It was closed meanwhile, or has no socket yet: then it is looked at again.
        with suppress(OSError, Error), self.handle() as own:
            # Before the thread that waits goes on and asks why.
            self.is_silent = self._number >= 0
            own.shutdown(socket.SHUT_RDWR)
            self.is_silent = True

    def _ask(self, since: float) -> None:
        """End the wait that began then, unless the server works on the statement."""
        is_worked_on = self._is_worked_on()
        if is_worked_on is None:
            is_worked_on = monotonic() - since < _HIDDEN_SECONDS
        if not is_worked_on and self.since == since:
            self.end()

    def _is_worked_on(self) -> bool | None:
        """Return whether the server works on the statement, None if who answers knows no such thread.

        A proxy may have led to another server, or may number the threads by itself.
        """
        try:
            other = WatchedConnection(**{**self.opened_with, "connect_timeout": int(HOST_SECONDS)})
        except Error:
            return False
        with other, other.at_most(HOST_SECONDS), suppress(Error):
            # Not SHOW PROCESSLIST: it has the statements of others, cut anywhere, which need be no text.
            other.query(b"SELECT COMMAND FROM information_schema.PROCESSLIST WHERE ID = %d" % self._thread)
            found = other.store_result().fetch_row(1)
            return found[0][0] != "Sleep" if found else None
        return False


class StreamingCursor(SSCursor):  # type: ignore[misc]  # the driver has no types
    """Takes rows as they come, and waits for them no longer than for the answer to a statement."""

    def _fetch_row(self, size: int = 1) -> Any:
        return self.connection.wait(super()._fetch_row, size)


class _Watch:
    """The thread, and the connections that it looks at."""

    def __init__(self) -> None:
        self._all: WeakSet[WatchedConnection] = WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, connection: WatchedConnection) -> None:
        with self._lock:
            self._all.add(connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="database-waits", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while True:
            sleep(_TICK_SECONDS)
            self._look_once()

    def _look_once(self) -> None:
        with self._lock:
            connections = [each for each in self._all if not each.is_silent]
        for each in connections:
            each.look()


_WATCH: Final = _Watch()
# A forked process has no thread, and its parent's connections are not its own.
os.register_at_fork(after_in_child=_WATCH.__init__)  # type: ignore[misc]
