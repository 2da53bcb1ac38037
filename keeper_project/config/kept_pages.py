"""Keeps the memory that forked processes share shared: no process writes to what was loaded before it began.

CPython counts references inside each object, so that a process that only uses an object gets a copy of its
page. Objects that are immortal (PEP 683) are not counted. Python itself marks None and the like so; here all
that is loaded is marked. It is never freed, which it would not be anyway: its processes use it to their end.
"""

import ctypes
import gc
import sys
from types import CodeType
from typing import Any, Final

# The mark of CPython 3.12 and 3.13: the lower half of the count has all bits set.
_MARK: Final = 0xFFFF_FFFF
_MARK_BYTES: Final = 4
# So that what is looked at does not leave holes in the memory that is shared.
_AT_ONCE: Final = 500
_M_ARENA_MAX: Final = -8
# Each thread would get an arena of its own, which keeps what the largest answer needed.
_ARENAS: Final = 2


def keep_shared() -> None:
    """Make what is loaded immortal, and set it aside for the collector, which would write to it as well.

    To be called before the first fork, with no other thread running. Another Python than CPython 3.12 and
    3.13 shares less memory, and works as well.
    """
    gc.collect()
    if _counts_as_known():
        _immortalise(gc.get_objects())
    gc.freeze()


def limit_arenas() -> None:
    """Let the threads of this process and those of its children share two arenas of glibc's malloc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(_M_ARENA_MAX, _ARENAS)


def _counts_as_known() -> bool:
    """Return whether None carries the mark that this module writes, where it writes it."""
    is_known = sys.implementation.name == "cpython" and (3, 12) <= sys.version_info[:2] <= (3, 13)
    return is_known and sys.byteorder == "little" and ctypes.c_size_t.from_address(id(None)).value == _MARK


def _immortalise(tracked: list[Any]) -> None:
    """Mark objects that the collector knows, and what they refer to that it does not know."""
    while tracked:
        part = tracked[-_AT_ONCE:]
        del tracked[-_AT_ONCE:]
        while part:
            part = [each for each in part if sys.getrefcount(each) < _MARK]
            for each in part:
                ctypes.memset(id(each), 0xFF, _MARK_BYTES)
            part = [each for each in _referred(part) if not gc.is_tracked(each)]


def _referred(objects: list[Any]) -> list[Any]:
    found = gc.get_referents(*objects)
    for each in objects:
        if isinstance(each, CodeType):
            # The collector does not look into code.
            found += (each.co_consts, each.co_names, each.co_filename, each.co_name, each.co_qualname)
    return found
