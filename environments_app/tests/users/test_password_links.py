"""Links in e-mails set a password once, and never for who has a mailbox or an administrator's rights alone."""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.errors import TooManyRefusals
from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.errors import ConfirmationNeeded, Conflict, InvalidField, LinkEnded
from environments_app.models import Delivery, PasswordLink, PersonalToken, Session, User, UserRole
from environments_app.notifications.service import deliver_due
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.personal import issue_personal
from environments_app.users import accounts, password_links, password_mail
from environments_app.users.password_links import (
    choose_password,
    choose_reset,
    invitation_of,
    invite,
    invite_new,
    obstacle_to_reset,
    request_reset,
    withdraw_invitation,
)
from environments_app.users.password_mail import send_due

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
SignedIn = Callable[[User], Client]
Events = Callable[..., list[AuditEvent]]
NEW = "a-quite-different-passphrase"
ADDRESS = "198.51.100.7"


@pytest.fixture(autouse=True)
def mail_server(settings: Settings) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", "https://keeper.example.com"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def code_in(message: mail.EmailMessage) -> str:
    found = re.search(r"https://keeper\.example\.com/set-password#([A-Za-z0-9_-]{43})\n", str(message.body))
    assert found
    return found[1]


def allow(cast: Cast, user: User) -> User:
    choose_reset(actor=cast.principal(user), user=user, allowed=True)
    return User.objects.get(pk=user.pk)


def ask(email: str = "alice@example.com", address: str = ADDRESS) -> list[mail.EmailMessage]:
    """Request a reset, let the worker work, and return the messages that came of it."""
    before = len(mail.outbox)
    request_reset(email=email, address=address)
    # What came of the request is due in the same pass or the next one.
    send_due()
    send_due()
    deliver_due()
    return list(mail.outbox[before:])


def choose(code: str, password: str = NEW) -> User:
    user = choose_password(code=code, password=password, address=ADDRESS).user
    assert user is not None
    return user


def test_a_reset_sets_the_password_once_and_ends_sessions_and_tokens(
    cast: Cast, signed_in: SignedIn, events: Events
) -> None:
    alice = allow(cast, cast.alice)
    alice.second_factor = alice.uuid
    alice.save()
    signed_in(alice)
    issue_personal(actor=cast.principal(alice), name="laptop")
    (message,) = ask()
    assert (message.to, "alice" in str(message.body)) == (["alice@example.com"], True)
    code = code_in(message)
    assert code not in str([*PasswordLink.objects.values(), *Delivery.objects.values()])
    choose(code)
    stored = User.objects.get(pk=alice.pk)
    assert stored.check_password(NEW)
    assert (stored.second_factor, stored.is_authentic()) == (alice.second_factor, True)
    assert not Session.objects.filter(user=alice).exists()
    assert not PersonalToken.objects.filter(user=alice, revoked_at=None).exists()
    event = events("user.change")[-1]
    assert (event.actor_name, "chosen by reset" in event.details, code in event.details) == (
        "alice",
        True,
        False,
    )
    deliver_due()
    assert "was reset" in mail.outbox[-1].subject
    with pytest.raises(LinkEnded):
        choose(code)


def test_each_change_of_the_account_and_a_newer_link_ends_a_link(cast: Cast) -> None:
    alice = allow(cast, cast.alice)
    root = cast.principal(cast.root)
    changes: list[Callable[[], object]] = [
        lambda: accounts.update_user(actor=root, user=alice, display_name="A", email="a@example.com"),
        lambda: accounts.update_user(actor=root, user=alice, role="auditor"),
        lambda: accounts.set_password(actor=cast.principal(alice), user=alice, password=PASSWORD + "1"),
        lambda: accounts.disable_user(actor=root, user=alice),
        lambda: PasswordLink.objects.update(expires_at=timezone.now()),
        lambda: PasswordLink.objects.update(bound_to=""),
        ask,
    ]
    for number, change in enumerate(changes):
        PasswordLink.objects.all().delete()
        fresh = User.objects.get(pk=alice.pk)
        fresh.email, fresh.role, fresh.is_active, fresh.reset_email = (
            "alice@example.com",
            "user",
            True,
            "alice@example.com",
        )
        fresh.save()
        (message,) = ask()
        change()
        with pytest.raises(LinkEnded):
            choose(code_in(message), NEW + str(number))


