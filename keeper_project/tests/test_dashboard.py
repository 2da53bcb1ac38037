"""The dashboard and the frame: each shows what the person may know and no more."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from environments_app.models import Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app import writing
from secrets_app.secret_types import SecretType
from secrets_app.tests.kept import keep
from sync_app.tests.shown import make_entry, make_target

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]


@pytest.fixture
def expiring(cast: Cast) -> None:
    writing.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="soon",
        secret_type=SecretType.TEXT,
        value="v",
        expires_at=timezone.now() + timedelta(days=3),
    )


def test_it_says_what_needs_someone_with_a_link_to_exactly_those(
    cast: Cast, expiring: None, signed_in: SignedIn
) -> None:
    person = signed_in(cast.vera)
    needs = person.get("/").context["needs"]
    assert [(need["count"], need["url"]) for need in needs] == [(1, "/secrets?state=expiring")]
    assert 'href="/secrets/' in person.get(needs[0]["url"]).content.decode()
    assert signed_in(cast.charlie).get("/").context["needs"] == []


def test_it_says_what_did_not_arrive_with_a_link_to_exactly_those(cast: Cast, signed_in: SignedIn) -> None:
    target = make_target(cast.development)
    for name, state in (("a/conflict", "conflict"), ("a/drifted", "drifted"), ("a/synced", "in_sync")):
        make_entry(target, keep(cast, name), state)
    person = signed_in(cast.vera)
    needs = person.get("/").context["needs"]
    assert [(need["count"], need["url"]) for need in needs] == [
        (1, "/secrets?delivery=conflict"),
        (1, "/secrets?delivery=drifted"),
    ]
    assert [row["name"] for row in person.get(needs[0]["url"]).context["rows"]] == ["a/conflict"]


def test_the_rail_counts_what_needs_someone_in_the_sync(cast: Cast, signed_in: SignedIn) -> None:
    target = make_target(cast.development)
    make_entry(target, keep(cast, "a/conflict"), "conflict")
    make_entry(target, keep(cast, "a/pending"), "pending")

    def count(user: User) -> int:
        entries = signed_in(user).get("/secrets").context["frame"].nav
        return int(next(entry.count for entry in entries if entry.label == "Sync"))

    assert (count(cast.vera), count(cast.charlie)) == (1, 0)


def test_it_counts_reads_writes_and_denials_of_secrets(
    cast: Cast, expiring: None, signed_in: SignedIn
) -> None:
    secret = signed_in(cast.alice).get("/secrets").context["rows"][0]
    signed_in(cast.bob).post(f"/secrets/{secret['id']}/reveal")
    signed_in(cast.vera).post(f"/secrets/{secret['id']}/reveal")
    today = signed_in(cast.alice).get("/").context["activity"][-1]
    assert (today["reads"], today["writes"], today["denials"]) == (1, 1, 1)


def test_events_are_for_those_who_may_read_the_trail(cast: Cast, expiring: None, signed_in: SignedIn) -> None:
    assert list(signed_in(cast.vera).get("/").context["events"]) == []
    shown = signed_in(cast.alice).get("/").context["events"]
    assert "secret.create" in {event.action for event in shown}


def test_members_and_tokens_are_counted_where_one_may_list_them(cast: Cast, signed_in: SignedIn) -> None:
    Membership.objects.create(environment=cast.production, user=cast.bob, role=Role.MANAGER)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER, prefix="a")

    def counts(user: User) -> dict[str, int]:
        shown = signed_in(user).get("/").context["counts"]
        return {count["label"]: count["count"] for count in shown}

    assert counts(cast.vera).keys() == {"secrets", "environments"}
    assert counts(cast.charlie).keys() == {"secrets", "environments"}
    # Not those of development, where bob is a reader.
    assert (counts(cast.bob)["memberships"], counts(cast.bob)["service tokens"]) == (2, 0)
    assert counts(cast.alice)["memberships"] == counts(cast.root)["memberships"] == 7


def test_its_statements_do_not_grow_with_what_is_kept(
    cast: Cast, signed_in: SignedIn, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    person = signed_in(cast.alice)
    person.get("/")
    with django_assert_max_num_queries(25):
        person.get("/")


def test_the_rail_leads_operators_to_the_admin_and_nobody_else(cast: Cast, signed_in: SignedIn) -> None:
    assert 'href="/admin/"' in signed_in(cast.root).get("/").content.decode()
    assert 'href="/admin/"' not in signed_in(cast.alice).get("/").content.decode()


def test_a_stranger_is_led_to_the_sign_in(client: Client) -> None:
    for path in ("/", "/secrets", "/environments", "/activity"):
        assert client.get(path).headers["Location"].startswith("/sign-in")


def test_a_missing_page_is_a_page_and_a_missing_route_a_problem(cast: Cast, signed_in: SignedIn) -> None:
    person = signed_in(cast.alice)
    page = person.get("/nowhere")
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    problem = person.get("/api/nowhere")
    assert (problem.status_code, problem.headers["Content-Type"]) == (404, "application/problem+json")


def test_nothing_may_be_cached(cast: Cast, signed_in: SignedIn) -> None:
    for path in ("/", "/secrets", "/api/secrets", "/api/nowhere", "/sign-in", "/healthz"):
        assert "no-store" in signed_in(cast.alice).get(path).headers["Cache-Control"], path
