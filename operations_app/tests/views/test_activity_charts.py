"""The charts of the trail: of what one may read, with a number and a link for each part."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit_app.tests.trail import sql
from environments_app.models import User
from environments_app.tests.cast import Cast
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.every_database_weekly
SignedIn = Callable[[User], Client]
PATH = "/activity/charts"


def shown(client: Client, chart: str) -> dict[str, int]:
    return {part.label: part.count for part in client.get(PATH).context[chart] if part.count}


def test_each_part_leads_to_what_it_counts(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "a")
    signed_in(cast.bob).post(f"/secrets/{secret.pk}/reveal")
    signed_in(cast.vera).post(f"/secrets/{secret.pk}/reveal")
    client = signed_in(cast.alice)
    page = client.get(PATH).context
    assert sum(part.count for part in page["outcomes"]) == page["total"]
    assert sum(part.count for part in page["groups"]) == page["total"]
    assert {part.label: part.count for part in page["actors"]}.items() >= {"bob": 1, "vera": 1}.items()
    for chart in ("outcomes", "actors", "actions"):
        for part in page[chart]:
            if part.count and part.url:
                listed = client.get(part.url).context["events"]
                assert sum(line.count for line, _, _ in listed) == part.count, part


def test_who_may_read_nothing_of_the_trail_sees_nothing(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "a")
    page = signed_in(cast.charlie).get(PATH)
    assert page.context["total"] == 0
    assert b"alice" not in page.content


def test_older_events_are_left_out(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "a")
    client = signed_in(cast.alice)
    before = shown(client, "actors")
    long_ago = timezone.now() - timedelta(days=31)
    sql("UPDATE audit_app_auditevent SET at = %s", connection.ops.adapt_datetimefield_value(long_ago))
    cache.clear()
    assert (before["alice"] > 0, shown(client, "actors")) == (True, {})


def test_it_asks_as_much_for_many_events_as_for_few(cast: Cast, signed_in: SignedIn) -> None:
    client = signed_in(cast.alice)

    def statements() -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as asked:
            assert client.get(PATH).status_code == 200
        return sum("auditevent" in each["sql"] for each in asked)

    keep(cast, "a")
    few = statements()
    for number in range(5):
        keep(cast, f"b/{number}", actor=cast.erin)
    assert statements() == few == 2


def test_it_can_be_read_without_seeing_it(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "a")
    html = signed_in(cast.alice).get(PATH).content.decode()
    assert 'role="img" aria-label="Activity of the last 30 days' in html
    assert "style=" not in html
    for words in ("Outcomes", "Categories", "Top actors"):
        assert words in html
