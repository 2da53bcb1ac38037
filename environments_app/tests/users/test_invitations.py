"""Who accepts an invitation gets the roles that it offers, as far as who sent it may still give them."""

import json
import re
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.access_requests.service import waiting_for
from environments_app.environments import memberships
from environments_app.errors import Conflict, Forbidden, InvalidField, Invisible, LinkEnded
from environments_app.models import (
    AccessConfirmation,
    AccessRequest,
    Delivery,
    Environment,
    Membership,
    PasswordLink,
    Role,
    User,
    UserRole,
)
from environments_app.tests.cast import PASSWORD, Cast, user_with_password
from environments_app.users import accounts, invitations, password_links
from environments_app.users.password_links import (
    choose_password,
    invitation_of,
    invite,
    invite_new,
    withdraw_invitation,
)
from environments_app.users.password_mail import send_due

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
Events = Callable[..., list[AuditEvent]]
NEW = "a-quite-different-passphrase"
ADDRESS = "198.51.100.7"


@pytest.fixture(autouse=True)
def mail_server(settings: Settings) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", "https://keeper.example.com"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def invited(cast: Cast, *environments: str, access: Role = Role.READER, by: User | None = None) -> User:
    return invite_new(
        actor=cast.principal(by or cast.root),
        username="nina",
        email="nina@example.com",
        environments=environments or ("development", "production"),
        access=access,
    )


def code() -> str:
    send_due()
    found = re.search(r"/set-password#([A-Za-z0-9_-]{43})\n", str(mail.outbox[-1].body))
    assert found
    return found[1]


def accept(text: str) -> User:
    user = choose_password(code=text, password=NEW, address=ADDRESS).user
    assert user is not None
    return user


def roles(user: User) -> dict[str, str]:
    rows = Membership.objects.filter(user=user).select_related("environment", "user", "group")
    assert all(row.is_authentic() for row in rows)
    return {row.environment.name: row.role for row in rows}


def requests(user: User) -> dict[str, str]:
    return {row.environment_name: row.reason for row in AccessRequest.objects.filter(requester=user)}


def protect(environment: Environment) -> None:
    row = Environment.objects.get(pk=environment.pk)
    row.protected = True
    row.save()


def test_nothing_is_granted_before_it_is_accepted_and_all_at_once_then(cast: Cast, events: Events) -> None:
    nina = invited(cast)
    assert json.loads(events("user.change")[-1].details)["access"] == {
        "development": "reader",
        "production": "reader",
    }
    assert roles(nina) == {}
    nina = accept(code())
    assert roles(nina) == {"development": "reader", "production": "reader"}
    granted = events("member.grant")
    assert {event.actor_name for event in granted} == {"root"}
    assert {json.loads(event.details)["how"] for event in granted} == {"invitation"}
    # root manages neither environment: it is the same break-glass act as a grant by hand.
    assert len(events("member.break_glass")) == 2
    assert set(Membership.objects.filter(user=nina).values_list("granted_by__username", flat=True)) == {
        "root"
    }


def test_an_administrator_who_was_removed_there_does_not_break_the_glass_unasked(
    cast: Cast, events: Events
) -> None:
    own = Membership.objects.create(environment=cast.development, user=cast.root, role=Role.MANAGER)
    nina = invited(cast)
    take_away(Membership.objects.filter(pk=own.pk))
    nina = accept(code())
    assert roles(nina) == {"production": "reader"}
    assert "no manager there any more" in requests(nina)["development"]
    # In production root was no manager from the start, and confirmed it.
    assert len(events("member.break_glass")) == 1


def test_a_link_does_not_come_back_with_its_account(cast: Cast) -> None:
    nina = invited(cast)
    text = code()
    for is_active in (False, True):
        accounts.update_user(actor=cast.principal(cast.root), user=nina, is_active=is_active)
    with pytest.raises(LinkEnded):
        accept(text)
    assert roles(nina) == {}


def test_who_sent_it_is_told_what_became_of_it(cast: Cast) -> None:
    invited(cast, "development")
    accept(code())
    told = Delivery.objects.get(kind="invitation")
    assert (told.addressee, told.subject) == (cast.root.uuid, "nina accepted your invitation")
    assert (told.lines, told.link) == (["Reader in development."], "/people/nina")


