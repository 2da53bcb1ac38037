"""Which runs and rotations this process works on: it begins none while another thread still has it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_reserved: set[tuple[str, int]] = set()


@contextmanager
def reserve(kind: str, number: int) -> Iterator[bool]:
    """Yield whether no other thread of this process works on it; a lease alone may have run out."""
    work = (kind, number)
    with _lock:
        is_free = work not in _reserved
        _reserved.add(work)
    try:
        yield is_free
    finally:
        if is_free:
            with _lock:
                _reserved.discard(work)
