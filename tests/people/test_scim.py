"""Provisioning by SCIM over HTTP: what a client may do with people, and what happens meanwhile."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal, token_principal, user_principal
from environments_app.authorization.rows import lock_authentic
from environments_app.environments import groups
from environments_app.environments.access_history import when_disabled
from environments_app.environments.memberships import grant
from environments_app.errors import (
    AdministratorsOnly,
    ConfirmationNeeded,
    Conflict,
    Forbidden,
    InvalidField,
    NameInUse,
    SignOnRefused,
)
from environments_app.models import (
    Alert,
    Departure,
    DeviceSignIn,
    LinkPurpose,
    PasswordLink,
    PersonalToken,
    ProvisionedGroup,
    ProvisionedUser,
    ScimClient,
    ServiceToken,
    Session,
    User,
    UserRole,
)
from environments_app.single_sign_on import account_binding
from environments_app.single_sign_on.account_binding import Vouched, subject_user
from environments_app.tests.cast import Cast
from environments_app.tokens import device, rotation, scim_clients
from environments_app.tokens import service as tokens
from environments_app.tokens.personal import issue_personal
from environments_app.users.accounts import create_provider_user, update_user
from environments_app.users.suspensions import confirm_account
from gateway_app.scim import filters, resources, users
from gateway_app.scim.schema import GROUP, MESSAGES, USER
from secrets_app.departures import decisions, following
from secrets_app.departures.ending import LAST_ADMINISTRATOR, offboard
from secrets_app.models import Secret
from secrets_app.provisioning import people
from secrets_app.services.read import reveal
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.django_db

Events = Callable[..., list[AuditEvent]]


class Scim:
    """A client that calls by its token, as a provider does."""

    def __init__(self, cast: Cast, name: str = "Okta", preset: str = "okta", issuer: str = "") -> None:
        self.root = user_principal(cast.root).proven()
        self.row = scim_clients.add_client(actor=self.root, name=name, preset=preset, issuer=issuer)
        self.token, self.text = scim_clients.issue_client_token(actor=self.root, client=self.row)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return getattr(Client(), method)(
            f"/scim/v2{path}",
            **({} if body is None else {"data": json.dumps(body), "content_type": "application/scim+json"}),
            headers={"authorization": f"Bearer {self.text}", **headers},
        )

    def create(self, name: str = "bea@example.com", /, **more: Any) -> Any:
        return self.call("post", "/Users", {"schemas": [USER.urn], "userName": name, **more})

    def created(self, name: str = "bea@example.com", /, **more: Any) -> tuple[str, User]:
        answer = self.create(name, **more)
        assert answer.status_code == 201, answer.content
        key = answer.json()["id"]
        return key, ProvisionedUser.objects.get(uuid=key).user

    def patch(self, id: str, *operations: Any, **headers: str) -> Any:
        body = {"schemas": [f"{MESSAGES}PatchOp"], "Operations": list(operations)}
        return self.call("patch", f"/Users/{id}", body, **headers)

    def activate(self, id: str, active: object) -> Any:
        return self.patch(id, {"op": "replace", "value": {"active": active}})

    def listed(self, query: str = "") -> list[str]:
        answer = self.call("get", f"/Users{query}")
        assert answer.status_code == 200, answer.content
        return [each["userName"] for each in answer.json()["Resources"]]


@pytest.fixture
def scim(cast: Cast) -> Scim:
    return Scim(cast)


def with_role(cast: Cast, user: User, role: str = "editor") -> None:
    actor = cast.principal(cast.alice)
    grant(
        actor=actor,
        environment=cast.development,
        user=user,
        group=None,
        role=role,
        prefix="",
        expires_at=None,
    )


def vouched(subject: str, issuer: str = "oidc:okta", **more: Any) -> Vouched:
    facts = {"username": "someone", "email": "", "display_name": "", "creates": True, **more}
    return Vouched(protocol="oidc", issuer=issuer, subject=subject, **facts)


def sign_on(subject: str, **more: Any) -> User:
    return subject_user(vouched(subject, **more), actor=system_principal(is_admin=True))


@pytest.fixture
def linked(cast: Cast) -> Scim:
    with patch.object(scim_clients, "sign_ins", return_value={"oidc:okta": "Okta", "oidc:entra": "Entra"}):
        return Scim(cast, issuer="oidc:okta")


@pytest.mark.every_database
def test_a_person_is_created_found_changed_ended_and_deleted(scim: Scim, events: Events) -> None:
    answer = scim.create(
        externalId="00u1",
        name={"givenName": "Bea", "familyName": "Berg"},
        emails=[{"value": "bea@example.com", "type": "work", "primary": True}],
        password="let-me-in",
        active=True,
    )
    user, row = User.objects.get(username="bea"), ProvisionedUser.objects.get()
    assert answer.status_code == 201
    assert answer["Location"] == f"http://testserver/scim/v2/Users/{row.uuid}"
    assert answer["Content-Type"] == "application/scim+json"
    assert (answer["ETag"], answer.json()["meta"]["version"]) == ('W/"1"', 'W/"1"')
    assert answer.json()["active"] is True
    assert "password" not in answer.json()
    assert (user.email, user.display_name, user.role) == ("bea@example.com", "Bea Berg", UserRole.USER)
    assert not user.has_usable_password()
    assert scim.listed('?filter=userName eq "BEA@example.com"') == ["bea@example.com"]
    assert scim.listed('?filter=externalId eq "00u1"') == ["bea@example.com"]
    assert scim.listed('?filter=userName eq "nobody"') == []
    assert (
        scim.patch(str(row.uuid), {"op": "Replace", "path": "userName", "value": "b@c.d"}).status_code == 200
    )
    assert scim.activate(str(row.uuid), "False").json()["active"] is False
    assert scim.call("delete", f"/Users/{row.uuid}").status_code == 204
    for method in ("get", "delete"):
        assert scim.call(method, f"/Users/{row.uuid}").status_code == 404
    assert scim.listed() == []
    user = User.objects.get(username="bea")
    assert (user.is_active, user.suspended_at is None) == (False, False)
    changes = [json.loads(event.details)["change"] for event in events(Action.USER_PROVISION)]
    assert changes == ["created", "changed", "ended", "deleted"]
    assert {event.actor_name for event in events(Action.USER_PROVISION)} == {"Okta"}
    assert all(row.is_authentic() for row in ProvisionedUser.objects.all())
    assert scim.text not in "".join(AuditEvent.objects.values_list("details", flat=True))


@pytest.mark.every_database
def test_active_false_ends_all_access_in_that_request_and_a_worker_marks_what_they_know(
    cast: Cast, scim: Scim, signed_in: Callable[[User], Client]
) -> None:
    secret = keep(cast, "known")
    key, user = scim.created()
    with_role(cast, user)
    browser = signed_in(user)
    _, text = issue_personal(actor=user_principal(user), name="laptop")
    reveal(actor=user_principal(user), secret=secret)
    assert scim.activate(key, False).status_code == 200
    assert browser.get("/api/whoami").status_code == 401
    assert Client().get("/api/whoami", headers={"authorization": f"Bearer {text}"}).status_code == 401
    assert not Session.objects.filter(user=user).exists()
    assert not PersonalToken.objects.filter(user=user, revoked_at=None).exists()
    departure = Departure.objects.get()
    assert (departure.ended_by_name, departure.ended["sessions"]) == ("Okta", 1)
    following.run()
    assert Secret.objects.get(pk=secret.pk).rotation_due_at is not None
    # Said once more, nothing happens; the account is as it was.
    before = bytes(User.objects.get(pk=user.pk).row_mac)
    assert scim.activate(key, False).status_code == 200
    assert bytes(User.objects.get(pk=user.pk).row_mac) == before


@pytest.mark.every_database
def test_a_returning_person_has_names_alone_after_a_delete_and_what_an_administrator_ended_stays_ended(
    cast: Cast, scim: Scim
) -> None:
    key, user = scim.created(externalId="00u1")
    with_role(cast, user)
    scim.activate(key, False)
    assert scim.activate(key, True).status_code == 200
    user.refresh_from_db()
    assert (user.is_active, user.suspended_at) == (True, None)
    scim.call("delete", f"/Users/{key}")
    again, same = scim.created(externalId="00u1")
    assert same == user
    assert again != key
    assert same.is_active
    assert same.suspended_at is not None
    assert same.is_authentic()
    # An administrator's end is no client's to undo.
    offboard(actor=scim.root, user=same)
    for active in (False, True):
        answer = scim.activate(again, active)
    assert (answer.status_code, answer.json()["scimType"]) == (409, "mutability")
    assert not User.objects.get(pk=user.pk).is_active


def test_a_disabled_account_is_not_enabled_by_false_and_true(cast: Cast, scim: Scim) -> None:
    key, user = scim.created(externalId="00u1", active=True)
    update_user(actor=scim.root, user=user, is_active=False)
    assert scim.call("get", f"/Users/{key}").json()["active"] is False
    assert scim.listed("?filter=active eq true") == []
    assert scim.activate(key, True).status_code == 409
    # Another change neither enables nor ends the account again.
    assert scim.patch(key, {"op": "add", "path": "displayName", "value": "B"}).json()["active"] is False
    assert not Departure.objects.exists()
    assert scim.activate(key, False).status_code == 200
    assert scim.activate(key, True).status_code == 409
    scim.call("delete", f"/Users/{key}")
    assert scim.create(externalId="00u1").status_code == 409
    user.refresh_from_db()
    assert not user.is_active
    assert user.is_authentic()


@pytest.mark.parametrize("sent", [{}, {"active": None}, {"active": []}], ids=["absent", "null", "empty"])
def test_active_is_told_as_it_is_in_keeper_whatever_the_client_said_of_it(
    scim: Scim, sent: dict[str, Any]
) -> None:
    """A provider that takes an absent one for true would believe that the person is in."""
    created = scim.create(externalId="00u1", **sent)
    key = created.json()["id"]
    user = ProvisionedUser.objects.get(uuid=key).user
    put = {"schemas": [USER.urn], "userName": "bea@example.com", **sent}

    def told() -> list[bool]:
        shown = [scim.call("get", f"/Users/{key}").json()["active"]]
        shown += [each["active"] for each in scim.call("get", "/Users").json()["Resources"]]
        shown += [bool(scim.listed("?filter=active eq true")), not scim.listed("?filter=active eq false")]
        return [*shown, bool(scim.listed("?filter=not (active eq false)"))]

    assert (created.json()["active"], told()) == (True, [True] * 5)
    offboard(actor=scim.root, user=user)
    assert told() == [False] * 5
    assert scim.call("put", f"/Users/{key}", put).json()["active"] is False
    assert told() == [False] * 5
    announced = scim.call("get", f"/Schemas/{USER.urn}").json()["attributes"]
    assert [each["required"] for each in announced if each["name"] == "active"] == [True]


@pytest.mark.parametrize("active", [True, False])
def test_a_change_that_does_not_name_active_leaves_what_an_administrator_decided(
    scim: Scim, *, active: bool
) -> None:
    key, user = scim.created(externalId="00u1", active=True)
    if active:
        scim.activate(key, False)
    update_user(actor=scim.root, user=user, is_active=active)
    before = Departure.objects.count()
    for answer in (
        scim.call("get", f"/Users/{key}"),
        scim.patch(key, {"op": "add", "path": "displayName", "value": "B"}),
        scim.call("put", f"/Users/{key}", {"schemas": [USER.urn], "userName": "bea@example.com"}),
    ):
        assert (answer.status_code, answer.json()["active"]) == (200, active)
    assert (User.objects.get(pk=user.pk).is_active, Departure.objects.count()) == (active, before)


def test_what_an_administrator_enabled_and_disabled_meanwhile_stays_disabled(scim: Scim) -> None:
    key, user = scim.created(externalId="00u1")
    scim.activate(key, False)
    for active in (True, False):
        update_user(actor=scim.root, user=user, is_active=active)
    for operation in ({"op": "remove", "path": "active"}, {"op": "add", "path": "displayName", "value": "B"}):
        scim.patch(key, operation)
    assert scim.activate(key, True).status_code in {200, 409}
    assert not User.objects.get(pk=user.pk).is_active
    assert not [*run_checks()]


def test_whom_an_administrator_offboards_after_the_client_stays_disabled(scim: Scim) -> None:
    """The account was off already: whose the last word is, the departure says alone."""
    key, user = scim.created(externalId="00u1")
    scim.activate(key, False)
    offboard(actor=scim.root, user=User.objects.get(pk=user.pk))
    answer = scim.activate(key, True)
    assert (answer.status_code, answer.json()["scimType"]) == (409, "mutability")
    assert not User.objects.get(pk=user.pk).is_active


def test_active_is_not_removed_and_true_enables_again(scim: Scim) -> None:
    key, user = scim.created(externalId="00u1")
    scim.activate(key, False)
    for operation, kind in (
        ({"op": "remove", "path": "active"}, "mutability"),
        ({"op": "replace", "path": "active", "value": None}, "invalidValue"),
        ({"op": "replace", "value": {"active": []}}, "invalidValue"),
    ):
        answer = scim.patch(key, operation)
        assert (answer.status_code, answer.json()["scimType"]) == (400, kind)
        assert scim.call("get", f"/Users/{key}").json()["active"] is False
    assert not User.objects.get(pk=user.pk).is_active
    assert scim.activate(key, True).status_code == 200
    assert User.objects.get(pk=user.pk).is_active
    assert not [*run_checks()]


def test_another_external_id_after_a_delete_is_another_person(cast: Cast, scim: Scim) -> None:
    key, user = scim.created(externalId="00u1")
    with_role(cast, user)
    scim.call("delete", f"/Users/{key}")
    _, other = scim.created(externalId="00u2")
    assert (other.username, user_principal(other).grants) == ("bea-2", ())
    _, third = scim.created("bea@other.example", externalId="00u3")
    assert third.username == "bea-3"


@pytest.mark.parametrize("name", ["erin@example.com", "ERIN", "Erin@EXAMPLE.com", "root@example.com"])
def test_a_name_or_an_address_finds_no_account(cast: Cast, scim: Scim, events: Events, name: str) -> None:
    User.objects.filter(pk=cast.erin.pk).update(email="erin@example.com")
    answer = scim.create(name, externalId="00u1")
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    denied = events(Action.USER_PROVISION)[-1]
    assert (denied.outcome, denied.object_kind) == (Outcome.DENIED, "scim-client")
    assert "does not manage" in ScimClient.objects.get().last_error
    _, user = scim.created("someone", emails=[{"value": "erin@example.com"}])
    assert user != cast.erin
    assert scim.listed('?filter=emails eq "erin@example.com"') == ["someone"]


def test_the_same_name_in_another_case_is_taken(scim: Scim) -> None:
    key, _ = scim.created("Bea@Example.com", externalId="00u1")
    for name, external_id in (("bEA@example.COM", "00u2"), ("other", "00u1")):
        assert scim.create(name, externalId=external_id).json()["scimType"] == "uniqueness"
    other, _ = scim.created("other", externalId="00u2")
    for path, value in (("userName", "BEA@example.com"), ("externalId", "00u1")):
        answer = scim.patch(other, {"op": "replace", "path": path, "value": value})
        assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    # Its own name in another spelling is a change like any.
    assert (
        scim.patch(key, {"op": "replace", "path": "userName", "value": "bea@EXAMPLE.com"}).status_code == 200
    )


def test_a_client_sees_nobody_else(cast: Cast, scim: Scim) -> None:
    other = Scim(cast, name="Entra", preset="entra")
    key, user = scim.created()
    assert other.listed() == []
    for path in (key, str(user.uuid), str(cast.erin.uuid), str(uuid4()), "x", "1"):
        assert other.call("get", f"/Users/{path}").status_code == 404
        assert other.activate(path, False).status_code == 404
        assert other.call("delete", f"/Users/{path}").status_code == 404
        put = {"schemas": [USER.urn], "userName": "x", "active": False}
        assert other.call("put", f"/Users/{path}", put).status_code == 404
    assert User.objects.get(pk=user.pk).is_active
    # A number follows the names of its own people alone.
    assert other.create().status_code == 409


def test_an_account_that_is_created_inactive_is_disabled_since_then(scim: Scim) -> None:
    _, user = scim.created(active=False)
    found = when_disabled([user])[user.uuid]
    assert found.by == scim.token.name
    scim.activate(str(ProvisionedUser.objects.get(user=user).uuid), True)
    assert when_disabled([User.objects.get(pk=user.pk)]) == {}


@pytest.mark.every_database
def test_the_last_administrator_is_held_and_ended_once_there_is_another(
    cast: Cast, scim: Scim, signed_in: Callable[[User], Client]
) -> None:
    key, user = scim.created("boss")
    update_user(actor=scim.root, user=user, role=UserRole.ADMIN)
    update_user(actor=system_principal(is_admin=True), user=cast.root, role=UserRole.USER)
    browser = signed_in(User.objects.get(pk=user.pk))
    PasswordLink(purpose=LinkPurpose.RESET, user=user, address="boss@example.com").save()
    waiting = device.start(name="kpr", address="192.0.2.7")
    device.approve(actor=cast.principal(user), code=waiting.row.user_code)
    for answer in (scim.activate(key, False), scim.call("delete", f"/Users/{key}")):
        assert (answer.status_code, answer.json()["scimType"]) == (409, "mutability")
        assert "at least one active administrator" in answer.json()["detail"]
    user.refresh_from_db()
    assert (user.is_active, user.role, user.suspended_at is None) == (True, UserRole.ADMIN, False)
    assert user.is_authentic()
    assert browser.get("/api/whoami").status_code == 401
    assert not PasswordLink.objects.filter(ended_at=None).exists()
    assert not DeviceSignIn.objects.exists()
    assert Alert.objects.filter(kind=LAST_ADMINISTRATOR, open=True).count() == 1
    assert scim.call("get", f"/Users/{key}").json()["active"] is True
    update_user(actor=system_principal(is_admin=True), user=cast.root, role=UserRole.ADMIN)
    assert scim.activate(key, False).status_code == 200
    assert not User.objects.get(pk=user.pk).is_active
    assert not Alert.objects.filter(kind=LAST_ADMINISTRATOR, open=True).exists()


def test_an_address_that_the_client_changes_resets_no_password(scim: Scim) -> None:
    """Nobody has confirmed the new one, and the one that was confirmed is the person's no more."""
    key, user = scim.created(emails=[{"value": "bea@example.com", "primary": True}])
    user.reset_email = user.email
    user.save()
    scim.patch(key, {"op": "replace", "path": "displayName", "value": "Bea"})
    assert User.objects.get(pk=user.pk).reset_email == "bea@example.com"
    scim.patch(
        key, {"op": "replace", "path": "emails", "value": [{"value": "b@other.example", "primary": True}]}
    )
    changed = User.objects.get(pk=user.pk)
    assert (changed.email, changed.reset_email, changed.is_authentic()) == ("b@other.example", "", True)


