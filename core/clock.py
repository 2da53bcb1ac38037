"""Times that were written by a clock that may have been ahead of this one."""

from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone
from django.utils.functional import lazy

# By how much the clocks of Keeper's hosts may differ.
# Where a session holds its person's time zone.
ZONE: Final = "time_zone"
# The zone in which forms take times, as their help texts name it when they are shown.
zone_name = lazy(timezone.get_current_timezone_name, str)
SLACK: Final = timedelta(minutes=5)


def has_begun(start: datetime) -> bool:
    """Return whether a start is past; one in the future was written under another clock."""
    return start <= timezone.now() + SLACK


def ends_in(column: str, *, within: timedelta) -> Q:
    """Return the condition on rows for whose column `is_in` is true."""
    now = timezone.now()
    return Q((f"{column}__gt", now), (f"{column}__lte", now + within + SLACK))


def is_in(end: datetime, *, within: timedelta) -> bool:
    """Return whether an end is to come, and no later than what began now would end."""
    now = timezone.now()
    return now < end <= now + within + SLACK
