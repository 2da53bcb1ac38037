"""The role of auditors: they look at the whole installation, change nothing and see no value.

Each route of the API, each page and each form of the admin is called by an auditor who is, on paper, a
manager of the environment as well.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from environments_app.access_requests import service as access_requests
from environments_app.authorization.effective_access import explain_access
from environments_app.authorization.permissions import ADMIN_ACTIONS, AUDITOR_ACTIONS, ROLE_ACTIONS
from environments_app.authorization.policy import allows, visible_environments
from environments_app.authorization.principals import system_principal
from environments_app.environments.memberships import grant
from environments_app.errors import Conflict, Forbidden
from environments_app.models import Environment, Membership, Role, SamlGroupMapping, User, UserRole
from environments_app.single_sign_on.group_mapping import apply_groups, map_group
from environments_app.tests.cast import Cast
from environments_app.users import accounts
from secrets_app.tests.kept import VALUE, send
from tests.access.access_scene import Scene, shared_scene, shown, stage, undone
from tests.access.test_access_matrix import TABLE, Rule
from tests.access.test_page_matrix import PAGES, PageRule, page_path

__all__ = ["shared_scene", "stage"]

_BACKEND: Final = "environments_app.users.password_backend.LocalBackend"
# What an auditor's call may write: the record of the call itself.
_RECORD: Final = {"audit_app", "sessions", "auditlog"}
# What computes or verifies, and changes nothing. The others answer an auditor with a refusal.
_NOTHING_CHANGES: Final = {
    "api-secrets-generate", "api-trail-verify", "secret-generate", "secret-check",
    # They refuse each secret by itself.
    "api-exposure", "exposure", "secret-bulk", "api-leaked", "leaked",
    # It asks for no session, and refuses what is no JWT.
    "api-workload-sign-in",
    # There is no backup of this name, and nothing to compare.
    "secret-diff",
    # Nothing is decided, so that nothing can be signed off; and nothing is chosen.
    "api-review-sign", "review-sign", "review-decide",
}  # fmt: skip
_FORMS: Final = {"environment-clone", "environment-delete", "member-change", "review-new", "trust-new"}
# What auditors change of their own account and view.
_OWN: Final = {
    "personal-token-issue", "personal-token-revoke", "time-zone-change", "device-approve", "device-deny",
    "loopback-answer",
    # Programs call these without an account.
    "api-device-authorization",
    "notices-seen", "digest-choose", "first-steps-hide", "secret-star", "password-change", "session-end",
    "sessions-end-others", "name-change", "password-reset-choose", "activity-view-save", "activity-view-remove", "second-factor-start", "second-factor-enrol",
    "second-factor-codes", "second-factor-remove", "passkey-start", "passkey-register", "passkey-remove",
    "sign-in-connect", "sign-in-disconnect",
    # Their tokens read what they may, and no more.
    "api-current-token",
}  # fmt: skip


@pytest.fixture
def cast(module_cast: Cast, db: None) -> Cast:
    """Return the people of the module: its tests forget what they change of them."""
    keyring().open_all()
    return deepcopy(module_cast)


@pytest.fixture(scope="module")
def session_key(shared_scene: Scene, django_db_blocker: DjangoDbBlocker) -> str:
    """Return the session of an auditor who was made a manager of the place."""
    with django_db_blocker.unblock():
        user = User.objects.create_user("auditor-of-all", role=UserRole.AUDITOR)
        Membership.objects.create(environment=shared_scene.environment, user=user, role=Role.MANAGER)
        client = Client()
        client.force_login(user, backend=_BACKEND)
        return client.cookies[settings.SESSION_COOKIE_NAME].value


def _browser(session_key: str) -> Client:
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = session_key
    return client


def _stored() -> dict[str, Any]:
    """Return every row that is not the record of what was done, as the driver gives them."""
    models = [
        model
        for model in apps.get_models()
        if model._meta.app_label not in _RECORD and model._meta.label != "environments_app.Session"
    ]
    with connection.cursor() as cursor:
        return {model._meta.label: _rows(cursor, model._meta.db_table) for model in models}


def _rows(cursor: Any, table: str) -> list[Any]:
    cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)} ORDER BY 1")
    return list(cursor.fetchall())


@pytest.mark.parametrize(("route", "method"), TABLE, ids=lambda value: value)
def test_no_route_of_the_api_changes_or_reveals_anything_for_an_auditor(
    stage: Callable[[str], Scene], session_key: str, route: str, method: str
) -> None:
    rule, place = TABLE[route, method], stage(route)
    client, path, body = _browser(session_key), place.path(route), place.body(rule.body)
    before = _stored()

    response = send(client, method, path, body)

    assert VALUE not in shown(response)
    if route in _OWN:
        return
    assert _stored() == before
    if method != "GET" and route not in _NOTHING_CHANGES:
        # 401 and 409: about the token of the request, where an auditor's browser has none.
        of_token = route in {"api-workload-sign-in", "api-current-token"}
        assert response.status_code in ({401, 409} if of_token else {403, 404}), shown(response)
    elif method == "GET":
        assert response.status_code == _read(rule, route)


def _read(rule: Rule, route: str) -> int:
    """Return what an auditor gets who reads: what an administrator sees, and no more."""
    return rule.admin or (rule.ok if rule.least == "anyone" else 403)


@pytest.mark.parametrize("name", PAGES)
def test_no_page_changes_or_reveals_anything_for_an_auditor(
    stage: Callable[[str], Scene], session_key: str, name: str
) -> None:
    for rule in PAGES[name]:
        with undone():
            _changes_and_reveals_nothing(_browser(session_key), stage(name), name, rule)


def _changes_and_reveals_nothing(client: Client, place: Scene, name: str, rule: PageRule) -> None:
    path, form = page_path(place, name), _form(place, rule)
    before = _stored()

    response: Any = client.get(path) if rule.method == "GET" else client.post(path, form)

    assert VALUE not in shown(response)
    if name in _OWN:
        return
    assert _stored() == before
    if rule.method == "POST" and name not in _NOTHING_CHANGES:
        assert response.status_code in {403, 404}, (response.status_code, response.headers)
    elif rule.method == "GET":
        # Whose only purpose is a change, such as the form of a membership, is refused.
        assert response.status_code == (403 if name in _FORMS else rule.admin)


def _form(place: Scene, rule: PageRule) -> dict[str, Any]:
    return {
        key: place.environment.pk if value == "{environment}" else place.body(value)
        for key, value in (rule.form or {}).items()
    }


@pytest.fixture
def auditor(cast: Cast) -> User:
    return User.objects.create_user("ada", role=UserRole.AUDITOR)


@pytest.fixture
def browser(auditor: User) -> Client:
    client = Client()
    client.force_login(auditor, backend=_BACKEND)
    return client


def test_the_table_gives_auditors_only_what_looks() -> None:
    looking = {action for action in AUDITOR_ACTIONS if action.endswith(".view")}
    assert AUDITOR_ACTIONS - looking == {Action.TRAIL_VERIFY, Action.REPORT_GENERATE, Action.REVIEW_SIGN}
    assert AUDITOR_ACTIONS <= ADMIN_ACTIONS
    assert Action.SECRET_REVEAL in ROLE_ACTIONS[Role.READER] - AUDITOR_ACTIONS


def test_memberships_of_an_auditor_count_for_nothing(cast: Cast, auditor: User) -> None:
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=auditor, role="manager")
    principal = cast.principal(auditor)
    assert principal.grants == ()
    assert not allows(principal, Action.SECRET_REVEAL, environment_id=cast.development.pk, name="a")
    ways = explain_access(
        actor=cast.principal(cast.alice), environment=cast.development, person=auditor.username
    )
    assert [way.hindrances for way in ways] == [("auditors see names only",)] * 2


def test_an_auditor_sees_every_environment(cast: Cast, auditor: User) -> None:
    seen = set(Environment.objects.filter(visible_environments(cast.principal(auditor))))
    assert seen == {*Environment.objects.all()} >= {cast.development, cast.production}


def test_a_disabled_auditor_sees_nothing(cast: Cast, auditor: User) -> None:
    accounts.disable_user(actor=cast.principal(cast.root), user=auditor)
    assert not cast.principal(auditor).is_auditor


def test_an_auditor_requests_no_access(cast: Cast, auditor: User) -> None:
    with pytest.raises(Forbidden):
        access_requests.submit(actor=cast.principal(auditor), environment="development", role="reader")


def test_no_page_offers_an_auditor_to_request_access(
    cast: Cast, auditor: User, signed_in: Callable[[User], Client]
) -> None:
    paths = (
        "/", "/environments", "/environments/development", "/approvals", "/secrets", "/secrets/new", "/profile",
        "/secrets/999999", "/people",
    )  # fmt: skip
    offered = {
        user.username: {
            path for path in paths if "access-requests/new" in signed_in(user).get(path).content.decode()
        }
        for user in (auditor, cast.charlie)
    }
    assert offered[auditor.username] == set()
    assert {"/environments", "/approvals", "/secrets", "/secrets/999999"} <= offered["charlie"]


def test_the_last_administrator_does_not_become_an_auditor(cast: Cast) -> None:
    with pytest.raises(Conflict):
        accounts.update_user(actor=cast.principal(cast.root), user=cast.root, role=UserRole.AUDITOR)


# --- Single sign-on ------------------------------------------------------------------------------


def test_a_group_makes_an_auditor_until_it_is_left(cast: Cast) -> None:
    system = system_principal(is_admin=True)
    map_group(actor=cast.principal(cast.root), group="audit", environment=None, role="auditor")
    assert apply_groups(actor=system, user=cast.charlie, groups=["audit"]).role == UserRole.AUDITOR
    assert apply_groups(actor=system, user=cast.charlie, groups=[]).role == UserRole.USER


def test_administering_comes_before_auditing(cast: Cast) -> None:
    root, system = cast.principal(cast.root), system_principal(is_admin=True)
    map_group(actor=root, group="audit", environment=None, role="auditor")
    map_group(actor=root, group="ops", environment=None, role="admin")
    assert apply_groups(actor=system, user=cast.charlie, groups=["audit", "ops"]).role == UserRole.ADMIN
    assert apply_groups(actor=system, user=cast.charlie, groups=["audit"]).role == UserRole.AUDITOR


def test_groups_leave_a_role_that_a_user_gave(cast: Cast, auditor: User) -> None:
    map_group(actor=cast.principal(cast.root), group="ops", environment=None, role="admin")
    system = system_principal(is_admin=True)
    assert apply_groups(actor=system, user=auditor, groups=["ops"]).role == UserRole.AUDITOR
    assert apply_groups(actor=system, user=auditor, groups=[]).role == UserRole.AUDITOR


# --- The admin -----------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [model._meta.label for model in admin.site._registry])
def test_the_admin_shows_an_auditor_each_list_and_no_way_to_change(
    browser: Client, auditor: User, label: str
) -> None:
    model, request = apps.get_model(label), RequestFactory().get("/admin/")
    request.user = auditor
    page = admin.site._registry[model]
    assert page.has_view_permission(request)
    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    assert browser.get(reverse(f"{name}_changelist")).status_code == 200
    before = _stored()
    assert browser.post(reverse(f"{name}_changelist") + "add/", {}).status_code in {403, 404}
    for action in page.get_actions(request):
        form = {"action": action, "_selected_action": ["1"], "select_across": "1"}
        browser.post(reverse(f"{name}_changelist"), form)
    assert _stored() == before


def test_the_lists_of_the_admin_offer_an_auditor_no_act(auditor: User) -> None:
    request = RequestFactory().get("/admin/")
    request.user = auditor
    offered = {name for page in admin.site._registry.values() for name in page.get_actions(request)}
    assert offered <= {"export_csv"}


def test_an_auditor_enters_the_admin(browser: Client) -> None:
    assert browser.get(reverse("admin:index")).status_code == 200
    assert browser.get("/admin/login/")["Location"] == reverse("admin:index")


def test_a_mapping_of_auditors_names_no_environment(cast: Cast) -> None:
    SamlGroupMapping.objects.create(group="g", environment=None, role="auditor")
    assert SamlGroupMapping.objects.filter(role="auditor").exists()
