"""What a sink is: a place outside the database that takes lines, and may give back the newest."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from django.conf import settings
from django.utils.module_loading import import_string

from audit_app.crypto.hash_chain import Link
from audit_app.errors import SinkDown
from audit_app.sinks.formats import json_line


class StoredSink(NamedTuple):
    """A sink of events that an administrator added: `credential` opens what authorizes there, or is empty.

    `exists` tells whether it is still to be served. Both raise SinkDown if the row is not genuine.
    """

    name: str
    address: str
    ca: str
    credential: Callable[[], str]
    exists: Callable[[], bool]


def stored_event_sinks() -> list[StoredSink]:
    """Return what settings.KEEPER_STORED_EVENT_SINKS returns."""
    found: list[StoredSink] = import_string(settings.KEEPER_STORED_EVENT_SINKS)()
    return found


class Sink(ABC):
    """Takes lines in order, each at least once.

    `name` identifies it in messages and tables and holds no credential.
    """

    # One word, by which sinks are counted together.
    kind: ClassVar[str]
    # Whether `newest` can read it back.
    readable: ClassVar[bool] = False
    # How much of a stream one `write` gets, and for how many seconds a smaller batch may grow.
    most_lines: ClassVar[int] = 500
    most_bytes: ClassVar[int] = 800_000
    gathers: int = 0

    def __init__(self, name: str) -> None:
        self.name = name
        # How an event is written, and whether the sink is still to be served.
        self.line: Callable[[Link], bytes] = json_line
        self.exists: Callable[[], bool] = lambda: True

    @abstractmethod
    def write(self, lines: Sequence[bytes], *, number: int, stream: str = "") -> int:
        """Keep lines, durably, and return how many; again, if they may have come before.

        The first has this number, in the stream if they are events. Raises SinkDown if it is not certain that
        they are kept, LineRefused if one of them never will be.
        """

    def newest(self, *, thorough: bool = False) -> bytes | None:
        """Return the checkpoint of the highest number that it holds, or None if it is empty.

        Not the last one: a writer with append access could add an older one behind it. `thorough` reads all
        of it, which may take long. Raises SinkDown if it cannot be read, BadCheckpoint if it holds anything
        else.
        """
        raise NotImplementedError


class UnusableSink(Sink):
    """Stands for a stored sink whose row is not genuine, or whose address this release does not know."""

    kind = "none"

    def write(self, lines: Sequence[bytes], *, number: int, stream: str = "") -> int:
        del lines, number, stream
        raise SinkDown(f"{self.name}: its row was changed outside Keeper: remove it, and add it again")
