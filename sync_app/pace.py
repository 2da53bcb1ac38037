"""Keeps to the number of writes a second that a system's quotas allow."""

import threading
import time


class Pace:
    """Spaces out what several threads do; at most one second's worth may come at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._tokens = per_second
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next one may go."""
        time.sleep(self._taken())

    def _taken(self) -> float:
        """Take a token, in advance if there is none; return the seconds until it counts."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._per_second, self._tokens + (now - self._at) * self._per_second)
            self._at = now
            self._tokens -= 1
            return max(0.0, -self._tokens / self._per_second)
