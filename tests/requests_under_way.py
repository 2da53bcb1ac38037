"""Waits until the server of the tests answers nobody any more.

A window or a program that ends leaves its last requests to the server, which goes on with them: they would write
into the database of the next test, lock the tables that are emptied before it, or close its connection.
"""

import contextlib
import socket
import threading
import time

# Django's server has a thread for each connection; it ends with it.
_THREAD = "process_request_thread"
_PATIENCE = 60


def wait_until_none() -> None:
    """Take no more requests, and return once those that were taken are answered; fail if one lasts for a minute."""
    give_up = time.monotonic() + _PATIENCE
    for thread in threading.enumerate():
        if _THREAD in thread.name:
            _take_no_more(thread)
            thread.join(max(0.0, give_up - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name} still answers after its test"


def _take_no_more(thread: threading.Thread) -> None:
    """Close one direction of a connection, which a client may keep open for its next request."""
    for each in getattr(thread, "_args", ()):
        if isinstance(each, socket.socket):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RD)
