"""The environment that a user chose stays while they go from page to page."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from environments_app.models import Environment, Membership, Role, User
from environments_app.tests.cast import Cast
from operations_app.frame.navigation import Layout
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
LISTS = ("/secrets", "/sync", "/rotation", "/activity", "/approvals", "/tokens")


def frame(client: Client, address: str) -> Layout:
    page = client.get(address)
    assert page.status_code == 200, address
    found = page.context["frame"]
    assert isinstance(found, Layout)
    return found


def shown(client: Client, address: str) -> str:
    place = frame(client, address).working_in
    return place.name if place else ""


@pytest.mark.parametrize("address", LISTS)
def test_each_list_takes_it_from_its_address(cast: Cast, signed_in: SignedIn, address: str) -> None:
    alice = signed_in(cast.alice)
    assert shown(alice, f"{address}?environment=production") == "production"
    assert shown(alice, address) == ""


def test_the_navigation_carries_it_on_and_the_choice_is_remembered(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    urls = {entry.label: entry.url for entry in frame(alice, "/sync?environment=production").nav}
    assert urls["Rotation"] == "/rotation?environment=production"
    assert urls["Dashboard"] == "/"
    assert shown(alice, "/profile") == "production"
    urls = {entry.label: entry.url for entry in frame(alice, "/profile").nav}
    assert urls["Activity"] == "/activity?environment=production"


def test_a_new_secret_begins_in_it(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    assert shown(alice, "/secrets?environment=development") == "development"
    page = alice.get("/")
    wanted = "/secrets/new?environment=development"
    assert wanted in [each["url"] for each in page.context["quick_actions"]]
    assert wanted in [each.url for each in page.context["frame"].actions]
    assert alice.get(wanted).context["form"]["environment"].initial == "development"


def test_all_environments_forgets_it(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    assert shown(alice, "/sync?environment=production") == "production"
    assert shown(alice, "/sync?environment=") == ""
    assert shown(alice, "/profile") == ""


def test_switching_keeps_the_page(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    secret = keep(cast, "payments/db")

    def to_production(address: str) -> str:
        choices = frame(alice, address).choices
        return next(each.url for each in choices if each.environment == cast.production)

    assert to_production("/rotation?state=failed") == "/rotation?state=failed&environment=production"
    assert to_production("/environments/development") == "/environments/production"
    assert to_production("/environments/development/access") == "/environments/production/access"
    assert to_production(reverse("secret-detail", args=[secret.pk])) == "/secrets?environment=production"
    same = keep(cast, "payments/db", environment=cast.production)
    for page in ("secret-detail", "secret-usage"):
        assert to_production(reverse(page, args=[secret.pk])) == reverse(page, args=[same.pk])
    # bob is told nothing of a secret that he may not see.
    refused = signed_in(cast.bob).get(reverse("secret-detail", args=[same.pk]))
    assert refused.status_code == 404
    assert reverse("secret-detail", args=[secret.pk]) not in refused.content.decode()
    assert to_production("/") == "/secrets?environment=production"


def test_pages_of_the_whole_installation_are_in_no_environment(cast: Cast, signed_in: SignedIn) -> None:
    root = signed_in(cast.root)
    assert shown(root, "/secrets?environment=production") == "production"
    for address in ("/", "/people", "/backups", "/health", "/integrity"):
        page = frame(root, address)
        assert (page.current, page.working_in) == (None, None), address
    for address in ("/secrets/matrix", "/activity/charts"):
        assert shown(root, f"{address}?environment=production") == "", address
    assert shown(root, "/profile") == "production"


def test_the_events_of_one_secret_choose_no_environment(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    assert shown(alice, "/activity?object=payments/db&environment=production") == "production"
    assert shown(alice, "/profile") == ""


def test_a_name_that_the_person_may_not_see_changes_nothing(cast: Cast, signed_in: SignedIn) -> None:
    bob = signed_in(cast.bob)
    assert shown(bob, "/profile?environment=production") == ""
    assert all("environment=" not in entry.url for entry in frame(bob, "/profile").nav)


def test_the_groups_show_what_the_person_can_open(cast: Cast, signed_in: SignedIn) -> None:
    groups = {entry.label: entry.group for entry in frame(signed_in(cast.root), "/profile").nav}
    assert groups["Approvals"] == "Governance"
    assert groups["Health"] == "Operations"
    labels = {entry.label for entry in frame(signed_in(cast.bob), "/profile").nav}
    assert not {"Service tokens", "Reports", "Health"} & labels


def test_the_frame_asks_as_much_for_two_environments_as_for_many(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)

    def statements() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert alice.get("/profile?environment=production").status_code == 200
        return len(asked)

    statements()
    few = statements()
    for number in range(12):
        place = Environment.objects.create(name=f"team-{number}")
        Membership.objects.create(environment=place, user=cast.alice, role=Role.VIEWER)
    assert statements() == few


def test_a_display_name_is_shown_where_it_says_more(cast: Cast, signed_in: SignedIn) -> None:
    Environment.objects.create(name="eu-west", display_name="Frankfurt")
    page = signed_in(cast.root).get("/environments").content.decode()
    assert "Frankfurt" in page
    assert ">Production<" not in page


def test_the_frame_links_the_reference_and_names_the_version(
    cast: Cast, signed_in: SignedIn, settings: Settings
) -> None:
    settings.KEEPER_DOCUMENTATION_URL = "https://docs.example/keeper"
    page = signed_in(cast.alice).get("/profile").content.decode()
    assert 'href="/api/docs"' in page
    assert 'href="https://docs.example/keeper"' in page
    assert "Keeper 0." in page


def test_the_reference_wears_the_frame_for_a_person_alone(cast: Cast, signed_in: SignedIn) -> None:
    assert 'class="rail"' in signed_in(cast.alice).get("/api/docs").content.decode()
    plain = Client().get("/api/docs")
    assert (plain.status_code, 'class="rail"' in plain.content.decode()) == (200, False)