def test_no_write_changes_a_role(cast: Cast, scim: Scim) -> None:
    key, user = scim.created(roles=[{"value": "admin"}], role="admin", is_active=False)
    scim.patch(
        key,
        {"op": "add", "path": "roles", "value": [{"value": "admin", "primary": True}]},
        {"op": "replace", "value": {"role": "admin", "displayName": "B"}},
    )
    update_user(actor=scim.root, user=user, role=UserRole.ADMIN)
    scim.call("put", f"/Users/{key}", {"schemas": [USER.urn], "userName": "bea", "roles": [], "role": "user"})
    user.refresh_from_db()
    assert (user.role, user.display_name, user.is_active) == (UserRole.ADMIN, "", True)


def test_its_token_opens_scim_and_nothing_else_and_no_other_token_opens_scim(cast: Cast, scim: Scim) -> None:
    bearer = {"authorization": f"Bearer {scim.text}"}
    for path in ("/api/whoami", "/api/environments", "/api/secrets", "/api/approvals"):
        assert Client().get(path, headers=bearer).status_code == 401
    assert Client().get("/vault/v1/auth/token/lookup-self", headers=bearer).status_code == 403
    assert Client().post("/vault/v1/auth/token/create", headers=bearer).status_code == 403
    assert Client().get("/aws/credentials", headers={"authorization": scim.text}).status_code in {401, 403}
    _, admin = tokens.issue(actor=scim.root, environment=None, role="admin", name="ops")
    _, reader = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="app"
    )
    _, personal = issue_personal(actor=cast.principal(cast.erin), name="laptop")
    for text in (admin, reader, personal, "", "x", f"{scim.text[:-1]}!"):
        answer = Client().get("/scim/v2/Users", headers={"authorization": f"Bearer {text}"})
        assert (answer.status_code, answer.json()["status"]) == (401, "401")
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_nobody_but_an_administrator_gets_such_a_token(cast: Cast, scim: Scim) -> None:
    for environment in (None, cast.development):
        with pytest.raises(InvalidField):
            tokens.issue(actor=scim.root, environment=environment, role="provisioner", name="x")
    row, _ = tokens.issue(actor=scim.root, environment=None, role="admin", name="ops")
    ops = token_principal(row)
    with pytest.raises((AdministratorsOnly, Forbidden)):
        rotation.rotate(actor=ops, token=scim.token)
    for actor in (ops, user_principal(cast.alice), user_principal(cast.erin)):
        with pytest.raises((AdministratorsOnly, Forbidden)):
            scim_clients.issue_client_token(actor=actor, client=scim.row)
    new, text = rotation.rotate(actor=scim.root, token=scim.token)
    assert new.scim_client_uuid == scim.row.uuid
    for each in (scim.text, text):
        scim.text = each
        assert scim.call("get", "/Users").status_code == 200


