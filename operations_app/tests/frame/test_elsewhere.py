"""What the chosen environment hides: a list says how much is elsewhere, and the menu leads to what one may see."""

from collections.abc import Callable

import pytest
from django.test import Client

from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded
from environments_app.models import Membership, Role, User
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from operations_app.frame.navigation import Layout
from secrets_app.services import lifecycle
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
HINT = "1 in other environments: show all"


def text(client: Client, address: str) -> str:
    return " ".join(client.get(address).content.decode().split())


def test_an_approval_that_waits_elsewhere_is_named_beside_the_badge(cast: Cast, signed_in: SignedIn) -> None:
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(ApprovalNeeded):
        environments.update_environment(
            actor=cast.principal(cast.alice), environment=cast.production, protected=False
        )
    erin = signed_in(cast.erin)
    page = erin.get("/approvals?environment=development")
    frame = page.context["frame"]
    assert isinstance(frame, Layout)
    assert [entry.count for entry in frame.nav if entry.label == "Approvals"] == [1]
    assert f'<a href="/approvals">{HINT}</a>' in page.content.decode()
    assert "No approval requests here" in page.content.decode()
    for address in ("/approvals?environment=production", "/approvals"):
        assert "in other environments" not in text(erin, address)
        assert "Needs your review" in text(erin, address)


def test_tokens_of_other_environments_are_counted_by_the_filter(cast: Cast, signed_in: SignedIn) -> None:
    issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci")
    alice = signed_in(cast.alice)
    assert HINT in text(alice, "/tokens?environment=production")
    assert HINT not in text(alice, "/tokens?environment=production&state=expiring")
    assert HINT not in text(alice, "/tokens?environment=development")


def test_a_secret_that_is_due_without_a_policy_is_on_the_page_of_rotation(
    cast: Cast, signed_in: SignedIn
) -> None:
    secret = keep(cast, "app/db")
    alice = signed_in(cast.alice)
    assert "No rotation yet" in text(alice, "/rotation")
    lifecycle.mark_rotation_due(actor=cast.principal(cast.alice), secret=secret)
    link = f'href="/secrets/{secret.pk}"'
    for address in ("/rotation", "/rotation?environment=development", "/rotation?state=due"):
        assert link in text(alice, address), address
        assert "No rotation yet" not in text(alice, address)
    assert link not in text(alice, "/rotation?state=running")
    assert HINT in text(alice, "/rotation?environment=production")
    assert link not in text(signed_in(cast.charlie), "/rotation")


def test_departures_are_in_the_menu_of_a_manager(cast: Cast, signed_in: SignedIn) -> None:
    link = 'href="/departures"'
    for user, led in ((cast.alice, True), (cast.root, True), (cast.bob, False)):
        assert (link in signed_in(user).get("/").content.decode()) is led, user
    alice = signed_in(cast.alice)
    assert alice.get("/reports").content.decode().count(link) > alice.get("/").content.decode().count(link)
    # A manager has no page of people to go to.
    assert 'href="/people"' not in alice.get("/departures").content.decode()
