"""The folder of each system, found by its line in a registry: what it brings along for the tests of all."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, TypeVar

import pytest

from sync_app.backends.registry import BACKENDS
from sync_app.tests.worlds import World

Base = TypeVar("Base")


def modules(registry: Mapping[str, type], name: str) -> list[ModuleType]:
    """Return the modules `tests.NAME` in the folders of a registry's classes; a folder may have none."""
    folders = dict.fromkeys(kind.__module__.rpartition(".")[0] for kind in registry.values())
    found = [f"{folder}.tests.{name}" for folder in folders]
    return [import_module(module) for module in found if find_spec(module)]


def classes(registry: Mapping[str, type], name: str, base: type[Base]) -> list[type[Base]]:
    """Return the subclasses of `base` that those modules define."""
    return [
        each
        for module in modules(registry, name)
        for each in vars(module).values()
        if isinstance(each, type)
        and issubclass(each, base)
        and each.__module__ == module.__name__
        and not each.__name__.startswith("_")
    ]


def fixtures(registry: Mapping[str, type], name: str) -> dict[str, Any]:
    """Return the fixtures that those modules define."""
    kind = type(pytest.fixture(lambda: None))
    return {
        each: value
        for module in modules(registry, name)
        for each, value in vars(module).items()
        if isinstance(value, kind)
    }


# A system may have several, in which it is set up in another way.
WORLDS: Final = classes(BACKENDS, "world", World)  # type: ignore[type-abstract]
# The fixtures that make a world of each system, and of those with compare-and-set and a recovery window.
EVERY: Final = [world.fixture for world in WORLDS]
FULL: Final = [world.fixture for world in WORLDS if world.deletes_recoverably]