@pytest.mark.every_database
@pytest.mark.parametrize("what", ["token", "client"])
def test_what_is_revoked_meanwhile_does_nothing(cast: Cast, scim: Scim, what: str) -> None:
    key, user = scim.created()
    real = scim_clients.client_of

    def then_revoked(actor: Principal) -> ScimClient:
        found = real(actor)
        if what == "token":
            tokens.revoke(actor=scim.root, token=scim.token)
        else:
            scim_clients.remove_client(actor=scim.root, client=scim.row)
        return found

    with patch("gateway_app.scim.views.client_of", then_revoked):
        assert scim.activate(key, False).status_code == 401
    assert User.objects.get(pk=user.pk).is_active
    assert scim.call("get", "/Users").status_code == 401
    assert not ServiceToken.objects.filter(scim_client_uuid=scim.row.uuid, revoked_at=None).exists()


def test_a_removed_client_gives_its_place_to_another(cast: Cast, linked: Scim) -> None:
    _, user = linked.created(externalId="00u1")
    assert sign_on("00u1") == user
    with patch.object(scim_clients, "sign_ins", return_value={"oidc:okta": "Okta"}):
        with pytest.raises(NameInUse):
            Scim(cast, name="Second", issuer="oidc:okta")
        removed = scim_clients.remove_client(actor=linked.root, client=linked.row)
        with pytest.raises(Conflict):
            scim_clients.issue_client_token(actor=linked.root, client=removed)
        second = Scim(cast, name="Second", issuer="oidc:okta")
        with pytest.raises(InvalidField):
            Scim(cast, name="Third", issuer="oidc:unknown")
    # It adopts who signed in by their subject, and ends them.
    key, same = second.created("bea@new.example", externalId="00u1")
    assert same == user
    assert second.activate(key, False).status_code == 200
    assert not User.objects.get(pk=user.pk).is_active
    assert not [*run_checks()]