def test_who_may_change_an_address_gets_no_link_to_it(cast: Cast) -> None:
    alice = allow(cast, cast.alice)
    accounts.update_user(actor=cast.principal(cast.root), user=alice, email="evil@example.com")
    (message,) = ask("evil@example.com")
    assert "set-password" not in str(message.body)
    assert ask("alice@example.com") == []
    # Nor who can write the database: the confirmed address is under the account's MAC.
    User.objects.filter(pk=alice.pk).update(reset_email="evil@example.com")
    assert ask("evil@example.com") == []


def test_an_account_that_was_given_another_password_resets_by_no_address_of_before(cast: Cast) -> None:
    """Whoever used it until then may have confirmed an address of their own."""
    alice = allow(cast, cast.alice)
    accounts.set_password(actor=cast.principal(alice), user=alice, password=PASSWORD + "1")
    (message,) = ask()
    assert "set-password#" in str(message.body)
    accounts.set_password(actor=cast.principal(cast.root), user=alice, password=PASSWORD + "2")
    PasswordLink.objects.all().delete()
    (message,) = (each for each in ask() if "Break-glass" not in each.subject)
    assert "set-password#" not in str(message.body)


def test_an_account_that_gets_no_link_is_sent_the_reason(cast: Cast) -> None:
    alice = allow(cast, cast.alice)
    reasons: dict[str, dict[str, Any]] = {
        "identity provider": {"saml_issuer": "https://idp.example.com", "saml_name_id": "a"},
        "disabled": {"is_active": False, "saml_issuer": None, "saml_name_id": None},
        "two-factor": {"is_active": True, "role": UserRole.ADMIN},
        "not turned on": {"role": UserRole.USER, "reset_email": ""},
    }
    for hint, state in reasons.items():
        PasswordLink.objects.all().delete()
        for name, value in state.items():
            setattr(alice, name, value)
        alice.save()
        messages = ask()
        # A disabled account is sent nothing at all.
        assert [hint in str(message.body) for message in messages] == ([True] if alice.is_active else [])
        assert not any("set-password#" in str(message.body) for message in messages)


def test_known_and_unknown_addresses_get_the_same_answer_and_work(
    cast: Cast, django_assert_num_queries: Any
) -> None:
    allow(cast, cast.alice)
    pages = []
    for email in ("alice@example.com", "nobody@example.com"):
        with django_assert_num_queries(5):
            page = Client().post("/forgot-password", {"email": email})
        # Not no-referrer: browsers then send forms without their origin, which the CSRF check refuses.
        assert page.headers["Referrer-Policy"] == "same-origin"
        pages.append((page.status_code, page.content))
    assert pages[0] == pages[1]
    assert mail.outbox == []


def test_requests_are_limited_for_each_address_and_each_source(cast: Cast) -> None:
    allow(cast, cast.alice)
    sent = [len(ask(address=f"198.51.100.{number}")) for number in range(5)]
    assert sent == [1, 1, 1, 0, 0]
    for number in range(10):
        request_reset(email=f"n{number}@example.com", address="203.0.113.5")
    page = Client(REMOTE_ADDR="203.0.113.5").post("/forgot-password", {"email": "n@example.com"})
    assert (page.status_code, int(page.headers["Retry-After"]) > 0) == (429, True)


