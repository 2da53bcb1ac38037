"""A claim takes a row once, and what was leased in the time of another clock is free."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from audit_app.models import SinkState
from core.db.concurrency import claim, unleased

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
LEASE = timedelta(minutes=5)


def take(row: SinkState) -> SinkState | None:
    now = timezone.now()
    free = unleased(now, LEASE, column="leased_until")
    return claim(SinkState.objects.all(), row.pk, free, leased_until=now + LEASE, failures=F("failures") + 1)


def test_only_the_first_worker_takes_a_free_row_and_gets_it_as_stored() -> None:
    row = SinkState.objects.create(name="file")
    taken = take(row)
    assert taken is not None
    assert (taken.pk, taken.failures) == (row.pk, 1)
    assert take(row) is None
    assert SinkState.objects.get().failures == 1


@pytest.mark.parametrize(
    ("ends_in", "free"),
    [(timedelta(minutes=-1), True), (timedelta(minutes=4), False), (timedelta(days=1), True)],
    ids=["ended", "held", "of a clock that was put back"],
)
def test_a_lease_holds_until_it_ends_or_lies_further_ahead_than_any(ends_in: timedelta, free: bool) -> None:
    row = SinkState.objects.create(name="file", leased_until=timezone.now() + ends_in)
    assert (take(row) is not None) is free


def test_a_removed_row_is_not_taken() -> None:
    row = SinkState.objects.create(name="file")
    SinkState.objects.all().delete()
    assert take(row) is None