@pytest.mark.every_database
def test_the_first_sign_in_binds_the_account_of_the_external_id(cast: Cast, linked: Scim) -> None:
    _, user = linked.created(externalId="00u1")
    for subject, more in (
        ("00u2", {"username": "bea", "email": "bea@example.com"}),
        ("00U1", {}),
        ("bea", {}),
    ):
        with pytest.raises(SignOnRefused) as refused:
            sign_on(subject, **more)
        assert refused.value.reason == "oidc-not-provisioned"
    assert sign_on("00u1") == user
    user.refresh_from_db()
    assert (user.saml_issuer, user.saml_name_id) == ("oidc:okta", "00u1")
    assert user.is_authentic()
    # From now on the subject alone decides, and the external ID stays.
    row = ProvisionedUser.objects.get()
    answer = linked.patch(str(row.uuid), {"op": "replace", "path": "externalId", "value": "00u9"})
    assert (answer.status_code, answer.json()["scimType"]) == (409, "mutability")
    assert sign_on("00u1") == user
    with pytest.raises(SignOnRefused):
        sign_on("00u9")
    # Other providers are as they were.
    assert sign_on("x1", issuer="oidc:google", username="gina").username == "gina"


def in_its_group(cast: Cast, scim: Scim, key: str) -> None:
    """Let a person be in a group that the client fills, to which a manager has given a role."""
    body = {"schemas": [GROUP.urn], "displayName": "Ops", "members": [{"value": key}]}
    assert scim.call("post", "/Groups", body).status_code == 201
    grant(
        actor=cast.principal(cast.alice), environment=cast.development, user=None,
        group=ProvisionedGroup.objects.get().group, role="editor", prefix="", expires_at=None,
    )  # fmt: skip


def test_a_changed_external_id_of_an_account_with_access_suspends_it(cast: Cast, linked: Scim) -> None:
    key, user = linked.created(externalId="00u1")
    in_its_group(cast, linked, key)
    assert linked.patch(key, _RENAMED).status_code == 200
    user.refresh_from_db()
    assert sign_on("mallory") == user
    principal = user_principal(User.objects.get(pk=user.pk))
    assert (principal.suspended, {grant.role for grant in principal.grants}) == (True, {"viewer"})
    confirm_account(
        actor=cast.principal(cast.alice), environment=cast.development, user=user, since=user.suspended_at
    )


_OFF = {"op": "replace", "path": "active", "value": False}
_ON = {**_OFF, "value": True}
_RENAMED = {"op": "replace", "path": "externalId", "value": "mallory"}


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([[_OFF], [_RENAMED], [_ON]], id="while-off"),
        pytest.param([[_OFF, _RENAMED], [_ON]], id="with-the-end"),
        pytest.param([[_OFF], [_RENAMED, _ON]], id="with-the-return"),
        pytest.param([[_OFF, _RENAMED, _ON]], id="at-once"),
    ],
)
def test_an_external_id_that_changes_while_the_account_is_off_suspends_it(
    cast: Cast, linked: Scim, requests: list[list[dict[str, Any]]]
) -> None:
    key, user = linked.created(externalId="00u1")
    in_its_group(cast, linked, key)
    for operations in requests:
        assert linked.patch(key, *operations).status_code == 200
    # The person left it with the end, and the provider puts whoever it is in again.
    body = {"schemas": [GROUP.urn], "displayName": "Ops", "members": [{"value": key}]}
    group = ProvisionedGroup.objects.get()
    assert linked.call("put", f"/Groups/{group.uuid}", body).status_code == 200
    assert sign_on("mallory") == user
    principal = user_principal(User.objects.get(pk=user.pk))
    assert (principal.suspended, {each.role for each in principal.grants}) == (True, {"viewer"})
    assert not [*run_checks()]


@pytest.mark.parametrize("given", ["role", "membership", "group"])
def test_the_external_id_of_an_account_that_others_gave_something_stays(
    cast: Cast, linked: Scim, events: Events, given: str
) -> None:
    """It was given between the client's look at the person and its write."""
    key, user = linked.created(externalId="00u1")

    def give() -> None:
        if given == "role":
            update_user(actor=linked.root, user=User.objects.get(pk=user.pk), role="admin")
        elif given == "membership":
            with_role(cast, user)
        else:
            group = groups.create_group(actor=linked.root, name="Staff")
            groups.add_to_group(actor=linked.root, user=user, group=group)

    @contextmanager
    def meanwhile(row: Any, **more: Any) -> Iterator[Any]:
        give()
        with lock_authentic(row, **more) as stored:
            yield stored

    with patch.object(people, "lock_authentic", meanwhile):
        answer = linked.patch(key, _RENAMED)
    assert (answer.status_code, answer.json()["scimType"]) == (409, "mutability")
    denied = events(Action.USER_PROVISION)[-1]
    assert (denied.outcome, json.loads(denied.details)["reason"]) == (Outcome.DENIED, "mutability")
    assert "externalId of this user stays" in ScimClient.objects.get().last_error
    # What was given in the refused request's transaction went with it.
    give()
    for operations in ([_OFF, _RENAMED, _ON], [{"op": "remove", "path": "externalId"}]):
        assert linked.patch(key, *operations).status_code == 409
    whole = {"schemas": [USER.urn], "userName": "bea@example.com", "externalId": "mallory"}
    assert linked.call("put", f"/Users/{key}", whole).status_code == 409
    with pytest.raises(SignOnRefused):
        sign_on("mallory")
    assert sign_on("00u1") == user


