"""An environment's page of alerts lists what is open, whom it reaches, and what failed."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import Settings

from environments_app.models import Alert, Delivery, DeliveryState, Recipient, User
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
PAGE = "/environments/development/notifications"


def test_open_alerts_are_listed_with_whom_they_reach(cast: Cast, signed_in: SignedIn) -> None:
    Alert.objects.create(
        kind="sync.drifted", about=uuid4(), environment=cast.development, subject="vault drifted",
        lines=["payments/key: changed in target"], link="/sync/1",
    )  # fmt: skip
    Alert.objects.create(
        kind="sync.failed", about=uuid4(), environment=cast.development, subject="over by now", open=None
    )
    manager = signed_in(cast.alice)
    page = manager.get(PAGE).content.decode()
    assert '<a href="/sync/1">vault drifted</a>' in page
    assert "payments/key: changed in target" in page
    assert "no recipients: add" in page
    assert "over by now" not in page
    Recipient.objects.create(environment=cast.development, email="ops@example.com", created_by="alice")
    assert "no recipients: add" not in manager.get(PAGE).content.decode()


def test_a_failed_message_offers_to_try_again(cast: Cast, signed_in: SignedIn) -> None:
    def message(subject: str, state: DeliveryState) -> Delivery:
        return Delivery.objects.create(
            environment=cast.development, transport="email", addressee=uuid4(), kind="test",
            subject=subject, state=state,
        )  # fmt: skip

    failed, sent = message("vault drifted", DeliveryState.FAILED), message("well", DeliveryState.SENT)
    manager = signed_in(cast.alice)
    address = f"/environments/development/messages/{failed.pk}/retry"
    page = manager.get(PAGE).content.decode()
    assert page.count("Try again:") == 1
    assert f'action="{address}"' in page
    assert "Trying again." in manager.post(address, follow=True).content.decode()
    failed.refresh_from_db()
    assert failed.state == DeliveryState.WAITING
    refused = manager.post(f"/environments/development/messages/{sent.pk}/retry", follow=True)
    assert "This message has not failed." in refused.content.decode()
    assert manager.post(f"/environments/production/messages/{sent.pk}/retry").status_code == 404


def test_each_message_names_whom_it_went_to(cast: Cast, settings: Settings, signed_in: SignedIn) -> None:
    recipient = Recipient.objects.create(
        environment=cast.development, email="ops@example.com", created_by="alice"
    )
    for addressee in (recipient.uuid, cast.erin.uuid, cast.charlie.uuid, uuid4()):
        Delivery.objects.create(
            environment=cast.development, transport="email", addressee=addressee, kind="test",
            subject="something", state=DeliveryState.FAILED,
        )  # fmt: skip
    # charlie is no member: a manager gets no list of the installation's accounts from here.
    for user, names in (
        (cast.alice, ["ops@example.com", "erin", "a person", "removed"]),
        (cast.root, ["ops@example.com", "erin", "charlie", "removed"]),
    ):
        page = signed_in(user).get(PAGE)
        assert [each["to"] for each in page.context["deliveries"]] == names[::-1]
    jobs = signed_in(cast.root).get("/admin/system/", {"tab": "work"}).content.decode()
    # Without a mail server nothing was to be mailed to people.
    assert [name for name in ("ops@example.com", "erin") if f"message to {name}:" in jobs] == [
        "ops@example.com"
    ]
    settings.EMAIL_HOST = "mail.example.com"
    jobs = signed_in(cast.root).get("/admin/system/", {"tab": "work"}).content.decode()
    for name in ("ops@example.com", "erin", "charlie", "a removed recipient"):
        assert f"message to {name}: something" in jobs


@pytest.mark.parametrize("part", ["webhooks", "recipients"])
def test_the_address_of_a_form_leads_to_its_page(cast: Cast, signed_in: SignedIn, part: str) -> None:
    """Where a new webhook was shown, Enter in the address bar shows no error."""
    response = signed_in(cast.alice).get(f"/environments/development/{part}")
    assert (response.status_code, response["Location"]) == (302, PAGE)