@pytest.mark.parametrize("change", ["role", "disabled", "suspended", "confirmed elsewhere", "gone"])
def test_who_lost_the_right_meanwhile_gives_nothing_and_a_manager_is_asked(cast: Cast, change: str) -> None:
    other = user_with_password("olga", role=UserRole.ADMIN)
    nina = invited(cast, "development", by=other)
    text = code()
    root = cast.principal(cast.root)
    if change == "role":
        accounts.update_user(actor=root, user=other, role=UserRole.USER)
    elif change == "disabled":
        accounts.disable_user(actor=root, user=other)
    elif change in {"suspended", "confirmed elsewhere"}:
        stored = User.objects.get(pk=other.pk)
        stored.suspended_at = timezone.now()
        stored.save()
        if change == "confirmed elsewhere":
            AccessConfirmation.objects.create(
                environment=cast.production,
                user=stored,
                suspended_at=stored.suspended_at,
                confirmed_by=cast.alice,
            )
    else:
        User.objects.filter(pk=other.pk).update(role="owner")
    nina = accept(text)
    assert roles(nina) == {}
    (reason,) = requests(nina).values()
    assert reason.startswith("olga invited nina with this role. ")
    assert [row.requester.username for row in waiting_for(cast.principal(cast.alice))] == ["nina"]


def test_an_environment_that_was_protected_meanwhile_asks_a_second_person(cast: Cast) -> None:
    nina = invited(cast)
    text = code()
    protect(cast.production)
    nina = accept(text)
    assert roles(nina) == {"development": "reader"}
    assert list(requests(nina)) == ["production"]


def test_it_is_asked_under_the_lock_whether_the_environment_is_protected(cast: Cast) -> None:
    nina = invited(cast, "production")
    text = code()
    seen = invitations.offered

    def protect_after(link: PasswordLink) -> list[invitations.Offer]:
        offers = seen(link)
        protect(cast.production)
        return offers

    with patch.object(invitations, "offered", protect_after):
        nina = accept(text)
    assert roles(nina) == {}
    assert list(requests(nina)) == ["production"]


def test_a_withdrawn_invitation_gives_nothing_nor_does_one_sent_after_it(cast: Cast) -> None:
    nina = invited(cast)
    text = code()
    root = cast.principal(cast.root)
    withdraw_invitation(actor=root, user=nina)
    with pytest.raises(LinkEnded):
        accept(text)
    assert roles(nina) == {}
    invite(actor=root, user=User.objects.get(pk=nina.pk))
    assert roles(accept(code())) == {}


def test_one_that_is_withdrawn_while_it_is_sent_again_offers_nothing(cast: Cast) -> None:
    nina = invited(cast, "development")
    root = cast.principal(cast.root)
    seen = invitations.check_offer

    def withdraw_after(**options: Any) -> list[invitations.Offer]:
        offers = seen(**options)
        withdraw_invitation(actor=root, user=nina)
        return offers

    with patch.object(password_links, "check_offer", withdraw_after):
        invite(actor=root, user=nina)
    assert roles(accept(code())) == {}


def test_of_two_who_send_it_again_one_is_told_so(cast: Cast) -> None:
    nina = invited(cast, "development")
    root = cast.principal(cast.root)
    seen = invitations.check_offer

    def send_after(**options: Any) -> list[invitations.Offer]:
        offers = seen(**options)
        with patch.object(password_links, "check_offer", seen):
            invite(actor=root, user=nina)
        return offers

    with patch.object(password_links, "check_offer", send_after), pytest.raises(Conflict, match="changed"):
        invite(actor=root, user=nina)


def test_it_is_accepted_once(cast: Cast) -> None:
    nina = invited(cast, "development")
    text = code()
    first = choose_password
    seen = invitations.give_access

    def twice(link: PasswordLink, user: User, **options: str) -> None:
        # The second of two clicks comes while the first holds the account.
        with pytest.raises(LinkEnded):
            first(code=text, password="another-long-passphrase", address=ADDRESS)
        seen(link, user, **options)

    with patch("environments_app.users.password_links.give_access", twice):
        accept(text)
    assert User.objects.get(pk=nina.pk).check_password(NEW)
    assert roles(nina) == {"development": "reader"}
    with pytest.raises(LinkEnded):
        accept(text)