def signs_in(subject: str) -> bool:
    try:
        return bool(sign_on(subject))
    except SignOnRefused:
        return False


def whole(external_id: str, **more: Any) -> dict[str, Any]:
    """Return a person as Okta sends one who is assigned: it looks for the userName, and puts all of it."""
    return {
        "schemas": [USER.urn],
        "userName": "bea@example.com",
        "externalId": external_id,
        "active": True,
        **more,
    }


@pytest.mark.every_database
@pytest.mark.parametrize("given", ["nothing", "membership", "administrator", "group"])
def test_a_person_hired_again_by_another_external_id_does_not_get_the_account_of_who_signed_in(
    cast: Cast, linked: Scim, given: str
) -> None:
    """Else the one who left would read again, and the one who came would stay outside."""
    key, user = linked.created(externalId="00u1", active=True)
    sign_on("00u1")
    user.refresh_from_db()
    if given == "membership":
        with_role(cast, user)
    elif given == "administrator":
        update_user(actor=linked.root, user=user, role="admin")
    elif given == "group":
        in_its_group(cast, linked, key)
    assert linked.patch(key, _OFF).status_code == 200
    before = linked.call("get", f"/Users/{key}").json()
    for answer in (
        linked.call("put", f"/Users/{key}", whole("00u2")),
        linked.patch(key, _ON, {**_RENAMED, "value": "00u2"}),
        linked.patch(key, {"op": "remove", "path": "externalId"}),
    ):
        assert (answer.status_code, answer.json()["scimType"]) == (409, "mutability")
        assert "hands it over (People, its page, Hand over)" in answer.json()["detail"]
    assert linked.call("get", f"/Users/{key}").json() == before
    assert "00u2" not in json.dumps(before)
    assert (signs_in("00u1"), signs_in("00u2")) == (False, False)
    # As a new person beside, the name is taken; the words say what frees it.
    answer = linked.create(externalId="00u2", active=True)
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    assert "delete that user, or have an administrator of Keeper hand" in answer.json()["detail"]
    # Once deleted, the new person has another account, which nobody gave anything.
    assert linked.call("delete", f"/Users/{key}").status_code == 204
    _, other = linked.created(externalId="00u2", active=True)
    assert (other.username, user_principal(other).grants) == ("bea-2", ())
    assert sign_on("00u2") == other
    assert not signs_in("00u1")
    # The one who left comes back by the same external ID, and to the same account.
    again, same = linked.created("bea@old.example", externalId="00u1", active=True)
    assert (same, same.suspended_at is None) == (user, False)
    assert sign_on("00u1") == user
    assert linked.patch(again, _OFF).status_code == 200
    assert not [*run_checks()]


def test_an_account_that_has_signed_in_otherwise_keeps_its_external_id_too(scim: Scim) -> None:
    """Also where the client is linked to no sign-in."""
    key, user = scim.created(externalId="00u1")
    assert scim.patch(key, _RENAMED).status_code == 200
    User.objects.filter(pk=user.pk).update(last_login=timezone.now())
    assert scim.patch(key, {**_RENAMED, "value": "00u1"}).status_code == 409


def test_a_put_without_an_external_id_leaves_it(linked: Scim) -> None:
    """Okta's custom applications send none."""
    key, user = linked.created(externalId="00u1")
    sent = whole("")
    del sent["externalId"]
    for _ in range(2):
        answer = linked.call("put", f"/Users/{key}", sent)
        assert (answer.status_code, answer.json()["externalId"]) == (200, "00u1")
        assert sign_on("00u1") == user


def test_a_person_is_not_renamed_to_a_subject_that_signs_in_to_another_account(linked: Scim) -> None:
    other = create_provider_user(
        actor=system_principal(is_admin=True), username="sue", issuer="oidc:okta", name_id="mallory"
    )
    key, _ = linked.created(externalId="00u1")
    answer = linked.patch(key, _RENAMED)
    assert (answer.status_code, answer.json()["scimType"]) == (409, "mutability")
    linked.call("delete", f"/Users/{key}")
    assert linked.created(externalId="mallory")[1] == other


@pytest.mark.parametrize("change", ["renamed", "deleted"])
def test_a_first_sign_in_binds_nobody_who_is_provisioned_otherwise_meanwhile(
    linked: Scim, change: str
) -> None:
    key, user = linked.created(externalId="00u1")

    @contextmanager
    def meanwhile(row: Any) -> Iterator[Any]:
        if change == "renamed":
            assert linked.patch(key, _RENAMED).status_code == 200
        else:
            linked.call("delete", f"/Users/{key}")
        with lock_authentic(row) as stored:
            yield stored

    with patch.object(account_binding, "lock_authentic", meanwhile), pytest.raises(SignOnRefused):
        sign_on("00u1")
    user.refresh_from_db()
    assert user.saml_issuer is None


def test_what_managers_confirmed_before_is_no_word_about_another_external_id(
    cast: Cast, linked: Scim
) -> None:
    key, user = linked.created(externalId="00u1")
    in_its_group(cast, linked, key)
    linked.call("delete", f"/Users/{key}")
    key, user = linked.created(externalId="00u1")
    group = ProvisionedGroup.objects.get()
    body = {"schemas": [GROUP.urn], "displayName": "Ops", "members": [{"value": key}]}
    assert linked.call("put", f"/Groups/{group.uuid}", body).status_code == 200
    alice = cast.principal(cast.alice)
    confirm_account(actor=alice, environment=cast.development, user=user, since=user.suspended_at)
    assert {each.role for each in user_principal(user).grants} == {"editor"}
    linked.patch(key, _RENAMED)
    assert {each.role for each in user_principal(User.objects.get(pk=user.pk)).grants} == {"viewer"}


def filled(scim: Scim, *keys: str) -> None:
    """Let the client's group have these members and no others."""
    body = {"schemas": [GROUP.urn], "displayName": "Ops", "members": [{"value": key} for key in keys]}
    assert scim.call("put", f"/Groups/{ProvisionedGroup.objects.get().uuid}", body).status_code == 200


def test_a_confirmed_account_becomes_nobody_elses_by_a_way_out_of_its_group(cast: Cast, linked: Scim) -> None:
    key, user = linked.created(externalId="00u1")
    in_its_group(cast, linked, key)
    alice, place = cast.principal(cast.alice), cast.development
    confirm_account(actor=alice, environment=place, user=user, since=None)
    assert CustodyGraph().behind(user.uuid, environment=place) == {user.uuid}
    filled(linked)
    assert linked.patch(key, _RENAMED).status_code == 200
    filled(linked, key)
    assert sign_on("mallory") == user
    assert {each.role for each in user_principal(User.objects.get(pk=user.pk)).grants} == {"viewer"}
    # Whoever has the client's token could be this person.
    assert {linked.token.uuid, cast.root.uuid} <= CustodyGraph().behind(user.uuid, environment=place)


