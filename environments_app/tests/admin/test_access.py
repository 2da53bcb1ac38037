import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.principals import system_principal
from environments_app.models import Approval, Environment, GroupMember, Membership, ServiceToken, User
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.service import issue

Events = Callable[..., list[AuditEvent]]
ADMIN = "/admin/environments_app"
NEW = "another-long-passphrase"


@pytest.fixture
def root(cast: Cast, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(cast.root)


@pytest.fixture
def token(cast: Cast) -> ServiceToken:
    return issue(
        actor=system_principal(is_admin=True), environment=cast.development, role="reader", name="ci"
    )[0]


def test_only_administrators_enter(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    assert signed_in(cast.alice).get("/admin/").status_code in {302, 403}
    assert signed_in(cast.root).get("/admin/").status_code == 200


@pytest.mark.parametrize("model", ["user", "environment", "membership", "servicetoken", "groupmember"])
def test_no_page_shows_a_hash_or_a_mac(root: Client, cast: Cast, token: ServiceToken, model: str) -> None:
    GroupMember.objects.create(user=cast.bob, group=Group.objects.create(name="ops"))
    rows = {
        "user": cast.alice,
        "environment": cast.development,
        "membership": Membership.objects.get(user=cast.bob),
        "servicetoken": token,
        "groupmember": GroupMember.objects.get(),
    }
    row = rows[model]
    for path in (
        f"{ADMIN}/{model}/",
        f"{ADMIN}/{model}/{row.pk}/change/",
        f"{ADMIN}/{model}/{row.pk}/delete/",
        f"{ADMIN}/{model}/{row.pk}/history/",
    ):
        page = root.get(path)
        assert page.status_code in {200, 302, 404}
        text = page.content.decode()
        assert token.secret_hash not in text
        assert row.row_mac.hex() not in text.replace(" ", "").lower()
        assert "row_mac" not in text
        assert cast.alice.password not in text
        # As a word: tokens against CSRF have any letters somewhere.
        assert not re.search(r"\bargon2\b", text)


def test_a_user_is_made_by_the_use_case(root: Client, cast: Cast, events: Events) -> None:
    response = root.post(
        f"{ADMIN}/user/add/",
        {
            "username": "Dora",
            "email": "",
            "display_name": "",
            "role": "user",
            "is_active": "on",
            "new_password": NEW,
        },
    )
    assert response.status_code == 302
    dora = User.objects.get(username="dora")
    assert dora.is_authentic()
    assert dora.check_password(NEW)
    (event,) = events(Action.USER_CREATE)
    assert event.actor_name == "root"


@pytest.mark.parametrize(
    ("given", "told"), [({"username": "аlice"}, "one alphabet"), ({"new_password": "short"}, "too short")]
)
def test_a_refusal_is_told_beside_its_field_and_nothing_typed_is_lost(
    root: Client, cast: Cast, given: dict[str, str], told: str
) -> None:
    form = {"username": "dora", "email": "dora@example.com", "display_name": "", "role": "user"}
    response = root.post(f"{ADMIN}/user/add/", form | {"is_active": "on", "new_password": NEW} | given)
    assert response.status_code == 200
    page = response.content.decode()
    assert told in page
    assert 'value="dora@example.com"' in page
    assert User.objects.count() == 6


def test_a_new_account_is_asked_nothing_about_what_it_had(root: Client, cast: Cast) -> None:
    new = root.get(f"{ADMIN}/user/add/").content.decode()
    known = root.get(f"{ADMIN}/user/{cast.bob.pk}/change/").content.decode()
    assert ("single sign-on only" in new, "single sign-on only" in known) == (True, False)
    assert ("it stays" in new, "it stays" in known) == (False, True)
    assert ("second_factor" in new, "second_factor" in known) == (False, True)


def test_a_membership_is_called_by_names(root: Client, cast: Cast) -> None:
    form = {"environment": cast.production.pk, "user": cast.bob.pk, "role": "reader", "prefix": ""}
    told = root.post(f"{ADMIN}/membership/add/", form, follow=True).content.decode()
    assert "bob: reader in production" in told


def test_what_the_menu_names_is_english(root: Client, cast: Cast) -> None:
    menu = root.get("/admin/").content.decode()
    for name in ("Failed sign-ins", "Rotation policies", "Synced secrets"):
        assert f">{name}<" in menu


def test_a_user_is_changed_by_the_use_case(root: Client, cast: Cast, events: Events) -> None:
    form = {
        "email": "bob@example.com",
        "display_name": "Bob",
        "role": "admin",
        "is_active": "on",
        "new_password": NEW,
    }
    assert root.post(f"{ADMIN}/user/{cast.bob.pk}/change/", form).status_code == 302
    bob = User.objects.get(pk=cast.bob.pk)
    assert (bob.role, bob.is_authentic(), bob.check_password(NEW)) == ("admin", True, True)
    assert len(events(Action.USER_CHANGE)) == 2


def test_users_are_not_deleted(root: Client, cast: Cast) -> None:
    assert root.post(f"{ADMIN}/user/{cast.bob.pk}/delete/", {"post": "yes"}).status_code == 404
    assert User.objects.filter(pk=cast.bob.pk).exists()


def test_letting_oneself_in_breaks_the_glass_here_too(root: Client, cast: Cast, events: Events) -> None:
    form = {"environment": cast.production.pk, "user": cast.root.pk, "role": "reader", "prefix": ""}
    assert root.post(f"{ADMIN}/membership/add/", form).status_code == 302
    assert events(Action.BREAK_GLASS)
    assert len(cast.principal(cast.root).grants) == 1


@pytest.mark.parametrize("whom", ["neither", "both"])
def test_a_membership_is_of_a_person_or_a_group_and_says_so(root: Client, cast: Cast, whom: str) -> None:
    group = Group.objects.create(name="ops")
    named = {"user": cast.bob.pk, "group": group.pk} if whom == "both" else {}
    form = {"environment": cast.production.pk, "role": "reader", "prefix": ""} | named
    page = root.post(f"{ADMIN}/membership/add/", form).content.decode()
    assert "Choose either a user or a group." in page
    assert "Constraint" not in page


@pytest.mark.parametrize(
    ("role", "inside", "told"),
    [
        ("reader", False, "This role is held in an environment: choose one."),
        ("admin", True, "This role is held in the installation: leave environment and prefix empty."),
    ],
)
def test_a_mapping_says_which_role_takes_an_environment(
    root: Client, cast: Cast, role: str, inside: bool, told: str
) -> None:
    form = {"group": "ops", "role": role, "prefix": "", "environment": cast.production.pk if inside else ""}
    page = root.post(f"{ADMIN}/samlgroupmapping/add/", form).content.decode()
    assert told in page
    assert "Constraint" not in page


def test_the_last_manager_stays_here_too(root: Client, cast: Cast) -> None:
    membership = Membership.objects.get(user=cast.alice, environment=cast.development)
    response = root.post(f"{ADMIN}/membership/{membership.pk}/delete/", {"post": "yes"}, follow=True)
    assert "at least one manager" in response.content.decode()
    assert Membership.objects.filter(pk=membership.pk).exists()
    form = {"role": "viewer", "prefix": ""}
    root.post(f"{ADMIN}/membership/{membership.pk}/change/", form)
    assert Membership.objects.get(pk=membership.pk).role == "manager"


def test_an_environment_is_made_and_changed(root: Client, cast: Cast, events: Events) -> None:
    form = {
        "name": "staging",
        "display_name": "",
        "description": "",
        "colour": "teal",
        "position": "3",
        "kms_key_alias": "",
    }
    assert root.post(f"{ADMIN}/environment/add/", form).status_code == 302
    staging = Environment.objects.get(name="staging")
    for manager in (cast.alice, cast.bob):
        Membership.objects.create(environment=staging, user=manager, role="manager")
    assert (
        root.post(f"{ADMIN}/environment/{staging.pk}/change/", {**form, "protected": "on"}).status_code == 302
    )
    staging.refresh_from_db()
    assert (staging.protected, staging.is_authentic()) == (True, True)
    assert len(events(Action.ENVIRONMENT_UPDATE)) == 1


def test_what_one_person_alone_could_approve_is_not_protected_here_either(root: Client, cast: Cast) -> None:
    alone = Environment.objects.create(name="staging")
    path = f"{ADMIN}/environment/{alone.pk}/change/"
    form = {"display_name": "", "description": "", "colour": "teal", "position": "3", "kms_key_alias": ""}
    page = root.post(path, form | {"protected": "on"}, follow=True).content.decode()
    assert "so someone else can approve changes" in page
    alone.refresh_from_db()
    assert not alone.protected
    for manager in (cast.alice, cast.bob):
        Membership.objects.create(environment=alone, user=manager, role="manager")
    assert root.post(path, form | {"protected": "on"}).status_code == 302
    alone.refresh_from_db()
    assert (alone.protected, alone.is_authentic()) == (True, True)


def test_more_access_to_a_protected_place_waits_for_a_second_person_here_too(
    root: Client, cast: Cast
) -> None:
    Environment.objects.filter(pk=cast.development.pk).update(protected=True)
    development = Environment.objects.get(pk=cast.development.pk)
    development.save()
    membership = Membership.objects.get(user=cast.bob, environment=development)
    path = f"{ADMIN}/membership/{membership.pk}/change/"
    root.post(path, {"role": "manager", "prefix": ""}, follow=True)
    assert Membership.objects.get(pk=membership.pk).role == "reader"
    assert Approval.objects.get().action == Action.MEMBER_CHANGE


def test_a_token_is_revoked_and_never_deleted(
    root: Client, cast: Cast, token: ServiceToken, events: Events
) -> None:
    assert root.get(f"{ADMIN}/servicetoken/add/").status_code == 404
    assert root.post(f"{ADMIN}/servicetoken/{token.pk}/change/", {"role": "manager"}).status_code == 403
    page = root.get(f"{ADMIN}/servicetoken/{token.pk}/change/").content.decode()
    assert "Revoke" in page
    assert f"{token.pk}/delete/" not in page
    assert root.post(f"{ADMIN}/servicetoken/{token.pk}/delete/", {"post": "yes"}).status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None


def test_an_environment_whose_position_is_left_as_shown_becomes_the_last(root: Client, cast: Cast) -> None:
    form = {"name": "staging", "colour": "teal"}
    for name, given, position in (("staging", "0", 1), ("qa", "7", 7), ("last", "0", 8)):
        root.post(f"{ADMIN}/environment/add/", form | {"name": name, "position": given})
        assert Environment.objects.get(name=name).position == position


def test_groups_go_through_the_use_cases(root: Client, cast: Cast, events: Events) -> None:
    assert root.post("/admin/auth/group/add/", {"name": "ops"}).status_code == 302
    group = Group.objects.get()
    assert root.post(f"{ADMIN}/groupmember/add/", {"user": cast.bob.pk, "group": group.pk}).status_code == 302
    root.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"})
    assert Group.objects.exists()
    member = GroupMember.objects.get()
    root.post(f"{ADMIN}/groupmember/{member.pk}/delete/", {"post": "yes"})
    assert not GroupMember.objects.exists()
    assert len(events(Action.GROUP_CHANGE)) == 3


@pytest.mark.parametrize("path", ["user", "environment", "membership", "servicetoken", "groupmember"])
def test_nothing_is_done_in_bulk(root: Client, cast: Cast, token: ServiceToken, path: str) -> None:
    page = root.post(
        f"{ADMIN}/{path}/", {"action": "delete_selected", "_selected_action": "1", "post": "yes"}, follow=True
    )
    assert page.status_code in {200, 302, 404}
    assert "delete_selected" not in page.content.decode()
    assert (User.objects.count(), Membership.objects.count(), Environment.objects.count()) == (6, 5, 2)


def test_a_forged_row_is_not_saved_over(root: Client, cast: Cast, sql: Callable[..., None]) -> None:
    sql("UPDATE environments_app_user SET role = 'admin' WHERE id = %s", cast.bob.pk)
    form = {
        "email": "bob@example.com",
        "display_name": "",
        "role": "admin",
        "is_active": "on",
        "new_password": "",
    }
    response = root.post(f"{ADMIN}/user/{cast.bob.pk}/change/", form, follow=True)
    assert "outside Keeper" in response.content.decode()
    assert not User.objects.get(pk=cast.bob.pk).is_authentic()
    assert PASSWORD not in response.content.decode()


def _act(client: Client, model: str, act: str, *rows: int, **answer: str) -> str:
    form = {"action": act, "_selected_action": [str(pk) for pk in rows], **answer}
    return client.post(f"{ADMIN}/{model}/", form, follow=True).content.decode()


def test_people_are_disabled_once_the_operator_agreed(root: Client, cast: Cast, events: Events) -> None:
    asked = _act(root, "user", "disable", cast.bob.pk, cast.erin.pk)
    assert "All their sessions end at once" in asked
    assert [f'<th scope="row">{name}</th><td>Disable</td>' in asked for name in ("bob", "erin")] == [True] * 2
    assert not User.objects.filter(is_active=False).exists()

    told = _act(root, "user", "disable", cast.bob.pk, cast.erin.pk, agreed="Disable")

    assert "2 of 2 done." in told
    assert set(User.objects.filter(is_active=False)) == {cast.bob, cast.erin}
    assert [(event.actor_name, event.object_name) for event in events(Action.USER_CHANGE)] == [
        ("root", "bob"),
        ("root", "erin"),
    ]


def test_what_an_act_refuses_is_told_of_that_row_and_the_others_go_on(root: Client, cast: Cast) -> None:
    # Somebody has to be left who administers.
    told = _act(root, "user", "disable", cast.root.pk, cast.bob.pk, agreed="Disable")

    assert "1 of 2 done." in told
    assert "Not done: Keeper needs at least one active administrator" in told
    assert not User.objects.get(pk=cast.bob.pk).is_active
    assert User.objects.get(pk=cast.root.pk).is_active


def test_tokens_are_revoked_once_the_operator_agreed(
    root: Client, token: ServiceToken, events: Events
) -> None:
    assert "cannot be restored" in _act(root, "servicetoken", "revoke", token.pk)
    assert ServiceToken.objects.get().revoked_at is None

    assert "Token revoked. (ci)" in _act(root, "servicetoken", "revoke", token.pk, agreed="Revoke")

    assert ServiceToken.objects.get().revoked_at is not None
    assert [event.actor_name for event in events(Action.TOKEN_REVOKE)] == ["root"]
