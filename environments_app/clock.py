"""Times that were written by a clock that may have been ahead of this one."""

from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

# By how much the clocks of Keeper's hosts may differ.
SLACK: Final = timedelta(minutes=5)


def has_begun(start: datetime) -> bool:
    """Return whether a start is past; one in the future was written under another clock."""
    return start <= timezone.now() + SLACK


def is_in(end: datetime, *, within: timedelta) -> bool:
    """Return whether an end is to come, and no later than what began now would end."""
    now = timezone.now()
    return now < end <= now + within + SLACK