def test_who_changed_an_external_id_stands_behind_the_account_beside_who_made_it(
    cast: Cast, linked: Scim
) -> None:
    """The client's token of another administrator, who made nothing of it before."""
    key, user = linked.created(externalId="00u1")
    other = User.objects.create_user("other", role="admin")
    rotated, linked.text = scim_clients.issue_client_token(
        actor=user_principal(other).proven(), client=linked.row
    )
    assert other.uuid not in CustodyGraph().behind(user.uuid, environment=None)
    assert linked.patch(key, _RENAMED).status_code == 200
    user.refresh_from_db()
    assert {rotated.uuid, other.uuid} <= CustodyGraph().behind(user.uuid, environment=None)
    # Nobody had given it anything, and nobody's word is about it.
    assert user.suspended_at is None


def test_a_deleted_person_who_is_created_disabled_returns_with_names_alone(cast: Cast, scim: Scim) -> None:
    key, user = scim.created(externalId="00u1")
    with_role(cast, user)
    scim.call("delete", f"/Users/{key}")
    again, _ = scim.created(externalId="00u1", active=False)
    assert scim.patch(again, _ON).status_code == 200
    user.refresh_from_db()
    assert (user.is_active, user.suspended_at is not None) == (True, True)
    assert not [*run_checks()]


def test_entra_proves_the_object_id_and_saml_the_attribute(cast: Cast) -> None:
    with patch.object(scim_clients, "sign_ins", return_value={"oidc:entra": "Entra", "saml": "SAML"}):
        entra = Scim(cast, name="Entra", preset="entra", issuer="oidc:entra")
        saml = Scim(cast, name="Corp", issuer="saml")
    _, user = entra.created("ea@corp.example", externalId="oid-1")
    with pytest.raises(SignOnRefused):
        sign_on("oid-1", issuer="oidc:entra")
    assert sign_on("pairwise", issuer="oidc:entra", directory_id="oid-1") == user
    _, second = saml.created("sam@corp.example", externalId="00u7")
    with pytest.raises(SignOnRefused):
        sign_on("00u7", issuer="https://idp.example", directory_id="00u8")
    assert sign_on("sam@corp.example", issuer="https://idp.example", directory_id="00u7") == second


def test_an_account_of_the_same_subject_is_adopted(cast: Cast, linked: Scim, events: Events) -> None:
    def known(username: str, subject: str, issuer: str = "oidc:okta") -> User:
        return create_provider_user(
            actor=system_principal(is_admin=True), username=username, issuer=issuer, name_id=subject
        )

    bea, carl = known("bea", "00u1"), known("carl", "00u2")
    foreign = known("gina", "00u3", issuer="oidc:google")
    assert linked.listed() == []
    assert linked.created("bea@example.com", externalId="00u1", active=True)[1] == bea
    assert linked.create("carl@example.com", externalId="00u9").status_code == 409
    assert linked.created("c@example.com", externalId="00u2", active=False)[1] == carl
    assert linked.create("gina@example.com", externalId="00u3").status_code == 409
    assert [User.objects.get(pk=user.pk).is_active for user in (bea, carl, foreign)] == [True, False, True]
    assert [user.is_authentic() for user in User.objects.all()] == [True] * User.objects.count()
    assert [json.loads(event.details).get("change") for event in events(Action.USER_PROVISION)] == [
        "adopted", None, "adopted", None,
    ]  # fmt: skip


def test_two_workers_that_create_the_same_person_make_one(cast: Cast, scim: Scim) -> None:
    from secrets_app.provisioning import people

    real = people._require_free

    def and_another(client: ScimClient, wanted: dict[str, Any], row: ProvisionedUser | None) -> None:
        real(client, wanted, row)
        with patch.object(people, "_require_free", real):
            assert scim.create(externalId="00u1").status_code == 201

    # Without the lock of the client's row the other one comes between; the constraint is what is left.
    with patch.object(people, "_require_free", and_another):
        answer = scim.create(externalId="00u1")
    assert (answer.status_code, ProvisionedUser.objects.count()) in {(409, 0), (409, 1)}


def test_conditions(scim: Scim) -> None:
    key, _ = scim.created(displayName="A")
    path = f"/Users/{key}"
    assert scim.call("get", path, **{"if-none-match": 'W/"1"'}).status_code == 304
    change = {"op": "replace", "path": "displayName", "value": "B"}
    assert scim.patch(key, change, **{"if-match": 'W/"7"'}).status_code == 412
    assert scim.patch(key, change, **{"if-match": 'W/"1"'})["ETag"] == 'W/"2"'
    # Nothing changed: nothing is counted.
    assert scim.patch(key, change, **{"if-match": "*"})["ETag"] == 'W/"2"'
    assert scim.call("delete", path, **{"if-match": '"1"'}).status_code == 412
    assert scim.call("delete", path, **{"if-match": '"2"'}).status_code == 204


def test_pages_and_parts(scim: Scim) -> None:
    for number in range(5):
        scim.created(f"p{number}", name={"givenName": "P", "familyName": str(number)})
    page = scim.call("get", "/Users?startIndex=2&count=2").json()
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, 2, 2)
    assert [each["userName"] for each in page["Resources"]] == ["p1", "p2"]
    assert scim.listed("?startIndex=0&count=1&sortBy=userName") == ["p0"]
    assert scim.call("get", "/Users?count=0").json()["totalResults"] == 5
    assert scim.listed("?startIndex=9") == []
    assert scim.call("get", "/Users?count=x").json()["scimType"] == "invalidValue"
    filtered = scim.call("get", '/Users?filter=userName sw "p"&startIndex=4&count=5').json()
    assert (filtered["totalResults"], len(filtered["Resources"])) == (5, 2)
    part = scim.call("get", "/Users?count=1&attributes=name.familyName,userName").json()["Resources"][0]
    assert part == {"schemas": [USER.urn], "id": part["id"], "userName": "p0", "name": {"familyName": "0"}}
    left = scim.call("get", f"/Users/{part['id']}?excludedAttributes=name.familyName,meta,id").json()
    assert left["name"] == {"givenName": "P"}
    assert left.keys() == {"schemas", "id", "userName", "name", "active"}
    body = {"schemas": [f"{MESSAGES}SearchRequest"], "filter": 'userName eq "p3"', "attributes": ["userName"]}
    found = scim.call("post", "/Users/.search", body).json()["Resources"]
    assert [each["userName"] for each in found] == ["p3"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("post", "/Users", "x", 400, "invalidSyntax"),
        ("post", "/Users", {"userName": "a"}, 400, "invalidSyntax"),
        ("post", "/Users", {"schemas": [USER.urn]}, 400, "invalidValue"),
        ("post", "/Users", {"schemas": [USER.urn], "userName": "а" * 3 + "bc"}, 400, "invalidValue"),
        ("post", "/Users", {"schemas": [USER.urn], "userName": "@example.com"}, 400, "invalidValue"),
        ("post", "/Users", {"schemas": [USER.urn], "userName": "system"}, 400, "invalidValue"),
        ("post", "/Users", {"schemas": [USER.urn], "userName": "a", "active": "maybe"}, 400, "invalidValue"),
        ("get", '/Users?filter=password eq "x"', None, 400, "invalidFilter"),
        ("get", "/Users?filter=((((((((((((", None, 400, "invalidFilter"),
        ("get", "/Me", None, 501, None),
        ("post", "/Bulk", {}, 501, None),
        ("get", "/Nothing", None, 404, None),
        ("delete", "/Users", None, 405, None),
        ("get", "/Schemas/urn:none", None, 404, None),
        ("get", '/Schemas?filter=id eq "x"', None, 403, None),
    ],
)  # fmt: skip
def test_refusals_have_the_form_of_the_protocol(
    scim: Scim, method: str, path: str, body: Any, status: int, kind: str | None
) -> None:
    answer = scim.call(method, path, body)
    assert answer.status_code == status
    document = answer.json()
    assert document["schemas"] == [f"{MESSAGES}Error"]
    assert (document["status"], document.get("scimType")) == (str(status), kind)
    assert document["detail"]


