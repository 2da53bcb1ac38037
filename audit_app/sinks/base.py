"""What a sink is: a place outside the database that takes lines, and may give back the newest."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar


class Sink(ABC):
    """Takes lines in order, each at least once.

    `name` identifies it in messages and tables and holds no credential.
    """

    # One word, by which sinks are counted together.
    kind: ClassVar[str]
    # Whether `newest` can read it back.
    readable: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def write(self, lines: Sequence[bytes], *, number: int) -> None:
        """Keep lines, durably, the first of which has this number; again, if they may have come before.

        Raises SinkDown if that is not certain.
        """

    def newest(self, *, thorough: bool = False) -> bytes | None:
        """Return the checkpoint of the highest number that it holds, or None if it is empty.

        Not the last one: a writer with append access could add an older one behind it. `thorough` reads all
        of it, which may take long. Raises SinkDown if it cannot be read, BadCheckpoint if it holds anything
        else.
        """
        raise NotImplementedError
