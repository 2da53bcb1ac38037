"""Whether what is stored is what Keeper wrote: the checks that each app contributes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing found wrong; `stream` and `sequence` say where in the trail, if it is there."""

    kind: str
    object: str
    message: str
    stream: str = ""
    sequence: int | None = None


def run_checks() -> Iterator[Problem]:
    """Run every check of settings.KEEPER_INTEGRITY_CHECKS, in order, yielding what each finds."""
    for path in settings.KEEPER_INTEGRITY_CHECKS:
        check = cast("Callable[[], Iterator[Problem]]", import_string(path))
        yield from check()
