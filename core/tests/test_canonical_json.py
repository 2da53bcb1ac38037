from datetime import UTC, datetime, timedelta, timezone

import pytest

from core.canonical_json import canonical_json, utc_text
from core.errors import BadDetails


def test_keys_are_sorted_and_nothing_is_spaced() -> None:
    assert canonical_json({"b": [1, None], "a": "é"}) == '{"a":"é","b":[1,null]}'.encode()


@pytest.mark.parametrize("bad", [{1, 2}, 2**70, "\ud800", b"x", {1: 2}])
def test_it_refuses_what_json_cannot_hold(bad: object) -> None:
    with pytest.raises(BadDetails):
        canonical_json(bad)


def test_times_are_utc_with_microseconds() -> None:
    assert utc_text(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000+00:00"
    east = timezone(timedelta(hours=2))
    assert utc_text(datetime(2026, 1, 1, 2, 0, 0, 5, tzinfo=east)) == "2026-01-01T00:00:00.000005+00:00"
