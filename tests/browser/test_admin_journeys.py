"""What operators come to do in the Django admin, without leaving it; each journey ends with its result."""

from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import expect

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import Environment, GroupMember, Membership, ServiceToken, Session, User
from environments_app.tests.cast import PASSWORD, Cast
from secrets_app.models import Secret
from secrets_app.services import read
from tests.browser.operator import Operator
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]
Enter = Callable[..., Operator]
HANDS = pytest.mark.parametrize("by_keys", [False, True], ids=["desktop", "phone-by-keys"])


@pytest.fixture
def enter(visitor: Visitor, cast: Cast) -> Iterator[Enter]:
    """Open the admin for an operator, who has never left it by the end."""
    entered: list[Operator] = []

    def at(user: User | None = None, *, by_keys: bool = False) -> Operator:
        page = visitor.open("/admin/", user=user or cast.root, phone=by_keys)
        entered.append(Operator(page, by_keys=by_keys))
        return entered[-1]

    yield at
    assert [operator.strayed() for operator in entered] == [[] for _ in entered]


def _done(action: Action, name: str) -> AuditEvent:
    """Return the last event of an act on an object, which names the operator."""
    found = AuditEvent.objects.filter(action=action, object_name=name, outcome="allowed").latest("pk")
    assert found.actor_name == "root"
    return found


def _sign_in(username: str, password: str) -> int:
    return Client().post(reverse("sign-in"), {"username": username, "password": password}).status_code


@HANDS
def test_a_person_is_invited(enter: Enter, by_keys: bool) -> None:
    operator = enter(by_keys=by_keys)
    operator.list_of("environments_app/user")
    operator.act("invite")
    operator.fill(username="dora", email="dora@example.com")
    operator.choose(role="Auditor")
    operator.agree()
    password = operator.copied_once()

    assert User.objects.get(username="dora").role == "auditor"
    assert _sign_in("dora", password) == 302
    assert password not in _done(Action.USER_CREATE, "dora").details


def test_a_person_is_unlocked(enter: Enter) -> None:
    answers = [_sign_in("alice", "wrong") for _ in range(4)]
    assert answers[-1] == 429
    operator = enter()
    operator.follow("#content a[href*='failedsignins/?attention=locked']")
    operator.open("alice")
    operator.act("unlock")
    operator.agree()

    expect(operator.page.locator(".messagelist")).to_contain_text("Unlocked: alice.")
    assert '"unlocked":true' in _done(Action.USER_CHANGE, "alice").details
    assert _sign_in("alice", PASSWORD) == 302


def test_a_person_is_offboarded(enter: Enter, cast: Cast, secret: Make) -> None:
    known, unknown = secret(name="payments/db"), secret(name="payments/never-read")
    read.reveal(actor=cast.principal(cast.erin), secret=known)
    Client().force_login(cast.erin, backend="environments_app.users.password_backend.LocalBackend")
    operator = enter()
    operator.list_of("environments_app/user")
    operator.open("erin")
    operator.act("offboard")
    asked = operator.row("erin")
    expect(asked).to_contain_text("1 of 1 secrets that they have seen are current.")
    expect(asked).to_contain_text("development/payments/db")
    operator.agree()
    expect(operator.row("erin")).to_contain_text("Marked as due for rotation: 1.")

    assert not User.objects.get(username="erin").is_active
    assert not Session.objects.filter(user=cast.erin).exists()
    assert Secret.objects.get(pk=known.pk).rotation_due_at
    assert Secret.objects.get(pk=unknown.pk).rotation_due_at is None
    assert '"marked":1' in _done(Action.USER_OFFBOARD, "erin").details


def test_a_team_is_given_an_environment(enter: Enter, cast: Cast) -> None:
    operator = enter()
    operator.list_of("environments_app/environment")
    operator.follow(".object-tools .addlink")
    operator.fill(name="staging", display_name="Staging")
    operator.follow("input[name=_save]")
    operator.list_of("auth/group")
    operator.follow(".object-tools .addlink")
    operator.fill(name="payments team")
    operator.follow("input[name=_save]")
    operator.list_of("environments_app/user")
    operator.on_each("bob", "charlie", act="add_to_group")
    operator.choose(group="payments team")
    operator.agree()
    expect(operator.page.locator(".act-text")).to_have_text("2 of 2 done.")
    operator.list_of("auth/group")
    operator.open("payments team")
    operator.act("grant")
    operator.choose(environment="staging", role="Editor")
    operator.agree()

    expect(operator.page.locator(".messagelist")).to_contain_text("Access granted: payments team.")
    staging = Environment.objects.get(name="staging")
    assert {member.user.username for member in GroupMember.objects.select_related("user")} == {
        "bob",
        "charlie",
    }
    assert Membership.objects.get(environment=staging, group__isnull=False).role == "editor"
    _done(Action.ENVIRONMENT_CREATE, "staging")
    assert cast.principal(cast.charlie).grants


@HANDS
def test_a_token_is_issued_and_rotated(
    enter: Enter, cast: Cast, secret: Make, site: str, by_keys: bool
) -> None:
    stored = secret(name="app/key", value="v-of-the-app")
    operator = enter(by_keys=by_keys)

    def read_with(token: str) -> int:
        path = f"{site}/api/environments/development/secrets/{stored.name}"
        return operator.page.request.get(path, headers={"Authorization": f"Bearer {token}"}).status

    operator.list_of("environments_app/servicetoken")
    operator.act("issue")
    operator.fill(name="ci")
    operator.choose(environment="development", role="Reader")
    operator.agree()
    first = operator.copied_once()
    assert read_with(first) == 200
    operator.follow("#content a.button")
    operator.follow("#result_list tbody th a")
    operator.act("rotate")
    operator.fill(overlap_hours="0")
    operator.agree()
    second = operator.copied_once()

    assert (read_with(first), read_with(second)) == (401, 200)
    assert ServiceToken.objects.filter(name="ci").count() == 2
    assert not {first, second} & set(_done(Action.TOKEN_ISSUE, "ci").details.split('"'))
