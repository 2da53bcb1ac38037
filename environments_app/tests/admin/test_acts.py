"""Acts in the admin: what is asked first, what is done, what is recorded, and what is shown once."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from audit_app.errors import TooManyRefusals
from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authentication import lockout
from environments_app.authorization.principals import system_principal
from environments_app.models import (
    Alert,
    Delivery,
    FailedSignIns,
    GroupMember,
    Recipient,
    ServiceToken,
    Session,
    User,
    UserRole,
)
from environments_app.notifications.recipients import add_recipient
from environments_app.notifications.service import raise_alert
from environments_app.tests.cast import Cast
from environments_app.tokens.authentication import authenticate
from environments_app.tokens.service import issue

Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def root(cast: Cast, signed_in: Callable[..., Client]) -> Client:
    return signed_in(cast.root)


def _url(model: str, act: str, pk: int | None = None) -> str:
    name = f"admin:environments_app_{model}_{'object_act' if pk else 'act'}"
    return reverse(name, args=[pk, act] if pk else [act])


def test_an_act_is_asked_before_it_is_done(root: Client, cast: Cast, events: Events) -> None:
    path = _url("user", "disable", cast.bob.pk)
    page = root.get(path).content.decode()
    assert "All their sessions end at once" in page
    assert User.objects.get(pk=cast.bob.pk).is_active

    answer = root.post(path)

    assert answer["Location"] == reverse("admin:environments_app_user_change", args=[cast.bob.pk])
    assert not User.objects.get(pk=cast.bob.pk).is_active
    assert [event.object_name for event in events(Action.USER_CHANGE)] == ["bob"]


def test_a_page_offers_what_applies_now(root: Client, cast: Cast) -> None:
    page = root.get(reverse("admin:environments_app_user_change", args=[cast.bob.pk])).content.decode()
    offered = [_url("user", act, cast.bob.pk) in page for act in ("disable", "enable", "reset_mfa")]
    assert offered == [True, False, False]


def test_a_person_is_invited_with_a_password_that_is_shown_once(root: Client, events: Events) -> None:
    path = _url("user", "invite")
    form = {"username": "dora", "role": "auditor", "sign_in": "password"}
    answer = root.post(path, form)
    password = answer.context["outcomes"][0].shown.once
    assert "no-store" in answer["Cache-Control"]
    assert User.objects.get(username="dora").check_password(password)
    assert User.objects.get(username="dora").role == UserRole.AUDITOR
    assert password not in root.get(path).content.decode()
    assert password not in str([event.details for event in events(Action.USER_CREATE)])


def test_a_refused_field_is_shown_beside_it(root: Client) -> None:
    page = root.post(_url("user", "invite"), {"username": "a b", "role": "user", "sign_in": "password"})
    assert "username" in page.context["form"].errors
    assert not User.objects.filter(username="a b").exists()


def test_a_role_is_changed(root: Client, cast: Cast) -> None:
    root.post(_url("user", "role", cast.bob.pk), {"role": "auditor"})
    assert User.objects.get(pk=cast.bob.pk).role == UserRole.AUDITOR


def test_sessions_are_ended(root: Client, cast: Cast, signed_in: Callable[..., Client]) -> None:
    signed_in(cast.bob)
    root.post(_url("user", "end_sessions", cast.bob.pk))
    assert not Session.objects.filter(user=cast.bob).exists()
    assert Session.objects.filter(user=cast.root).exists()


def _use_up(account: str, source: lockout.Source) -> None:
    for _ in range(3):
        lockout.take(account, [source])
    with pytest.raises(TooManyRefusals):
        lockout.take(account, [source])


def test_an_account_is_unlocked_and_no_other_is(root: Client, cast: Cast, events: Events) -> None:
    source = lockout.Source(lockout.Kind.STRANGER, "192.0.2.7")
    for account in ("bob", "erin"):
        _use_up(account, source)
    kept = FailedSignIns.objects.count() // 2

    root.post(_url("user", "unlock", cast.bob.pk))

    assert lockout.take("bob", [source]).count == 1
    with pytest.raises(TooManyRefusals):
        lockout.take("erin", [source])
    assert FailedSignIns.objects.count() == 2 * kept
    assert '"unlocked":true' in events(Action.USER_CHANGE)[-1].details


def test_a_locked_person_is_shown_as_locked_with_the_way_to_unlock(root: Client, cast: Cast) -> None:
    page = root.get(reverse("person", args=["bob"])).content.decode()
    assert "Unlock" not in page
    assert "ocked" not in page
    _use_up("bob", lockout.Source(lockout.Kind.STRANGER, "192.0.2.7"))
    # Another person's failure, and one who signed in at once, lock nobody else.
    lockout.give_back(lockout.take("erin", [lockout.Source(lockout.Kind.STRANGER, "192.0.2.8")]), forget=True)
    page = root.get(reverse("person", args=["bob"])).content.decode()
    assert "sign-in locked" in page
    for listed in ("/people", reverse("admin:environments_app_user_changelist")):
        assert root.get(listed).content.decode().count("locked out") == 1, listed
    assert f'href="{_url("user", "unlock", cast.bob.pk)}"' in page
    assert "locked" not in root.get(reverse("person", args=["erin"])).content.decode()
    rows = root.get("/admin/environments_app/failedsignins/").content.decode()
    assert f'href="{_url("user", "unlock", cast.bob.pk)}"' in rows
    assert ">erin<" not in rows
    assert rows.count("field-until") == 1
    assert not any(row.bucket in rows for row in FailedSignIns.objects.all())
    root.post(_url("user", "unlock", cast.bob.pk))
    assert "sign-in locked" not in root.get(reverse("person", args=["bob"])).content.decode()


def test_a_group_has_its_people_on_its_page(root: Client, cast: Cast) -> None:
    root.post(reverse("admin:auth_group_add"), {"name": "ops", "members": "bob, Erin"})
    group = Group.objects.get(name="ops")

    def inside() -> set[str]:
        return set(GroupMember.objects.filter(group=group).values_list("user__username", flat=True))

    assert inside() == {"bob", "erin"}
    page = reverse("admin:auth_group_change", args=[group.pk])
    assert 'value="bob, erin"' in root.get(page).content.decode()
    root.post(page, {"members": "erin, alice"})
    assert inside() == {"alice", "erin"}
    refused = root.post(page, {"members": "alice, nobody-of-this-name"}).content.decode()
    assert "Nobody has the username nobody-of-this-name." in refused
    assert inside() == {"alice", "erin"}
    # It can be given a role at once.
    place = root.get(reverse("environment-detail", args=["development"])).content.decode()
    assert "group:ops" in place


def test_an_alert_says_whom_its_messages_reach(root: Client, cast: Cast) -> None:
    raise_alert(
        kind="test", about=cast.bob.uuid, environment=cast.development, subject="Look", lines=["one", "two"]
    )
    address = reverse("admin:environments_app_alert_change", args=[Alert.objects.get().pk])
    page = root.get(address).content.decode()
    listed = reverse("admin:environments_app_alert_changelist")
    for shown in (page, root.get(listed).content.decode()):
        assert '<a href="/environments/development/notifications">no recipients: set them up</a>' in shown
        assert "state-warn" in shown
    # Events name what it is about.
    assert "The audit log has no event about this." in page
    root.post(_url("user", "unlock", cast.bob.pk))
    assert "The audit log has no event about this." not in root.get(address).content.decode()
    assert "one<br>two" in page
    assert "[&quot;" not in page
    Recipient.objects.create(
        environment=cast.development, email="ops@example.com", created_by=cast.root.username
    )
    assert ">1 by email</a>" in root.get(address).content.decode()


def test_a_token_is_issued_rotated_and_revoked(root: Client, cast: Cast) -> None:
    form = {"name": "ci", "environment": cast.development.pk, "role": "viewer"}
    text = root.post(_url("servicetoken", "issue"), form).context["outcomes"][0].shown.once
    assert authenticate(text, address="192.0.2.1").name == "ci"
    token = ServiceToken.objects.get()

    answer = root.post(_url("servicetoken", "rotate", token.pk), {"overlap_hours": "1"})

    successor = token.successors.get()
    assert authenticate(answer.context["outcomes"][0].shown.once, address="192.0.2.1").name == "ci"
    root.post(_url("servicetoken", "revoke", successor.pk))
    assert ServiceToken.objects.get(pk=successor.pk).revoked_at is not None
    assert ServiceToken.objects.get(pk=token.pk).revoked_at is None


def test_an_ended_token_is_not_rotated(root: Client, cast: Cast) -> None:
    token, _ = issue(
        actor=system_principal(is_admin=True), environment=cast.development, role="viewer", name="old"
    )
    root.post(_url("servicetoken", "revoke", token.pk))
    page = root.post(_url("servicetoken", "rotate", token.pk), {"overlap_hours": "1"}).content.decode()
    assert "It has ended." in page
    assert ServiceToken.objects.count() == 1


def test_a_stale_session_confirms_first(root: Client, cast: Cast, settings: Settings) -> None:
    settings.KEEPER_REAUTH_SECONDS = -1
    form = {"name": "ci", "environment": cast.development.pk, "role": "viewer"}
    page = root.post(_url("servicetoken", "issue"), form).content.decode()
    assert reverse("confirm") in page
    assert not ServiceToken.objects.exists()


def test_a_test_message_is_queued(root: Client, cast: Cast, events: Events) -> None:
    add_recipient(actor=cast.principal(cast.alice), environment=cast.development, email="ops@example.com")
    root.post(_url("recipient", "test", Recipient.objects.get().pk))
    assert Delivery.objects.get().kind == "test"
    assert events(Action.NOTIFICATION_TEST)


def test_an_auditor_carries_out_no_act(cast: Cast, signed_in: Callable[..., Client], events: Events) -> None:
    ada = signed_in(User.objects.create_user("ada", role=UserRole.AUDITOR))
    for method in (ada.get, ada.post):
        assert method(_url("user", "disable", cast.bob.pk)).status_code == 403
        assert method(_url("servicetoken", "issue")).status_code == 403
    assert User.objects.get(pk=cast.bob.pk).is_active
    assert {event.outcome for event in events(Action.TOKEN_ISSUE)} == {"denied"}


@pytest.mark.parametrize("path", ["acts/none/", "1/acts/none/", "987654/acts/disable/"])
def test_what_is_not_there_is_not_found(root: Client, path: str) -> None:
    assert root.get(reverse("admin:environments_app_user_changelist") + path).status_code == 404
