from datetime import UTC, datetime, timedelta

import pytest

from keeper_project.relative_time import exact, relative

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=-59), "just now"),
        (timedelta(seconds=59), "in a moment"),
        (timedelta(seconds=-60), "1 min ago"),
        (timedelta(minutes=-59, seconds=-59), "59 min ago"),
        (timedelta(hours=-1), "1 h ago"),
        (timedelta(hours=23, minutes=59), "in 23 h"),
        (timedelta(days=1), "in 1 d"),
        (timedelta(days=-99), "99 d ago"),
        (timedelta(days=-100), "16 Aug 2026"),
        (timedelta(days=365), "24 Nov 2027"),
    ],
)
def test_a_time_is_told_in_its_largest_unit(distance: timedelta, words: str) -> None:
    assert relative(NOW + distance, now=NOW) == words


def test_the_exact_time_names_its_zone() -> None:
    assert exact(NOW) == "24 Nov 2026, 12:00:00 UTC"
