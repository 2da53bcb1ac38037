"""The one place where an operator is told that keys do not open any more."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

_NAMES: Final = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeyFailure:
    """A data key that opened before and does not now; `scope` is its environment, or its purpose."""

    data_key: UUID
    scope: str
    key_uri: str
    problem: str


def alert(failures: Sequence[KeyFailure]) -> None:
    """Tell operators, once for each key that wraps what does not open; the events are recorded already.

    Other ways to tell them (e-mail, webhooks) start here.
    """
    by_key: dict[tuple[str, str], list[KeyFailure]] = defaultdict(list)
    for failure in failures:
        by_key[failure.key_uri, failure.problem].append(failure)
    for (key_uri, problem), found in by_key.items():
        _log.error("%d data keys under %s do not open (%s): %s", len(found), key_uri, _named(found), problem)


def _named(failures: Sequence[KeyFailure]) -> str:
    names = ", ".join(f"{failure.scope} {failure.data_key}" for failure in failures[:_NAMES])
    more = len(failures) - _NAMES
    return f"{names} and {more} more" if more > 0 else names
