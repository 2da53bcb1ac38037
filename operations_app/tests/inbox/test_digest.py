"""The digest: once a day, what is new, by the rights when it is sent, and no value."""

import smtplib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.tests.trail import take_away
from environments_app.models import Membership, NoticeKind, PersonalSettings, User
from environments_app.tests.cast import Cast
from environments_app.users.preferences import choose_digest
from operations_app.inbox import digest
from operations_app.tasks import send_digests
from secrets_app.tests.kept import keep

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
SignedIn = Callable[[User], Client]
VALUE = "s3cr3t-Kx9"


@pytest.fixture(autouse=True)
def _mail(settings: Settings) -> None:
    settings.EMAIL_HOST = "mail.example"
    settings.KEEPER_DIGEST_HOUR = 0
    settings.KEEPER_URL = "https://keeper.example"


@pytest.fixture
def bob(cast: Cast) -> User:
    """A reader with an address, to whom a secret that expires is news."""
    cast.bob.email = "bob@example.com"
    cast.bob.save()
    keep(cast, "pay/soon", value=VALUE, expires_at=timezone.now() + timedelta(days=3))
    return cast.bob


def test_what_is_new_is_mailed_once_a_day(cast: Cast, bob: User, events: Callable[..., Any]) -> None:
    assert digest.send(bob.pk)
    assert not digest.send(bob.pk)

    (message,) = mail.outbox
    assert message.to == ["bob@example.com"]
    assert "* pay/soon (development), expiring" in message.body
    assert "https://keeper.example/notifications" in message.body
    assert VALUE not in f"{message.subject}{message.body}"
    (event,) = events(Action.NOTIFICATION_SEND)
    assert (event.object_name, event.outcome) == ("bob", "allowed")
    # The next day nothing is new, and nothing is sent.
    PersonalSettings.objects.update(digest_at=timezone.now() - timedelta(days=1))
    assert not digest.send(bob.pk)


def test_of_two_workers_that_looked_at_once_one_sends(bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    read, sent = PersonalSettings.objects.get_or_create, list[bool]()

    def read_before_another_sends(**given: Any) -> Any:
        monkeypatch.undo()
        found = read(**given)
        sent.append(digest.send(bob.pk))
        return found

    monkeypatch.setattr(PersonalSettings.objects, "get_or_create", read_before_another_sends)
    sent.append(digest.send(bob.pk))
    assert (sent, len(mail.outbox)) == ([True, False], 1)


def test_rights_are_those_of_the_moment_of_sending(cast: Cast, bob: User) -> None:
    take_away(Membership.objects.filter(user=bob))
    assert not digest.send(bob.pk)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    PersonalSettings.objects.update(digest_at=None)
    assert not digest.send(bob.pk)
    assert mail.outbox == []


def test_what_the_mail_server_did_not_take_is_tried_again(bob: User, events: Callable[..., Any]) -> None:
    with patch("django.core.mail.EmailMessage.send", side_effect=smtplib.SMTPServerDisconnected("away")):
        assert not digest.send(bob.pk)
    assert [event.outcome for event in events(Action.NOTIFICATION_SEND)] == ["allowed", "failed"]
    assert digest.send(bob.pk)


def test_kinds_that_one_does_not_want_are_not_mailed(
    cast: Cast, bob: User, signed_in: SignedIn, events: Callable[..., Any]
) -> None:
    signed_in(bob).post("/notifications/mail", {"kinds": ["failures"]})
    assert not digest.send(bob.pk)
    assert PersonalSettings.objects.get(user=bob).mailed == [NoticeKind.FAILURES]
    assert [event.object_name for event in events(Action.NOTIFICATION_CHOOSE)] == ["bob"]
    choose_digest(actor=cast.principal(bob), kinds=[])
    assert bob.pk not in digest.due(timezone.now())


@pytest.mark.parametrize(
    ("hour", "digest_hour", "host", "is_due"),
    [
        (5, 6, "mail.example", False),
        (6, 6, "mail.example", True),
        (7, 6, "", False),
        (7, None, "mail.example", False),
    ],
)
def test_it_is_time_from_an_hour_on_where_there_is_a_mail_server(
    bob: User, settings: Settings, hour: int, digest_hour: int | None, host: str, is_due: bool
) -> None:
    settings.EMAIL_HOST, settings.KEEPER_DIGEST_HOUR = host, digest_hour
    now: datetime = timezone.now().replace(hour=hour, minute=37)
    assert (bob.pk in digest.due(now)) is is_due


def test_each_person_is_a_task_of_their_own_that_takes_an_id(bob: User) -> None:
    with patch("operations_app.tasks.send_digest.delay") as delay:
        send_digests()
    ids = [call.args for call in delay.call_args_list]
    assert (bob.pk,) in ids
    assert all(len(args) == 1 and isinstance(args[0], int) for args in ids)
