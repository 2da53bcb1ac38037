"""Waits until the server of the tests answers nobody any more.

A window that closes leaves its last requests to the server, which goes on with them: they would write into the
database of the next test, or lock the tables that are emptied before it.
"""

import threading
import time

# Django's server has a thread for each connection; it ends with it.
_THREAD = "process_request_thread"
_PATIENCE = 60


def wait_until_none() -> None:
    """Return once every connection of closed windows has ended; fail if one lasts for a minute."""
    give_up = time.monotonic() + _PATIENCE
    for thread in threading.enumerate():
        if _THREAD in thread.name:
            thread.join(max(0.0, give_up - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name} still answers after its window was closed"
