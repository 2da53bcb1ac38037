"""The state of a request that waits for somebody, as it is shown."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from django.utils import timezone

EXPIRED: Final = "expired"


def shown_state(state: str, *, open_states: Collection[str], expires_at: datetime) -> str:
    """Return a state to show: one whose time is over has expired, whether or not that was noted."""
    return EXPIRED if state in open_states and expires_at <= timezone.now() else str(state)
