"""Failures that a test asks for: throttling, server errors, hangs, lost replies."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from tests.aws_strict.access_keys import AccessKeys


class Fault(StrEnum):
    """A way to fail."""

    THROTTLE = "throttle"
    SERVER_ERROR = "server error"
    ACCESS_DENIED = "access denied"
    # As if the KMS key had been deleted.
    DELETED = "deleted"
    EXPIRED = "expired"
    # It is done, and the answer takes its time.
    SLOW = "slow"
    # The answer is about another KMS key than the one that was asked for.
    OTHER_KEY = "other key"
    # Nothing is done, and no answer comes in time.
    HANG = "hang"
    # Everything is done, and the answer is lost.
    DROPPED_REPLY = "dropped reply"


@dataclass
class Plan:
    """What goes wrong next, by operation; and what was asked for so far."""

    keys: AccessKeys = field(default_factory=AccessKeys)
    # Every request that arrived, and those that were not the client library's repetition of a failed one: what a
    # test counts of Keeper is the latter, since on a busy machine any request may have to be sent again.
    calls: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    _faults: dict[str, list[Fault]] = field(default_factory=dict)
    _lasting: dict[str, Fault] = field(default_factory=dict)
    _before: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    release: threading.Event = field(default_factory=threading.Event)

    def fail(self, operation: str, fault: Fault, times: int = 1) -> None:
        """Let the next calls of an operation (`PutSecretValue`) fail in this way."""
        with self._lock:
            self._faults.setdefault(operation, []).extend([fault] * times)

    def keep_failing(self, operation: str, fault: Fault) -> None:
        """Let every call of an operation fail in this way, until `recover`."""
        with self._lock:
            self._lasting[operation] = fault

    def recover(self) -> None:
        """Let nothing fail any more, and let what hangs go."""
        with self._lock:
            self._faults.clear()
            self._lasting.clear()
            self._let_go()

    def before(self, operation: str, act: Callable[[], None]) -> None:
        """Do something just before the next call of an operation, as another client would."""
        with self._lock:
            self._before.setdefault(operation, []).append(act)

    def next(self, operation: str, *, repeated: bool) -> Fault | None:
        """Count a call, do what was planned before it, and return how it fails, if it does."""
        with self._lock:
            self.calls[operation] += 1
            if not repeated:
                self.asked[operation] += 1
            acts = self._before.pop(operation, [])
            faults = self._faults.get(operation)
            fault = faults.pop(0) if faults else self._lasting.get(operation)
        for act in acts:
            act()
        return fault

    def clear(self) -> None:
        """Forget plans and counts, and let what hangs go."""
        with self._lock:
            self._let_go()
            self.calls.clear()
            self.asked.clear()
            self._faults.clear()
            self._lasting.clear()
            self._before.clear()
            self.keys.propagation = 0

    def _let_go(self) -> None:
        self.release.set()
        self.release = threading.Event()
