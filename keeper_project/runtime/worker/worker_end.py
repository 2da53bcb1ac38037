"""Ends the worker of this process; its supervisor then starts a new one."""

import os
import threading
import time
from typing import Final

from celery.worker import state as worker_state

# What begun work may take once its process is asked to stop; less than the supervisor's patience.
FINISH_SECONDS: Final = 20


def end_worker() -> None:
    """Ask the worker to finish begun tasks and end; its process ends after FINISH_SECONDS in any case."""
    worker_state.should_stop = os.EX_SOFTWARE  # type: ignore[assignment]  # stubs
    try:
        threading.Thread(target=end_late, name="end", daemon=True).start()
    except (MemoryError, RuntimeError):
        # There is no memory for a thread.
        os._exit(os.EX_SOFTWARE)


def end_late() -> None:
    """End the process after FINISH_SECONDS: a stuck task must not block all others indefinitely."""
    time.sleep(FINISH_SECONDS)
    os._exit(os.EX_SOFTWARE)