def test_who_sends_it_again_offers_it_from_then_on(cast: Cast) -> None:
    other = user_with_password("olga", role=UserRole.ADMIN)
    nina = invited(cast, "development", by=other)
    invite(actor=cast.principal(cast.root), user=nina)
    accounts.disable_user(actor=cast.principal(cast.root), user=other)
    nina = accept(code())
    assert roles(nina) == {"development": "reader"}
    assert Membership.objects.get(user=nina).granted_by == cast.root


def test_a_role_that_a_manager_gave_meanwhile_stays(cast: Cast) -> None:
    nina = invited(cast, "development")
    alice = cast.principal(cast.alice)
    memberships.grant(actor=alice, environment=cast.development, user=nina, role=Role.EDITOR)
    text = code()
    assert roles(accept(text)) == {"development": "editor"}


def test_an_offer_that_was_edited_by_sql_gives_no_account(cast: Cast) -> None:
    nina = invited(cast, "development")
    text = code()
    link = PasswordLink.objects.get()
    assert link.access
    link.access["roles"][str(cast.development.uuid)] = "manager"
    PasswordLink.objects.update(access=link.access)
    with pytest.raises(LinkEnded):
        accept(text)
    assert roles(nina) == {}
    assert invitation_of(nina) is None


def test_an_invitation_for_a_path_gives_that_path_alone(cast: Cast) -> None:
    def send(prefix: str) -> User:
        return invite_new(
            actor=cast.principal(cast.root),
            username="nina",
            email="nina@example.com",
            environments=["development"],
            prefix=prefix,
        )

    with pytest.raises(InvalidField, match="Enter a path"):
        send("../etc")
    nina = send("payments/")
    rows = AuditEvent.objects.filter(object_name="nina")
    assert "payments" in [json.loads(row.details).get("prefix") for row in rows]
    # Sent again, it offers the same.
    invite(actor=cast.principal(cast.root), user=nina)
    user = accept(code())
    assert [(row.environment, row.prefix) for row in Membership.objects.filter(user=user)] == [
        (cast.development, "payments")
    ]


def test_only_what_one_may_give_is_offered(cast: Cast) -> None:
    with pytest.raises(Invisible):
        invited(cast, "nowhere")
    with pytest.raises(Forbidden):
        invited(cast, "development", by=cast.alice)
    with pytest.raises(InvalidField, match="Auditors"):
        invite_new(
            actor=cast.principal(cast.root),
            username="nina",
            email="nina@example.com",
            role=UserRole.AUDITOR,
            environments=["development"],
        )
    assert not User.objects.filter(username="nina").exists()


def test_it_is_one_form_and_who_accepts_is_signed_in(cast: Cast) -> None:
    root = Client()
    root.post("/sign-in", {"username": "root", "password": PASSWORD})
    given = {
        "email": "Nina.K@example.com",
        "environments": ["development", "production"],
        "access": "editor",
        "role": "user",
        "sign_in": "invitation",
    }
    page = root.post("/new-person", given).content.decode()
    assert "Editor in development" in page
    assert 'Editor in <a href="/environments/production">' in root.get("/people/nina.k").content.decode()
    browser = Client()
    form = {"code": code(), "password": NEW, "again": NEW}
    answer = browser.post("/set-password", form)
    assert answer.headers["Location"] == "/"
    assert browser.get("/secrets?environment=production").status_code == 200
    assert roles(User.objects.get(username="nina.k")) == {"development": "editor", "production": "editor"}
    # The link is over, also for who is signed in by it.
    assert browser.post("/set-password", form).status_code == 422


def test_without_mail_the_access_is_there_at_once(cast: Cast) -> None:
    protect(cast.production)
    root = Client()
    root.post("/sign-in", {"username": "root", "password": PASSWORD})
    given = {
        "username": "nina",
        "environments": ["development", "production"],
        "access": "reader",
        "role": "user",
        "sign_in": "password",
    }
    page = root.post("/new-person", given)
    assert "Reader in production, once a second person approves it" in page.content.decode()
    assert roles(User.objects.get(username="nina")) == {"development": "reader"}
