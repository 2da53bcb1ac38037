"""The check of a table of authenticated rows: each is as Keeper wrote it, and in its newest state."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from django.db.models import QuerySet

from audit_app.integrity.check_registry import Problem
from audit_app.integrity.listed_rows import ROWS_AT_ONCE
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.integrity.row_state import latest_digests, mismatches

Row = TypeVar("Row", bound=AuthenticatedRow)


def check_rows(
    rows: QuerySet[Row],
    edited: str,
    actions: Sequence[str] = (),
    *,
    kind: str = "edited",
    of_the_rows: bool = True,
    sealed: Callable[[Row], str] | None = None,
) -> Iterator[Problem]:
    """Yield each row that Keeper did not write (the message is `edited`), or that is not in its newest state.

    The events are those of `actions`: with `of_the_rows` only those whose object is the row itself. `sealed`
    returns why the sealed columns of a genuine row do not open, or an empty text.
    """
    for batch in batches(rows):
        genuine = [row for row in batch if row.is_authentic()]
        yield from (
            Problem(kind=kind, object=object_name(row), message=edited) for row in batch if row not in genuine
        )
        if actions:
            yield from mismatches(genuine, latest_digests(actions, rows=genuine if of_the_rows else None))
        if sealed:
            closed = ((row, sealed(row)) for row in genuine)
            yield from (
                Problem(kind="sealed", object=object_name(row), message=why) for row, why in closed if why
            )


def batches(rows: QuerySet[Row]) -> Iterator[list[Row]]:
    """Yield the rows in batches, by their ids.

    What is read along must be prefetched: a join passes over a row whose key was pointed at nothing.
    """
    last = 0
    ordered = rows.order_by("pk")
    while batch := list(ordered.filter(pk__gt=last)[:ROWS_AT_ONCE]):
        last = batch[-1].pk
        yield batch


def object_name(row: AuthenticatedRow) -> str:
    """Return how a problem names a row."""
    return f"{row.MAC_LABEL} {row.pk} ({row.uuid})"
