"""Rows as plain columns: what a database may hold that no field stores."""

import pytest

from audit_app.integrity.raw_rows import RawRows, UnreadableColumn
from audit_app.models import StreamHead


@pytest.mark.parametrize("stored", [7, 10**12, "text"])
def test_a_binary_column_that_was_edited_to_another_type_is_unreadable(stored: object) -> None:
    """SQLite holds any type: of a number, `bytes` makes so many zeros."""
    with pytest.raises(UnreadableColumn):
        RawRows(StreamHead, ("hash",)).values([stored])