def test_codes_are_not_guessed_and_reach_no_log(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    allow(cast, cast.alice)
    code = code_in(ask()[0])
    weak = Client().post("/set-password", {"code": code, "password": "short", "again": "short"})
    assert weak.status_code == 422
    wrong = Client().post("/set-password", {"code": "x" * 43, "password": NEW, "again": NEW})
    assert (wrong.status_code, RefusalCount.objects.get().kind) == (422, "password-link")
    done = Client().post("/set-password", {"code": code, "password": NEW, "again": NEW})
    assert (done.status_code, done.headers["Location"]) == (302, "/sign-in")
    assert code not in caplog.text
    assert "set-password" not in done.headers["Location"]


def test_a_network_that_tried_too_many_codes_is_turned_away_with_the_right_one(
    cast: Cast, settings: Settings, one_minute: None
) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 2
    allow(cast, cast.alice)
    code = code_in(ask()[0])
    for _ in range(2):
        with pytest.raises(LinkEnded):
            choose("x" * 43)
    with pytest.raises(TooManyRefusals):
        choose(code)
    assert choose_password(code=code, password=NEW, address="203.0.113.9").user == cast.alice


def test_the_address_of_a_link_never_comes_from_the_request(cast: Cast, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    allow(cast, cast.alice)
    Client(headers={"host": "evil.example.com"}).post("/forgot-password", {"email": "alice@example.com"})
    send_due()
    send_due()
    assert "evil" not in str(mail.outbox[0].body)
    assert code_in(mail.outbox[0])


def test_it_can_be_switched_off(cast: Cast, settings: Settings) -> None:
    allow(cast, cast.alice)
    code = code_in(ask()[0])
    for name in ("KEEPER_PASSWORD_RESET", "EMAIL_HOST", "KEEPER_URL"):
        before = getattr(settings, name)
        setattr(settings, name, type(before)())
        assert Client().get("/forgot-password").status_code == 404
        assert "forgot-password" not in Client().get("/sign-in").content.decode()
        with pytest.raises(LinkEnded):
            choose(code)
        setattr(settings, name, before)


def test_an_invited_person_chooses_a_password_and_can_reset_it(cast: Cast, events: Events) -> None:
    invite_new(actor=cast.principal(cast.root), username="nina", email="nina@example.com")
    send_due()
    code = code_in(mail.outbox[0])
    assert "root invited you" in str(mail.outbox[0].body)
    (invited,) = events(Action.USER_CHANGE, object_name="nina")
    assert json.loads(invited.details)["address"] == "nina@example.com"
    choose(code)
    nina = User.objects.get(username="nina")
    assert (nina.check_password(NEW), nina.reset_email, nina.suspended_at) == (True, "nina@example.com", None)
    assert "chosen by invitation" in events("user.change")[-1].details
    with pytest.raises(Conflict):
        invite(actor=cast.principal(cast.root), user=nina)
    with pytest.raises(InvalidField):
        invite_new(actor=cast.principal(cast.root), username="otto", email="")
    assert not User.objects.filter(username="otto").exists()


def test_an_invitation_is_sent_again_and_withdrawn(cast: Cast) -> None:
    root = cast.principal(cast.root)
    nina = invite_new(actor=root, username="nina", email="nina@example.com")
    send_due()
    invite(actor=root, user=nina)
    send_due()
    first, second = (code_in(message) for message in mail.outbox)
    with pytest.raises(LinkEnded):
        choose(first)
    withdraw_invitation(actor=root, user=nina)
    with pytest.raises(LinkEnded):
        choose(second)
    link = invitation_of(nina)
    assert link is not None
    assert link.ended_at is not None


def test_an_invitation_to_another_address_suspends_an_account_with_access(cast: Cast, events: Events) -> None:
    root = cast.principal(cast.root)
    bob = User.objects.get(pk=cast.bob.pk)
    bob.email = "bob@example.com"
    bob.save()
    invite(actor=root, user=bob)
    assert User.objects.get(pk=bob.pk).suspended_at is not None
    assert events("member.break_glass")
    since = User.objects.get(pk=bob.pk).suspended_at
    # The same address again adds nothing to what the administrator could do.
    invite(actor=root, user=User.objects.get(pk=bob.pk))
    assert User.objects.get(pk=bob.pk).suspended_at == since


def test_a_failed_message_is_tried_again_with_a_new_code(cast: Cast, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "environments_app.tests.users.test_password_links.Broken"
    root = cast.principal(cast.root)
    nina = invite_new(actor=root, username="nina", email="nina@example.com")
    send_due()
    link = invitation_of(nina)
    assert link is not None
    assert (link.due_at is not None, link.error == "no connection to the mail server") == (True, True)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    PasswordLink.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    send_due()
    choose(code_in(mail.outbox[0]))


def test_a_message_is_tried_again_ever_later_and_not_for_ever(cast: Cast, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "environments_app.tests.users.test_password_links.Broken"
    nina = invite_new(actor=cast.principal(cast.root), username="nina", email="nina@example.com")
    waits = []
    for _ in range(6):
        PasswordLink.objects.update(due_at=timezone.now())
        send_due()
        link = invitation_of(nina)
        assert link is not None
        waits.append(link.due_at and round((link.due_at - timezone.now()).total_seconds() / 30))
    assert waits == [1, 2, 4, 8, 16, None]


class Broken:
    """A mail server that is away."""

    def __init__(self, **_options: object) -> None:
        pass

    def send_messages(self, _messages: object) -> int:
        raise OSError


def test_that_a_person_allows_a_reset_or_no_more_is_recorded(cast: Cast, events: Events) -> None:
    alice = allow(cast, cast.alice)
    choose_reset(actor=cast.principal(alice), user=alice, allowed=False)
    told = [json.loads(event.details)["password_reset"] for event in events(Action.USER_CHANGE)]
    assert told[-2:] == [alice.email, "off"]


def test_a_session_whose_proof_has_lapsed_turns_no_reset_on(cast: Cast) -> None:
    stale = replace(cast.principal(cast.alice), confirmed=False)
    with pytest.raises(ConfirmationNeeded):
        choose_reset(actor=stale, user=cast.alice, allowed=True)


def test_the_pages_invite_send_again_and_withdraw(cast: Cast) -> None:
    root = Client()
    root.post("/sign-in", {"username": "root", "password": PASSWORD})
    given = {"username": "nina", "email": "nina@example.com", "role": "user", "sign_in": "invitation"}
    assert "nina@example.com" in root.post("/new-person", given).content.decode()
    send_due()
    assert "Send invitation again" in root.get("/people/nina").content.decode()
    root.post("/people/nina/invite/withdraw")
    assert PasswordLink.objects.get().ended_at is not None
    root.post("/people/nina/invite")
    assert PasswordLink.objects.filter(ended_at=None).count() == 1


def test_each_obstacle_to_a_reset_is_named_and_refuses_to_allow_it(cast: Cast, settings: Settings) -> None:
    alice, root = cast.alice, cast.root
    # By single sign-on, without a password, not allowed, and an administrator with a password alone.
    alice.saml_issuer = "https://idp.example.com"
    assert "single sign-on" in obstacle_to_reset(alice)
    alice.saml_issuer, kept = "", alice.password
    alice.set_unusable_password()
    assert "no password yet" in obstacle_to_reset(alice)
    alice.password = kept
    assert "not turned on" in obstacle_to_reset(alice)
    alice.reset_email = alice.email
    assert obstacle_to_reset(alice) == ""
    root.email = root.reset_email = "root@example.com"
    assert "two-factor" in obstacle_to_reset(root)
    for change, error in (
        ({"email": ""}, InvalidField),
        ({"saml_issuer": "https://idp.example.com", "saml_name_id": "alice"}, Conflict),
        ({"password": "!none"}, Conflict),
    ):
        stored = User.objects.get(pk=alice.pk)
        before = {name: getattr(stored, name) for name in change}
        for name, value in change.items():
            setattr(stored, name, value)
        stored.save()
        with pytest.raises(error):
            choose_reset(actor=cast.principal(stored), user=stored, allowed=True)
        # Not to allow it is always possible.
        choose_reset(actor=cast.principal(stored), user=stored, allowed=False)
        for name, value in before.items():
            setattr(stored, name, value)
        stored.save()
        assert User.objects.get(pk=alice.pk).reset_email == ""


def test_so_many_requests_wait_for_the_worker_and_no_more(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_links, "_MOST_WAITING", 2)
    for number in range(2):
        request_reset(email=f"{number}@example.com", address=f"198.51.{number}.7")
    with pytest.raises(TooManyRefusals):
        request_reset(email="3@example.com", address="203.0.113.7")
    assert PasswordLink.objects.count() == 2
    send_due()
    # What the worker has answered waits no longer.
    request_reset(email="3@example.com", address="203.0.113.7")
    assert PasswordLink.objects.filter(due_at__isnull=False).count() == 1


def test_one_address_and_one_network_ask_so_often_and_no_more(cast: Cast) -> None:
    for number in range(5):
        request_reset(email="Alice@example.com ", address=f"198.51.{number}.7")
    assert PasswordLink.objects.filter(address="alice@example.com").count() == 3
    PasswordLink.objects.all().delete()
    for number in range(10):
        request_reset(email=f"{number}@example.com", address=ADDRESS)
    with pytest.raises(TooManyRefusals) as refused:
        request_reset(email="11@example.com", address=ADDRESS)
    assert 0 < refused.value.retry_after <= 3600
    request_reset(email="11@example.com", address="203.0.113.7")
    # After an hour they count no more.
    PasswordLink.objects.update(created_at=timezone.now() - timedelta(hours=1, seconds=1))
    request_reset(email="11@example.com", address=ADDRESS)


@pytest.mark.parametrize(
    "why", ["inactive", "no server", "disabled", "edited", "moved", "not any more", "claimed"]
)
def test_a_link_that_is_due_is_not_sent_after_what_changed(
    cast: Cast, why: str, monkeypatch: pytest.MonkeyPatch, settings: Settings, sql: Callable[..., None]
) -> None:
    alice = allow(cast, cast.alice)
    request_reset(email=alice.email, address=ADDRESS)
    send_due()
    link = PasswordLink.objects.get(user=alice)
    assert link.due_at is not None
    if why == "inactive":
        monkeypatch.setattr(password_mail, "is_active", lambda: False)
    elif why == "no server":
        settings.EMAIL_HOST = ""
    elif why == "disabled":
        alice.is_active = False
        alice.save()
    elif why == "edited":
        sql("UPDATE environments_app_user SET display_name = 'x', role = 'admin' WHERE id = %s", alice.pk)
    elif why == "moved":
        alice.email = alice.reset_email = "elsewhere@example.com"
        alice.save()
    elif why == "not any more":
        alice.reset_email = ""
        alice.save()
    else:
        monkeypatch.setattr(password_mail, "claim", lambda *_args, **_options: None)
    send_due()
    deliver_due()
    assert [message for message in mail.outbox if "#" in str(message.body)] == []
    stored = PasswordLink.objects.get(pk=link.pk)
    assert stored.code_hash == link.code_hash
    # What will never be sent waits no longer.
    over = why in {"disabled", "edited", "moved", "not any more"}
    assert (stored.due_at is None, stored.ended_at is not None) == (over, over)


def test_a_link_that_somebody_sent_elsewhere_is_sent_nowhere(cast: Cast) -> None:
    alice = allow(cast, cast.alice)
    request_reset(email=alice.email, address=ADDRESS)
    send_due()
    PasswordLink.objects.filter(user=alice).update(address="thief@example.com")
    send_due()
    assert mail.outbox == []
    link = PasswordLink.objects.get(user=alice)
    assert (link.due_at, link.ended_at is not None) == (None, True)


def test_an_account_with_a_password_or_of_single_sign_on_has_no_invitation(cast: Cast) -> None:
    root = cast.principal(cast.root)
    invited = invite_new(actor=root, username="dora", email="dora@example.com")
    assert invitation_of(invited) is not None
    invited.saml_issuer, invited.saml_name_id = "https://idp.example.com", "dora"
    assert invitation_of(invited) is None
    invited.saml_issuer = invited.saml_name_id = ""
    invited.set_password(NEW)
    assert invitation_of(invited) is None


@pytest.mark.parametrize(
    "change", [{"email": ""}, {"is_active": False}, {"password": "x"}, {"saml_issuer": "https://i"}]
)
def test_who_cannot_be_invited_is_not(cast: Cast, change: dict[str, Any]) -> None:
    root = cast.principal(cast.root)
    user = accounts.create_user(actor=root, username="dora", email="dora@example.com")
    for name, value in change.items():
        setattr(user, name, value)
    user.save()
    with pytest.raises((InvalidField, Conflict)):
        invite(actor=root, user=user)
    assert not PasswordLink.objects.exists()


def test_no_invitation_without_a_mail_server(cast: Cast, settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    user = accounts.create_user(actor=cast.principal(cast.root), username="dora", email="dora@example.com")
    with pytest.raises(Conflict, match="EMAIL_HOST"):
        invite(actor=cast.principal(cast.root), user=user)
