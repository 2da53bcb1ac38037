"""A clock that keeps the time that it is given, so that a picture taken next year differs in what changed alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from django.apps import apps
from django.utils import timezone

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Clock:
    """The time, for all that asks `timezone.now()`."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time

    def back(self, **ago: int) -> None:
        """Set the clock so long before noon."""
        self.time = NOON - timedelta(**ago)


@contextmanager
def standing() -> Iterator[Clock]:
    """Stop the time: for callers, and for the columns that are filled with it."""
    clock, real = Clock(), timezone.now
    fields = [field for model in apps.get_models() for field in model._meta.fields if field.default == real]
    with patch("django.utils.timezone.now", clock):
        for field in fields:
            _fill(field, clock)
        try:
            yield clock
        finally:
            for field in fields:
                _fill(field, real)


def _fill(field: object, source: object) -> None:
    vars(field)["default"] = source
    # Django remembers how it fills a column.
    vars(field).pop("_get_default", None)
