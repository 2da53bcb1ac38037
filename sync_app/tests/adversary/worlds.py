"""What a backend brings along for the adversary: a seam before its requests, acts on its system, and a judge's look.

One class for each backend whose writes compare, in `adversary.py` of its tests.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Literal

import pytest

from sync_app.tests.adversary.seam import Asked, Interpose
from sync_app.tests.worlds import World

Presence = Literal["absent", "present", "deleted"]


@dataclass(frozen=True, kw_only=True)
class State:
    """What is at a path by now, as its owner sees it."""

    presence: Presence = "absent"
    value: str = field(default="", repr=False)
    # Distinguishes a secret from another one of the same name, and a version from any other.
    incarnation: str = ""
    version: str = ""
    # The target that our mark names, and the whole mark.
    marked_for: str = ""
    mark: Mapping[str, str] = field(default_factory=dict)
    # What can still be read, or brought back by the owner.
    versions: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing that the adversary does to a path."""

    name: str
    do: Callable[[str], object]
    # How often it is chosen, beside the others.
    weight: int = 10
    # Whether it concerns the whole system.
    of_all: bool = False


class AdversaryWorld(ABC):
    """A system that Keeper writes to, and everything that others may do there."""

    kind: ClassVar[str]
    # Ways in which the system may be set up.
    variants: ClassVar[tuple[str, ...]]
    # Whether a mark that goes in the moment of a write may go unnoticed (named in docs/sync.md).
    marks_may_lag: ClassVar[bool] = False

    def __init__(self, world: World, variant: str, random: Random, fresh: Callable[[], str]) -> None:
        """Take the system, how it is set up, what chooses, and what gives a new value of a stranger's."""
        self.world, self.variant, self.random, self.fresh = world, variant, random, fresh
        # Which of the systems behind the address answers.
        self.elsewhere = False

    @property
    def prefix(self) -> str:
        return self.world.prefix

    def path(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    @abstractmethod
    def install(self, monkeypatch: pytest.MonkeyPatch, interpose: Interpose) -> None:
        """Have each request of Keeper's pass by, also those to the other system once it is switched."""

    @abstractmethod
    def state(self, path: str) -> State:
        """Look, past Keeper, at the system that answers by now."""

    @abstractmethod
    def paths(self) -> list[str]:
        """Return all that is below the prefix, in that system."""

    @abstractmethod
    def acts(self) -> list[Act]:
        """Return what others may do to a secret."""

    @abstractmethod
    def refused(self, asked: Asked, status: int) -> Any:
        """Return an answer of this status (404, 403, 500) to a request that was not carried out."""

    @abstractmethod
    def cut(self, answer: Any, share: float) -> Any:
        """Return the answer to a list with this share of its entries, as if it were all."""

    def loses_in_the_milliseconds(self, before: State) -> bool:
        """Return whether the system cannot but lose this between the last look and the write."""
        return False

    @abstractmethod
    def lost(self) -> Exception:
        """Return what Keeper sees where an answer is lost."""

    def switch(self) -> None:
        """Let the other system answer under the address, or the first one again."""
        self.elsewhere = not self.elsewhere


# Makes one of a variant; `KIND_adversary` is the fixture that returns it.
Make = Callable[[str, Random, Callable[[], str]], AdversaryWorld]
