"""Rows as plain columns: what a database may hold that no field stores, and what is always read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from audit_app.integrity.proven_table import PlainTable, ProvenTable
from audit_app.models import StreamHead
from audit_app.tests.integrity.test_row_authentication import Door

NOW = datetime(2026, 11, 25, 12)  # noqa: DTZ001 - as drivers give it


@pytest.mark.parametrize("stored", [7, 10**12, "text", None])
def test_a_binary_column_that_was_edited_to_another_type_is_unreadable(stored: object) -> None:
    """SQLite holds any type: of a number, `bytes` makes so many zeros."""
    assert PlainTable(StreamHead, ("hash",)).read([stored]) is None


@pytest.mark.parametrize(
    ("column", "stored", "value"),
    [
        ("uuid", "0123456789abcdef0123456789abcdef", "01234567-89ab-cdef-0123-456789abcdef"),
        ("uuid", "01234567-89ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdef"),
        ("until", NOW, NOW.replace(tzinfo=UTC)),
        ("until", None, None),
        ("cidrs", "[]", []),
        ("pk", 7, 7),
    ],
)
def test_a_column_is_read_as_python_has_it(column: str, stored: object, value: object) -> None:
    assert PlainTable(Door, (column,)).read([stored]) == {column: value}


@pytest.mark.parametrize(
    ("column", "stored"),
    [
        ("uuid", "0123"),
        ("uuid", "0123456789ABCDEF0123456789ABCDEF"),
        ("uuid", b"0123456789abcdef"),
        ("until", "2026-11-25"),
        ("cidrs", "{"),
        ("cidrs", 1),
        ("role", b"role"),
        ("role", None),
        ("pk", True),
    ],
)
def test_what_keeper_never_stores_is_unreadable(column: str, stored: Any) -> None:
    assert PlainTable(Door, (column,)).read([stored]) is None


@pytest.mark.parametrize("stored", [[], ["a", "b"]])
def test_another_number_of_columns_is_unreadable(stored: list[str]) -> None:
    assert PlainTable(Door, ("role",)).read(stored) is None


def test_what_the_mac_covers_is_read_whatever_the_reader_asks_for() -> None:
    table = ProvenTable(Door, ("pk", "note"))
    assert table.columns == ("pk", "note", "uuid", "row_mac", "role", "open", "until", "cidrs", "seal")
