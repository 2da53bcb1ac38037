import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.principals import system_principal
from environments_app.environments import memberships
from environments_app.environments import service as environments
from environments_app.errors import BadName, Forbidden, InvalidField, Invisible, NameInUse, Tampered
from environments_app.models import Environment, Membership, Role, User, UserRole
from environments_app.tests.cast import Cast
from environments_app.users import accounts

Events = Callable[..., list[AuditEvent]]


def test_whoever_creates_it_becomes_its_manager(cast: Cast, events: Events) -> None:
    environment = environments.create_environment(
        actor=cast.principal(cast.root),
        name="staging",
        display_name="Staging",
        kms_key_alias="alias/keeper-staging",
    )
    assert environment.position == 1
    assert environment.colour == "amber"
    assert {(grant.environment_name, grant.role) for grant in cast.principal(cast.root).grants} == {
        ("staging", "manager")
    }
    (event,) = events(Action.ENVIRONMENT_CREATE)
    assert event.stream == f"environment:{environment.uuid}"
    assert '"manager":"root"' in event.details


@pytest.mark.parametrize(
    ("name", "given", "colour"),
    [("development", "", "green"), ("staging", "", "amber"), ("production", "", "red"), ("other", "", "slate"),
     ("production", "teal", "teal")],
)  # fmt: skip
def test_an_environment_has_the_colour_of_its_name(db: None, name: str, given: str, colour: str) -> None:
    actor = system_principal(is_admin=True)
    made = environments.create_environment(actor=actor, name=name, colour=given)
    assert made.colour == colour


def test_the_system_may_name_the_manager(cast: Cast) -> None:
    actor = system_principal(is_admin=True)
    environments.create_environment(actor=actor, name="staging", manager=cast.bob)
    assert Membership.objects.get(environment__name="staging").user == cast.bob
    environments.create_environment(actor=actor, name="test")
    assert not Membership.objects.filter(environment__name="test").exists()


def test_only_administrators_create(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        environments.create_environment(actor=cast.principal(cast.alice), name="staging")


@pytest.mark.every_database
def test_a_name_is_taken_once(cast: Cast) -> None:
    with pytest.raises(NameInUse):
        environments.create_environment(actor=cast.principal(cast.root), name="production")
    with pytest.raises(BadName):
        environments.create_environment(actor=cast.principal(cast.root), name="Production")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("colour", "mauve"), ("colour", "#ffffff"), ("colour", "red\n"), ("display_name", "x" * 101),
        ("kms_key_alias", "keeper"), ("kms_key_alias", "alias/a b"), ("kms_key_alias", "arn:aws:iam::1:role/x"), ("position", -1),
    ],
)  # fmt: skip
def test_it_refuses_bad_settings(cast: Cast, field: str, value: Any) -> None:
    with pytest.raises(InvalidField) as refusal:
        environments.create_environment(actor=cast.principal(cast.root), name="staging", **{field: value})
    assert refusal.value.field == field
    with pytest.raises(InvalidField):
        environments.update_environment(
            actor=cast.principal(cast.alice), environment=cast.development, **{field: value}
        )


@pytest.mark.parametrize(
    "reference",
    ["", "alias/keeper-prod", "1234abcd-12ab-34cd-56ef-1234567890ab", "mrk-1234abcd12ab34cd56ef1234567890ab", "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
)  # fmt: skip
def test_it_takes_references_of_keys(cast: Cast, reference: str) -> None:
    changed = environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.development, kms_key_alias=reference
    )
    assert changed.kms_key_alias == reference


def test_a_manager_changes_settings(cast: Cast, events: Events) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    changed = environments.update_environment(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        protected=True,
        display_name="Development",
    )
    assert changed.protected
    assert Environment.objects.get(pk=changed.pk).is_authentic()
    (event,) = events(Action.ENVIRONMENT_UPDATE)
    told = json.loads(event.details)
    assert {name: told[name] for name in told if name != "rows"} == {"protected": True}


def test_the_name_stays(cast: Cast) -> None:
    with pytest.raises(InvalidField):
        environments.update_environment(
            actor=cast.principal(cast.alice), environment=cast.development, name="x"
        )


