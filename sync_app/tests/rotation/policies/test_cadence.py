"""Cadence and window: time zones, days on which clocks change, and clocks that jump a day."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from environments_app.errors import InvalidField
from sync_app.domain.cadence import Cadence, clean_cron, parse_time_zone, parse_window
from sync_app.models import RotationPolicy
from sync_app.rotation.policies.rules import first_due

DAY = timedelta(days=1)
moments = st.integers(0, 6 * 366 * 24 * 3600).map(
    lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
windows = st.sampled_from(
    ["01:00-05:00", "22:00-05:00", "mon-fri 09:30-17:00", "fri-mon 23:59-00:01", "sun 02:30-02:31"]
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])


# The night without an hour, the one with an hour twice, and a step of half an hour.
@example(moment=datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC), text="sun 02:30-02:31", place="Europe/Berlin")
@example(moment=datetime(2026, 10, 25, 1, 0, tzinfo=UTC), text="sun 02:30-02:31", place="Europe/Berlin")
@example(
    moment=datetime(2026, 4, 4, 15, 0, tzinfo=UTC), text="fri-mon 23:59-00:01", place="Australia/Lord_Howe"
)
@given(moment=moments, text=windows, place=zones)
def test_a_window_opens_within_a_week_and_not_before_now(moment: datetime, text: str, place: str) -> None:
    window = parse_window(text, place)
    assert window is not None
    opening = window.next_opening(moment)
    assert moment <= opening <= moment + 8 * DAY
    if window.contains(moment):
        assert opening == moment


@pytest.mark.parametrize(
    ("text", "place", "local", "inside"),
    [
        ("22:00-05:00", "Europe/Berlin", "2026-07-01T04:59", True),
        ("22:00-05:00", "Europe/Berlin", "2026-07-01T05:00", False),
        ("22:00-05:00", "Europe/Berlin", "2026-07-01T22:00", True),
        ("fri 22:00-05:00", "UTC", "2026-11-28T03:00", True),  # Saturday night belongs to Friday
        ("fri 22:00-05:00", "UTC", "2026-11-27T03:00", False),
        ("mon-fri 09:00-17:00", "America/New_York", "2026-11-28T12:00", False),
        ("sat-mon 09:00-17:00", "America/New_York", "2026-11-30T12:00", True),
        # From a time to the same one is a whole day.
        ("00:00-00:00", "UTC", "2026-07-01T12:00", True),
        ("mon 08:00-08:00", "UTC", "2026-12-01T07:59", True),
        ("mon 08:00-08:00", "UTC", "2026-12-01T08:00", False),
    ],
)
def test_windows_go_by_the_wall_clock(text: str, place: str, local: str, inside: bool) -> None:
    window = parse_window(text, place)
    assert window is not None
    assert (
        window.contains(datetime.fromisoformat(local).replace(tzinfo=parse_time_zone(place)).astimezone(UTC))
        is inside
    )


def test_a_cron_line_goes_by_its_time_zone_across_a_change_of_clocks() -> None:
    cadence = Cadence(cron="0 3 * * *", time_zone="Europe/Berlin")
    before = datetime(2026, 10, 24, 3, 0, tzinfo=parse_time_zone("Europe/Berlin"))
    following = cadence.next_after(before)
    # Twenty-five hours on the night on which summer time ends.
    assert following == before.astimezone(UTC) + timedelta(hours=25)


@example(moment=datetime(2024, 1, 1, tzinfo=UTC), jump=0, every=60)
@example(moment=datetime(2024, 2, 29, tzinfo=UTC), jump=-30, every=60)
@example(moment=datetime(2024, 2, 29, tzinfo=UTC), jump=1, every=24 * 3600)
@given(moment=moments, jump=st.integers(-30, 30), every=st.integers(60, 90 * 24 * 3600))
def test_a_clock_that_jumps_makes_one_rotation_due_and_none_late_by_more_than_a_cadence(
    moment: datetime, jump: int, every: int
) -> None:
    cadence = Cadence(interval_seconds=every)
    due = cadence.next_after(moment)
    now = moment + jump * DAY
    mended = cadence.correct_due_time(due, now)
    assert mended is not None
    assert due is not None
    assert mended <= now + timedelta(seconds=every)
    # What is overdue stays so, once: the next is counted from now.
    assert (mended <= now) == (due <= now)
    following = cadence.next_after(now)
    assert following is not None
    assert following > now


@pytest.mark.parametrize("line", ["", "* * * *", "* * * * * *", "61 * * * *", "never", "0 0 30 2 *"])
def test_no_cron_line(line: str) -> None:
    with pytest.raises(InvalidField):
        clean_cron(line)


@pytest.mark.parametrize("text", ["1-5", "25:00-26:00", "foo 01:00-02:00", "mon-foo 01:00-02:00", "mon tue"])
def test_no_window(text: str) -> None:
    with pytest.raises(InvalidField):
        parse_window(text, "UTC")


def test_no_time_zone() -> None:
    for name in ("Mars/Base", "../etc/passwd", ""):
        with pytest.raises(InvalidField):
            parse_time_zone(name)


def test_a_policy_that_is_changed_is_due_counted_from_its_last_rotation() -> None:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    policy = RotationPolicy(interval_seconds=3600, time_zone="UTC", created_at=made)
    assert first_due(policy) == made + timedelta(hours=1)
    policy.last_rotated_at = made + 5 * DAY
    assert first_due(policy) == made + 5 * DAY + timedelta(hours=1)
    policy.interval_seconds = 0
    assert first_due(policy) is None
