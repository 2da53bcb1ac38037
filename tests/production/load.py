"""Readers and writers at work while something is broken, who remember each answer."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

from tests.production.stack import Production

PAUSE_SECONDS = 0.1


@dataclass
class Load:
    """Reads one secret and writes new ones until it is left.

    `stored` holds each value whose writing was answered, by name; `wrong` what was read and is no value
    that was ever written; `unanswered` the statuses of reads that were not 200.
    """

    production: Production
    prefix: str
    stored: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    reads: int = 0
    unanswered: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._write(0)
        assert self.stored, self.production.last_lines()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep(each)) for each in (self._read, self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def for_more(self, *, reads: int = 0, writes: int = 0) -> None:
        """Go on until so many more reads and writes were answered."""
        wanted = (self.reads + reads, len(self.stored) + writes)
        self.production.until(
            lambda: self.reads >= wanted[0] and len(self.stored) >= wanted[1], "reads and writes went on"
        )

    def steady(self, seconds: float) -> None:
        """Go on until for so long nothing was refused: each process has found out for itself that all is well."""
        seen, since = -1, time.monotonic()

        def lasts() -> bool:
            nonlocal seen, since
            if (refused := len(self.unanswered) + len(self.refused)) != seen:
                seen, since = refused, time.monotonic()
            return time.monotonic() - since > seconds

        self.production.until(lasts, f"{seconds} seconds without a refusal")

    def said(self) -> str:
        """Return what was seen so far, in words for a log."""
        refused = Counter(self.unanswered + self.refused)
        unserved = ", ".join(
            f"{count} times {status or 'no answer'}" for status, count in sorted(refused.items())
        )
        return (
            f"{self.reads} reads and {len(self.stored)} writes answered, {len(self.wrong)} wrong values; "
            f"not served: {unserved or 'nothing'}"
        )

    def lost(self) -> list[str]:
        """Return the names whose writing was answered and that do not hold what was written.

        Each is asked for until it is served: one web may still be away when the other is back.
        """
        return [name for name, value in self.stored.items() if self._held(name) != value]

    def _held(self, name: str) -> str | None:
        answers: list[dict[str, Any]] = []

        def is_served() -> bool:
            status, body = self._ask(name)
            answers.append(body)
            return status in {200, 404}

        self.production.until(is_served, f"{name} is served")
        return answers[-1].get("value")

    def _keep(self, act: Any) -> Any:
        def go_on() -> None:
            number = 0
            while not self._stop.is_set():
                number += 1
                act(number)
                time.sleep(PAUSE_SECONDS)

        return go_on

    def _ask(self, name: str) -> tuple[int, dict[str, Any]]:
        return self.production.ask(f"/api/environments/development/secrets/{name}")

    def _read(self, _number: int) -> None:
        # Another thread adds to them meanwhile.
        name = next(iter(list(self.stored)))
        status, body = self._ask(name)
        if status != 200:
            self.unanswered.append(status)
            return
        self.reads += 1
        if body["value"] != self.stored[name]:
            self.wrong.append(name)

    def _write(self, number: int) -> None:
        name, value = f"{self.prefix}/{number}", f"canary-91c7-{self.prefix}-{number}"
        body = {"name": name, "secret_type": "TEXT", "value": value, "environment_id": 1}
        status, _ = self.production.ask("/api/secrets", role="editor", body=body)
        if status == 201:
            self.stored[name] = value
        else:
            self.refused.append(status)
