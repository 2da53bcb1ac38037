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
    while threads := [each for each in threading.enumerate() if _THREAD in each.name]:
        assert time.monotonic() < give_up, f"{threads[0].name} still answers after its test"
        for thread in threads:
            _take_no_more(thread)
            # The server may be about to start it: what does not run yet cannot be joined.
            if thread.is_alive():
                thread.join(max(0.0, give_up - time.monotonic()))
        time.sleep(0.001)


def _take_no_more(thread: threading.Thread) -> None:
    """Close one direction of a connection, which a client may keep open for its next request."""
    for each in getattr(thread, "_args", ()):
        if isinstance(each, socket.socket):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RD)
