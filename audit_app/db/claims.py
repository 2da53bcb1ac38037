"""Claims of rows by a conditional UPDATE, so that one of any number of workers works on a row."""

from datetime import datetime, timedelta
from typing import TypeVar

from django.db.models import Model, Q, QuerySet

Row = TypeVar("Row", bound=Model)


def claim(rows: QuerySet[Row], pk: int, free: Q, /, **changes: object) -> Row | None:
    """Change a row that is still free, and return it as it is stored then; None if there is nothing to take.

    `rows` is a queryset without conditions: it names the model and what is read along.
    """
    if not rows.filter(free, pk=pk).update(**changes):
        return None
    return rows.filter(pk=pk).first()


def unleased(now: datetime, lease: timedelta, *, column: str = "lease_until") -> Q:
    """Return the condition on rows that no worker holds.

    A lease that ends later than any lease can was written before the clock was put back.
    """
    late = Q((f"{column}__gt", now + 2 * lease))
    return Q((f"{column}__isnull", True)) | Q((f"{column}__lt", now)) | late
