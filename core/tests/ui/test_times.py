from datetime import UTC, datetime, timedelta

import pytest

from core.ui.times import exact, relative, until

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=-59), "just now"),
        (timedelta(seconds=59), "in a moment"),
        (timedelta(seconds=-60), "1 minute ago"),
        (timedelta(minutes=-59, seconds=-59), "59 minutes ago"),
        (timedelta(hours=-1), "1 hour ago"),
        (timedelta(hours=-23, minutes=-59), "23 hours ago"),
        # What is to come is told to the nearest: shortly after it was set, 4 hours are still 4.
        (timedelta(hours=4, seconds=-5), "in 4 hours"),
        (timedelta(hours=72, seconds=-5), "in 3 days"),
        (timedelta(days=90, seconds=-5), "in 90 days"),
        (timedelta(minutes=90), "in 2 hours"),
        (timedelta(minutes=89), "in 1 hour"),
        (timedelta(minutes=59, seconds=40), "in 1 hour"),
        (timedelta(hours=23, minutes=29), "in 23 hours"),
        (timedelta(hours=23, minutes=59), "in 1 day"),
        (timedelta(seconds=61), "in 1 minute"),
        (timedelta(days=1), "in 1 day"),
        (timedelta(days=-99), "99 days ago"),
        (timedelta(days=-100), "16 Aug 2026"),
        (timedelta(days=365), "24 Nov 2027"),
    ],
)
def test_a_time_is_told_in_its_largest_unit(distance: timedelta, words: str) -> None:
    assert relative(NOW + distance, now=NOW) == words


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(hours=4, seconds=-5), "expires in 4 hours"),
        (timedelta(seconds=30), "expires in a moment"),
        (timedelta(hours=-1), "expired 1 hour ago"),
        (timedelta(days=365), "expires 24 Nov 2027"),
    ],
)
def test_an_end_is_told_in_english(distance: timedelta, words: str) -> None:
    assert until(NOW + distance, now=NOW) == words


def test_the_exact_time_names_its_zone() -> None:
    assert exact(NOW) == "24 Nov 2026, 12:00:00 UTC"
