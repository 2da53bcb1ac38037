"""Lists of all apps go by the one paginator (core.pagination), shown here by that of secrets."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.test import Client, RequestFactory
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rest_framework.request import Request

from audit_app.tests.trail import take_away
from core.errors import BadQuery
from core.pagination import KeysetPagination
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.queries.filters import ORDERINGS
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.every_database

START = datetime(2026, 1, 1, tzinfo=UTC)


class Listing:
    """A view that lists, as the paginator knows one."""

    ordering_fields = ORDERINGS
    default_ordering = "name"
    filter_names = ("q",)


def page_of(address: str) -> tuple[list[Secret], str | None, str | None]:
    """Return the rows of a page and the links beside it."""
    paginator = KeysetPagination()
    request = Request(RequestFactory().get(address))
    rows = paginator.paginate_queryset(Secret.objects.all(), request, Listing())
    return rows, paginator.get_next_link(), paginator.get_previous_link()


def store(moments: list[int | None]) -> list[int]:
    """Store a secret for each moment (days from the start; None: no expiry), and return the ids."""
    environment = Environment.objects.create(name="paged")
    rows = [
        Secret(
            environment=environment,
            name=f"n{number}",
            secret_type="TEXT",
            expires_at=None if days is None else START + timedelta(days=days, microseconds=days % 2),
            created_at=START + timedelta(seconds=(days or 0) // 2),
        )
        for number, days in enumerate(moments)
    ]
    for row in rows:
        row.save(force_insert=True)
    return [row.pk for row in rows]


def clear() -> None:
    take_away(Secret.objects.all())
    take_away(Environment.objects.filter(name="paged"))


def in_order(ordering: str) -> list[int]:
    """Return all ids in an order, sorted outside the database: NULLs last, ties by id."""
    field = ORDERINGS[ordering.removeprefix("-")]
    descending = ordering.startswith("-")
    rows = sorted(Secret.objects.all(), key=lambda row: row.pk, reverse=descending)
    there = [row for row in rows if getattr(row, field) is not None]
    there.sort(key=lambda row: getattr(row, field), reverse=descending)
    return [row.pk for row in there] + [row.pk for row in rows if getattr(row, field) is None]


# Backwards from among the NULLs, across to those that are none, and from these; in both directions, with ties.
@example(moments=[None] * 5 + [1, 2, 2], ordering="expires", limit=2)
@example(moments=[None] * 5 + [1, 2, 2], ordering="-expires", limit=2)
@example(moments=[3, None, 3, None, 3], ordering="expires", limit=1)
@example(moments=[None, None, None], ordering="-expires", limit=1)
@given(
    moments=st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=14),
    ordering=st.sampled_from([sign + name for name in ORDERINGS for sign in ("", "-")]),
    limit=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_shown_once_in_order_forwards_and_backwards(
    db: None, moments: list[int | None], ordering: str, limit: int
) -> None:
    store(moments)
    try:
        wanted = in_order(ordering)
        shown: list[int] = []
        address: str | None = f"/x?ordering={ordering}&limit={limit}"
        last = address
        while address:
            rows, following, _ = page_of(address)
            shown += [row.pk for row in rows]
            last, address = address, following
        assert shown == wanted
        backwards: list[int] = []
        address = last
        while address:
            rows, following, previous = page_of(address)
            backwards = [row.pk for row in rows] + backwards
            assert (following is None) == (address == last)
            address = previous
        assert backwards == wanted
    finally:
        clear()


@pytest.mark.parametrize("ordering", ["name", "-created", "expires", "-expires", "id"])
def test_rows_that_come_and_go_move_nothing(db: None, ordering: str) -> None:
    store([day if day % 3 else None for day in range(12)])
    before = in_order(ordering)
    rows, following, _ = page_of(f"/x?ordering={ordering}&limit=4")
    assert [row.pk for row in rows] == before[:4]
    # One that was shown goes, the one at the cursor too, one that was not shown goes, and one comes.
    take_away(Secret.objects.filter(pk__in=[before[0], before[3], before[6]]))
    Secret(
        environment=Environment.objects.get(name="paged"), name="n00", secret_type="TEXT", created_at=START
    ).save()
    shown: list[int] = []
    while following:
        rows, following, _ = page_of(following)
        shown += [row.pk for row in rows]
    assert [pk for pk in shown if pk in before] == [pk for pk in before[4:] if pk != before[6]]


def test_an_empty_list_has_no_links(db: None) -> None:
    assert page_of("/x") == ([], None, None)


def test_links_keep_the_other_parameters(db: None) -> None:
    store([1, 2, 3])
    _, following, _ = page_of("/x?q=a+b%26c&limit=1&ordering=-name")
    assert following is not None
    assert following.startswith("http://testserver/x?q=a+b%26c&limit=1&ordering=-name&cursor=")
    # The next one has its own cursor in place of this one's, so that addresses do not grow.
    for link in page_of(following)[1:]:
        assert link is not None
        assert link.startswith("http://testserver/x?q=a+b%26c&limit=1&ordering=-name&cursor=")
        assert link.count("cursor=") == 1


def cursor_of(content: object) -> str:
    return urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


@pytest.mark.parametrize(
    ("ordering", "cursor"),
    [
        ("name", "nonsense"),
        ("name", "%%%"),
        ("name", "é"),
        ("name", "a" * 5000),
        ("name", cursor_of("text")),
        ("name", cursor_of([])),
        ("name", cursor_of({})),
        ("name", cursor_of(7)),
        ("name", cursor_of(["name", "n1", 1])),
        ("name", cursor_of(["name", "n1", 1, "yes"])),
        ("name", cursor_of(["name", "n1", -1, False])),
        ("name", cursor_of(["name", "n1", 2**63, False])),
        ("name", cursor_of(["name", "n1", True, False])),
        ("name", cursor_of(["name", None, 1, False])),
        ("name", cursor_of(["name", 7, 1, False])),
        ("name", cursor_of(["name", ["n1"], 1, False])),
        ("name", cursor_of(["created", "n1", 1, False])),
        ("created", cursor_of(["created", "n1", 1, False])),
        ("created", cursor_of(["created", 7, 1, False])),
        ("created", cursor_of(["created", None, 1, False])),
        ("created", cursor_of(["created", "2026-01-01T00:00:00", 1, False])),
        ("created", cursor_of(["created", "0001-01-01T00:00:00+14:00", 1, False])),
        ("created", cursor_of(["created", "9999-12-31T23:59:59-14:00", 1, False])),
    ],
)
def test_a_cursor_that_was_made_up_is_refused(db: None, ordering: str, cursor: str) -> None:
    with pytest.raises(BadQuery):
        page_of(f"/x?ordering={ordering}&cursor={cursor}")


def test_a_cursor_that_was_made_up_is_refused_where_the_order_is_a_number(
    cast: Cast, signed_in: Callable[[Any], Client]
) -> None:
    secret = keep(cast)
    alice = signed_in(cast.alice)
    for path, name in (
        ("/api/environments?ordering=position&", "position"),
        (f"/api/secrets/{secret.pk}/versions?", "-number"),
    ):
        cursor = cursor_of([name.removeprefix("-"), "abc", 1, False])
        assert alice.get(f"{path}cursor={cursor}").status_code == 400
        assert (
            alice.get(f"{path}cursor={cursor_of([name.removeprefix('-'), 1, 1, False])}").status_code == 200
        )


@pytest.mark.parametrize(
    "query",
    [
        "page=2",
        "offset=3",
        "Q=x",
        "limit=1&typo=",
        "limit=",
        "limit=1e2",
        "limit=-1",
        "limit=٣",
        "ordering=--name",
        "ordering=name,id",
        "ordering=environment__name",
    ],
)
def test_a_query_that_it_does_not_know_is_refused(db: None, query: str) -> None:
    with pytest.raises(BadQuery):
        page_of(f"/x?{query}")


def test_every_list_refuses_parameters_that_it_does_not_know(
    cast: Cast, signed_in: Callable[[Any], Client]
) -> None:
    secret = keep(cast)
    alice = signed_in(cast.alice)
    for path in (
        "/api/secrets",
        f"/api/secrets/{secret.pk}/versions",
        "/api/environments",
        "/api/environments/development/members",
        "/api/environments/development/tokens",
        "/api/events",
    ):
        assert alice.get(path).status_code == 200
        response = alice.get(f"{path}?nonsense=canary-9")
        assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json"), path
        assert b"canary-9" not in response.content


@pytest.mark.parametrize("path", ["/secrets", "/activity", "/approvals", "/tokens", "/sync", "/rotation"])
def test_a_page_ignores_parameters_that_it_does_not_know(
    cast: Cast, signed_in: Callable[[Any], Client], path: str
) -> None:
    keep(cast)
    page = signed_in(cast.alice).get(f"{path}?utm_source=slack&ref=mail&limit=1")
    assert page.status_code == 200


def test_a_page_says_once_what_is_wrong_with_its_query(
    cast: Cast, signed_in: Callable[[Any], Client]
) -> None:
    page = signed_in(cast.alice).get("/secrets?limit=many")
    assert page.status_code == 400
    assert page.content.decode().count("Give a whole number") == 1
