"""The identity that every row of Keeper carries for everything cryptographic."""

import os
import time
import uuid
from threading import Lock
from typing import Any, Final

from django.db import models

_HEX_DIGITS: Final = 32
# What the bytes of version and variant become (RFC 9562, 5.4).
_VERSION: Final = bytes(byte & 0x0F | 0x40 for byte in range(256))
_VARIANT: Final = bytes(byte & 0x3F | 0x80 for byte in range(256))


# Of a UUID of version 7: 48 bits of milliseconds, 42 of a counter (around the variant), 32 drawn.
_COUNTER_BITS: Final = 42
_LOW_COUNTER_BITS: Final = 30
_DRAWN_BYTES: Final = 4
_VERSION_7: Final = 7 << 76
_RFC_VARIANT: Final = 2 << 62


class _Counter:
    """Numbers the UUIDs of a process: each is greater than the last, whatever the clock does."""

    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """Forget the last number: a forked process must not continue its parent's."""
        self._lock = Lock()
        self._milliseconds = 0
        self._next = 0

    def reserve(self, count: int) -> tuple[int, int]:
        """Return the milliseconds and the first of so many consecutive numbers."""
        now = time.time_ns() // 1_000_000
        with self._lock:
            if now > self._milliseconds or (self._next + count) >> _COUNTER_BITS:
                self._milliseconds = max(now, self._milliseconds + 1)
                # The highest bit is free, so that there is room to count (RFC 9562, 6.2, method 1).
                self._next = int.from_bytes(os.urandom(6)) >> (48 - _COUNTER_BITS + 1)
            first = self._next
            self._next += count
            return self._milliseconds, first


_counter: Final = _Counter()
os.register_at_fork(after_in_child=_counter.start_over)


def uuid7() -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562, 5.7), greater than any other of this process before.

    New rows lie next to each other in an index of such. It reveals the time at which it was made, so
    that it must not stand for anything that has to be guessed.
    """
    return uuid.UUID(int=_ordered(1)[0])


def ordered_uuids(count: int) -> list[str]:
    """Return so many UUIDs as `uuid7` makes them, in their order, in hexadecimal."""
    return [f"{each:032x}" for each in _ordered(count)]


def _ordered(count: int) -> list[int]:
    milliseconds, first = _counter.reserve(count)
    drawn = os.urandom(_DRAWN_BYTES * count)
    head = milliseconds << 80 | _VERSION_7 | _RFC_VARIANT
    low = (1 << _LOW_COUNTER_BITS) - 1
    return [
        head
        | (first + number >> _LOW_COUNTER_BITS) << 64
        | (first + number & low) << 32
        | int.from_bytes(drawn[_DRAWN_BYTES * number : _DRAWN_BYTES * (number + 1)])
        for number in range(count)
    ]


class RowUuidField(models.UUIDField):  # type: ignore[type-arg]  # not subscriptable at run time
    """The UUID of a row, of version 7 for new rows."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"default": uuid7, "unique": True, "editable": False, **options})

    def deconstruct(self) -> Any:
        """Return the field as migrations know it: the default was `uuid4` when its tables were made."""
        name, _, arguments, options = super().deconstruct()
        return name, "django.db.models.UUIDField", arguments, {**options, "default": uuid.uuid4}


class Identified(models.Model):
    """Gives a model an immutable UUID that is made by the client, besides its bigint id."""

    uuid = RowUuidField(
        verbose_name="UUID",
        help_text="Permanent identifier of this row in the audit log and in the API. Set by Keeper.",
    )

    class Meta:
        abstract = True


def random_uuids(count: int) -> list[str]:
    """Return so many random UUIDs (RFC 9562, version 4) in hexadecimal; `uuid4` takes ten times as long."""
    drawn = bytearray(os.urandom(16 * count))
    drawn[6::16] = drawn[6::16].translate(_VERSION)
    drawn[8::16] = drawn[8::16].translate(_VARIANT)
    digits = drawn.hex()
    return [digits[start : start + _HEX_DIGITS] for start in range(0, len(digits), _HEX_DIGITS)]


def uuid_text(stored: str) -> str:
    """Return the usual text of a stored UUID: SQLite has it without its hyphens."""
    if len(stored) != _HEX_DIGITS:
        return stored
    return f"{stored[:8]}-{stored[8:12]}-{stored[12:16]}-{stored[16:20]}-{stored[20:]}"