def test_a_body_is_limited_and_names_things_once(scim: Scim) -> None:
    large = {"schemas": [USER.urn], "userName": "a", "nickName": "x" * (2 * 1024 * 1024)}
    assert scim.call("post", "/Users", large).status_code == 413
    for body in (b'{"userName": "a", "userName": "b"}', b"\xff", b"[" * 100_000, b""):
        answer = Client().post(
            "/scim/v2/Users", body, content_type="application/json",
            headers={"authorization": f"Bearer {scim.text}"},
        )  # fmt: skip
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidSyntax")


def test_a_forged_row_manages_nobody(cast: Cast, scim: Scim) -> None:
    key, _ = scim.created(externalId="00u1")
    ProvisionedUser.objects.filter(uuid=key).update(user=cast.erin)
    assert scim.call("get", f"/Users/{key}").status_code == 404
    assert scim.listed() == []
    assert scim.activate(key, False).status_code == 409
    assert User.objects.get(pk=cast.erin.pk).is_active
    ScimClient.objects.update(preset="entra")
    assert scim.call("get", "/Users").status_code == 401


def test_a_sent_number_of_people_is_listed_fast_enough(
    cast: Cast, scim: Scim, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    for number in range(3):
        scim.created(f"p{number}")
    with django_assert_max_num_queries(12):
        assert len(scim.listed()) == 3


def test_ended_at_is_told_to_administrators_when_a_client_is_added(cast: Cast, settings: Settings) -> None:
    from environments_app.models import Delivery

    update_user(actor=system_principal(is_admin=True), user=cast.root, email="root@example.com")
    scim = Scim(cast)
    assert Delivery.objects.filter(kind="scim-client").count() == 2
    assert scim.token.expires_at is not None
    assert (scim.token.expires_at - timezone.now()).days == 364
    assert UUID(str(scim.token.scim_client_uuid)) == scim.row.uuid


def rotations(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Return the list that fills with what policies are asked to rotate."""
    rotated: list[UUID] = []

    def queue(uuids: list[UUID]) -> set[UUID]:
        rotated.extend(uuids)
        return set(uuids)

    monkeypatch.setattr(following, "_queues", lambda: (queue,))
    return rotated


def many(scim: Scim, number: int, name: str = "p") -> list[str]:
    return [scim.created(f"{name}{each}")[0] for each in range(number)]


@pytest.mark.every_database
def test_a_mass_leave_ends_everybody_and_its_rotations_wait_for_an_administrator(
    cast: Cast, scim: Scim, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated = rotations(monkeypatch)
    secret = keep(cast, "known")
    people = many(scim, 12)
    last = ProvisionedUser.objects.get(uuid=people[-1]).user
    with_role(cast, last)
    reveal(actor=user_principal(last), secret=secret)
    for key in people:
        assert scim.activate(key, False).status_code == 200
    assert not User.objects.filter(provisioned__client=scim.row, is_active=True).exists()
    assert Departure.objects.filter(held_at__isnull=False).count() == 12
    assert Alert.objects.filter(kind=decisions.MASS_LEAVE, open=True).count() == 1
    following.run()
    # It is marked and told, and not rotated.
    assert Secret.objects.get(pk=secret.pk).rotation_due_at is not None
    assert rotated == []
    # Deleted later, they still wait.
    Departure.objects.update(counted_at=None)
    scim.call("delete", f"/Users/{people[-1]}")
    following.run()
    assert rotated == []
    departure = Departure.objects.get(user=last)
    for actor in (user_principal(cast.alice), replace(scim.root, confirmed=False)):
        with pytest.raises((Forbidden, ConfirmationNeeded)):
            decisions.continue_rotations(actor=actor, departure=departure)
    decisions.continue_rotations(actor=scim.root, departure=departure)
    assert not Departure.objects.filter(held_at__isnull=False).exists()
    assert not Alert.objects.filter(kind=decisions.MASS_LEAVE, open=True).exists()
    following.run()
    assert rotated == [secret.uuid]
    with pytest.raises(Conflict):
        decisions.continue_rotations(actor=scim.root, departure=departure)
    assert all(row.is_authentic() for row in Departure.objects.select_related("user"))


def test_few_of_many_and_fewer_than_ten_do_not_wait(cast: Cast, scim: Scim) -> None:
    people = many(scim, 50)
    User.objects.filter(provisioned__client=scim.row).update(last_login=timezone.now())
    for key in people[:10]:
        scim.activate(key, False)
    assert not Departure.objects.filter(held_at__isnull=False).exists()
    scim.activate(people[10], False)
    assert Departure.objects.filter(held_at__isnull=False).count() == 11
    other = Scim(cast, name="Small")
    for key in many(other, 9, "q"):
        other.activate(key, False)
    assert Departure.objects.filter(held_at__isnull=False).count() == 11


def test_an_administrator_lets_the_rotations_of_one_client_go_on_alone(cast: Cast, scim: Scim) -> None:
    other = Scim(cast, name="Second")
    for client, name in ((scim, "p"), (other, "q")):
        for key in many(client, 10, name):
            client.activate(key, False)
    departure = Departure.objects.filter(ended_by_uuid=scim.token.uuid).select_related("user").latest("pk")
    decisions.continue_rotations(actor=scim.root, departure=departure)
    held = Departure.objects.filter(held_at__isnull=False)
    assert set(held.values_list("ended_by_uuid", flat=True)) == {other.token.uuid}


def test_held_while_a_worker_counts_it_is_not_rotated(
    cast: Cast, scim: Scim, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated = rotations(monkeypatch)
    secret = keep(cast, "known")
    key, user = scim.created()
    with_role(cast, user)
    reveal(actor=user_principal(user), secret=secret)
    scim.activate(key, False)
    real = following.mark

    def then_held(*arguments: Any) -> None:
        real(*arguments)
        row = Departure.objects.get()
        row.held_at = timezone.now()
        row.save(update_fields=["held_at"])

    monkeypatch.setattr(following, "mark", then_held)
    following.run()
    assert rotated == []


def test_an_administrator_who_ends_one_of_them_does_not_wait(cast: Cast, scim: Scim) -> None:
    for key in many(scim, 10):
        scim.activate(key, False)
    departure = Departure.objects.filter(held_at__isnull=False).select_related("user").latest("pk")
    offboard(actor=scim.root, user=departure.user)
    assert Departure.objects.get(pk=departure.pk).held_at is None


def test_people_whom_the_client_makes_itself_do_not_loosen_the_brake(cast: Cast, scim: Scim) -> None:
    people = many(scim, 12)
    User.objects.filter(provisioned__client=scim.row).update(last_login=timezone.now())
    fill = many(scim, 60, "fill")
    body = {"schemas": [GROUP.urn], "displayName": "Ops", "members": [{"value": each} for each in fill]}
    assert scim.call("post", "/Groups", body).status_code == 201
    group = ProvisionedGroup.objects.get().group
    grant(
        actor=cast.principal(cast.alice), environment=cast.development, user=None, group=group,
        role="reader", prefix="", expires_at=None,
    )  # fmt: skip
    for key in people[:11]:
        scim.activate(key, False)
    assert Departure.objects.filter(held_at__isnull=False).count() == 11
    assert "ended 11 of 12" in Alert.objects.get(kind=decisions.MASS_LEAVE).subject
    scim.activate(people[11], False)
    assert "ended 12 of 12" in Alert.objects.get(kind=decisions.MASS_LEAVE).subject


def test_people_with_access_count_before_they_sign_in(cast: Cast, scim: Scim) -> None:
    people = many(scim, 51)
    for each in ProvisionedUser.objects.filter(client=scim.row).select_related("user"):
        with_role(cast, each.user, "viewer")
    for key in people[:10]:
        scim.activate(key, False)
    assert not Departure.objects.filter(held_at__isnull=False).exists()


def test_what_an_administrator_has_continued_is_not_held_by_the_next_end(cast: Cast, scim: Scim) -> None:
    people = many(scim, 12)
    for key in people[:11]:
        scim.activate(key, False)
    decisions.continue_rotations(actor=scim.root, departure=Departure.objects.latest("pk"))
    scim.activate(people[11], False)
    assert not Departure.objects.filter(held_at__isnull=False).exists()


@pytest.mark.parametrize("start", [2**63, 10**30])
def test_behind_the_last_person_there_is_nobody(scim: Scim, start: int) -> None:
    scim.created()
    assert scim.listed(f"?startIndex={start}") == []
    for path in ("/Users/.search", "/.search"):
        answer = scim.call("post", path, {"startIndex": str(start)})
        assert (answer.status_code, answer.json()["Resources"]) == (200, [])


@pytest.mark.parametrize(
    ("name", "status"), [("аlice", 400), ("alice", 409), ("system", 400), ("bea@other.example", 200)]
)
@pytest.mark.parametrize("method", ["patch", "put"])
def test_a_new_name_is_held_to_the_rules_of_a_first_one(
    cast: Cast, scim: Scim, method: str, name: str, status: int
) -> None:
    key, _ = scim.created()
    if method == "patch":
        answer = scim.patch(key, {"op": "replace", "path": "userName", "value": name})
    else:
        answer = scim.call("put", f"/Users/{key}", {"schemas": [USER.urn], "userName": name})
    assert answer.status_code == status
    assert scim.listed() == [name if status == 200 else "bea@example.com"]


@pytest.mark.every_database
@pytest.mark.parametrize(
    ("text", "looked_at"),
    [
        ('userName eq "P1@EXAMPLE.COM"', 1),
        ('userName sw "p1"', 2),
        ('userName co "%"', 1),
        ('userName ew "éa@x.y"', 1),
        ('userName sw "cafe"', 0),
        ('externalId eq "x1"', 1),
        ("active eq false", 1),
        ('userName sw "p1" and displayName co "ten"', 2),
        ('userName eq "p1@example.com" or externalId eq "x3"', 2),
        ('userName eq "p1@example.com" or displayName eq "ten"', 5),
        ('not (userName eq "p1@example.com")', 5),
        ('userName ne "p1@example.com"', 5),
        ('emails[type eq "work"].value eq "TEN@x.y"', 5),
        ('meta.lastModified gt "2031-01-01T00:00:00Z"', 0),
        ('meta.created ge "2001-01-01T00:00:00+14:00"', 5),
        ('meta.created gt "9999-12-31T23:59:59-14:00"', 5),
        ('meta.created gt "0001-01-01T00:00:00+14:00"', 5),
        ('groups.value eq "GROUP"', 2),
        ("groups pr and active eq true", 4),
        ('id eq "nothing"', 0),
        ('active eq true or meta.created lt "2001-01-01T00:00:00Z"', 5),
    ],
)
def test_the_database_leaves_out_nobody_who_fits(scim: Scim, text: str, looked_at: int) -> None:
    names = ["p1@example.com", "p10@example.com", "50%@x.y", "Cafe\u0301a@x.y", "off@x.y"]
    ids = [scim.created(name, externalId=f"x{n}", active=n < 4)[0] for n, name in enumerate(names)]
    scim.patch(ids[1], {"op": "add", "value": {"displayName": "Number ten", "emails": "ten@x.y"}})
    scim.patch(ids[1], {"op": "add", "path": 'emails[value eq "ten@x.y"].type', "value": "work"})
    members = [{"value": ids[0]}, {"value": ids[3]}]
    body = {"schemas": [GROUP.urn], "displayName": "All", "members": members}
    text = text.replace("GROUP", scim.call("post", "/Groups", body).json()["id"])
    every = scim.call("get", "/Users").json()["Resources"]
    expected = [each["userName"] for each in every if filters.fits(filters.parsed(text, USER), each)]
    with patch.object(resources, "fits", wraps=filters.fits) as judged:
        assert scim.listed(f"?filter={quote(text)}") == expected
    assert judged.call_count == looked_at


def test_people_are_judged_some_at_a_time(scim: Scim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "BATCH", 2)
    told: list[int] = []
    real = users.UserResources.compared

    def compared(view: Any, rows: Any, names: set[str]) -> Any:
        with CaptureQueriesContext(connection) as asked:
            yield from real(view, rows, names)
        told.append(sum('"attributes"' in each["sql"].replace("`", '"') for each in asked.captured_queries))

    monkeypatch.setattr(users.UserResources, "compared", compared)
    for name in ("a", "b", "c", "d", "e"):
        scim.created(f"{name}@example.com", emails=[{"value": f"{name}@mail.example", "primary": True}])
    query = quote('emails co "@mail.example" and not (emails eq "b@mail.example")')
    assert scim.listed(f"?filter={query}") == [f"{name}@example.com" for name in "acde"]
    assert told == [3]


def test_a_user_was_changed_no_earlier_than_it_was_created(scim: Scim) -> None:
    key, _ = scim.created()
    row = ProvisionedUser.objects.get(uuid=key)
    ProvisionedUser.objects.filter(pk=row.pk).update(changed_at=row.created_at - timedelta(seconds=1))
    meta = scim.call("get", f"/Users/{key}").json()["meta"]
    assert meta["lastModified"] == meta["created"]


def test_a_client_is_told_what_it_can_ask_for_and_nothing_else(scim: Scim) -> None:
    for name in ("zoe@example.com", "abe@example.com"):
        scim.created(name)
    answer = scim.call("get", "/ServiceProviderConfig").json()
    supported = {name: part["supported"] for name, part in answer.items() if "supported" in part}
    assert supported == {
        "patch": True, "bulk": False, "filter": True, "changePassword": False, "sort": False, "etag": True,
    }  # fmt: skip
    assert scim.listed("?sortBy=userName") == scim.listed()
    assert scim.call("post", "/Bulk", {}).status_code == 501
