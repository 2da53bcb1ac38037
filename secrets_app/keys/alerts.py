"""The only place that alerts operators to keys that no longer open."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.urls import reverse

from audit_app.models import deployment_uuid
from environments_app.notifications.service import MAX_LINES, raise_alert, resolve_alert

KIND: Final = "keys.failing"
_NAMES: Final = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeyFailure:
    """A data key that opened before and does not now; `scope` is its environment, or its purpose."""

    data_key: UUID
    scope: str
    key_uri: str
    problem: str


def alert_failures(failures: Sequence[KeyFailure]) -> None:
    """Notify operators, once for each wrapping key with failing data keys; the events are recorded already.

    It logs at once and sends a message to KEEPER_ALERT_EMAILS, which needs no key.
    """
    by_key: dict[tuple[str, str], list[KeyFailure]] = defaultdict(list)
    for failure in failures:
        by_key[failure.key_uri, failure.problem].append(failure)
    lines = []
    for (key_uri, problem), found in by_key.items():
        _log.error(
            "%d data keys under %s do not open (%s): %s", len(found), key_uri, _describe_keys(found), problem
        )
        lines.append(f"{len(found)} under {key_uri} ({_describe_keys(found)}): {problem}")
    raise_alert(
        kind=KIND,
        about=deployment_uuid(),
        environment=None,
        subject=f"{len(failures)} data keys do not open any more",
        lines=lines[:MAX_LINES],
        link=reverse("dashboard"),
    )


def resolve_alerts() -> None:
    """Notify the same recipients that every key opens again."""
    resolve_alert(
        kinds=[KIND],
        about=deployment_uuid(),
        subject="every data key opens again",
        link=reverse("dashboard"),
    )


def _describe_keys(failures: Sequence[KeyFailure]) -> str:
    names = ", ".join(f"{failure.scope} {failure.data_key}" for failure in failures[:_NAMES])
    more = len(failures) - _NAMES
    return f"{names} and {more} more" if more > 0 else names