def test_who_may_not_change(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        environments.update_environment(
            actor=cast.principal(cast.erin), environment=cast.development, protected=True
        )
    with pytest.raises(Invisible):
        environments.update_environment(
            actor=cast.principal(cast.erin), environment=cast.production, protected=True
        )


def test_what_one_may_not_see_does_not_exist(cast: Cast) -> None:
    charlie = cast.principal(cast.charlie)
    answers = []
    for name in ("production", "nowhere"):
        with pytest.raises(Invisible):
            environments.find_environment(actor=charlie, name=name)
        answers.append(name)
    with pytest.raises(Invisible):
        environments.find_environment_by_id(actor=charlie, id=cast.production.pk)
    assert (
        environments.find_environment(actor=cast.principal(cast.vera), name="development") == cast.development
    )


def test_an_environment_that_was_renamed_is_not_found_and_not_changed(
    cast: Cast, sql: Callable[..., None], events: Events
) -> None:
    sql("UPDATE environments_app_environment SET name = 'x' WHERE id = %s", cast.development.pk)
    root = cast.principal(cast.root)
    with pytest.raises(Invisible):
        environments.find_environment(actor=root, name="x")
    assert events(Action.INTEGRITY_VIOLATION, object_kind="environment")
    with pytest.raises(Tampered):
        environments.update_environment(actor=root, environment=cast.development, display_name="y")
    assert not Environment.objects.get(pk=cast.development.pk).is_authentic()


def test_an_environment_is_not_created_as_protected(
    cast: Cast, events: Events, signed_in: Callable[[User], Client]
) -> None:
    accounts.create_user(actor=cast.principal(cast.root), username="hana", role=UserRole.ADMIN)
    answer = signed_in(cast.root).post(
        "/api/environments", {"name": "staging", "protected": True}, content_type="application/json"
    )
    assert (answer.status_code, "add a second manager" in answer.content.decode()) == (400, True)
    keeper = system_principal(is_admin=True)
    with pytest.raises(InvalidField, match="second manager"):
        environments.create_environment(actor=keeper, name="staging", protected=True, manager=cast.bob)
    assert not Environment.objects.filter(name="staging").exists()
    assert not events(Action.ENVIRONMENT_CREATE)


def test_an_environment_is_not_protected_while_one_person_alone_could_approve(cast: Cast) -> None:
    # Root is an administrator: he could approve no value that alice asks for.
    alice = cast.principal(cast.alice)
    with pytest.raises(InvalidField, match="second manager"):
        environments.update_environment(actor=alice, environment=cast.development, protected=True)
    assert not Environment.objects.get(pk=cast.development.pk).protected
    memberships.grant(actor=alice, environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    environments.update_environment(actor=alice, environment=cast.development, protected=True)
    place = Environment.objects.get(pk=cast.development.pk)
    assert place.protected
    # Neither administrators nor managers who cannot sign in yet make the number of approvals reachable.
    late = accounts.create_user(
        actor=cast.principal(cast.root), username="late", password="Thirty-two-green-bottles"
    )
    Membership.objects.create(environment=place, user=late, role=Role.MANAGER)
    with pytest.raises(InvalidField, match="2 managers besides"):
        environments.update_environment(actor=alice, environment=place, approvals_required=2)
    Membership.objects.create(environment=place, user=cast.erin, prefix="a", role=Role.MANAGER)
    with pytest.raises(InvalidField, match="2 managers besides"):
        environments.update_environment(actor=alice, environment=place, approvals_required=2)
    Membership.objects.create(environment=place, user=User.objects.create_user("zoe"), role=Role.MANAGER)
    environments.update_environment(actor=alice, environment=place, approvals_required=2)


def test_a_kms_key_is_told_to_be_unused_while_a_key_file_wraps_the_keys(cast: Cast) -> None:
    made = environments.create_environment(
        actor=cast.principal(cast.root), name="staging", kms_key_alias="alias/nope"
    )
    assert "uses a local key file" in made.warnings[0]
    assert environments.create_environment(actor=cast.principal(cast.root), name="other").warnings == ()
