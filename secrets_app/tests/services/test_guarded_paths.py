"""Guarded paths of an environment: each secret under them is guarded, whenever and however it comes there."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit_app.models import AuditEvent
from audit_app.recording import event_store
from environments_app.approvals import service as approvals
from environments_app.environments.service import update_environment
from environments_app.errors import ApprovalNeeded, Conflict, InvalidField
from environments_app.models import Approval, Environment, Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app.errors import GuardedValue, StaleVersion
from secrets_app.maintenance import integrity_checks
from secrets_app.models import Secret
from secrets_app.rows import store
from secrets_app.services import clone, guarded, lifecycle, read
from secrets_app.tests.kept import keep
from secrets_app.tests.services.test_guarded_names import NAME, WAYS, stored
from secrets_app.values.versions import inherits_no_guard

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


@pytest.fixture(autouse=True)
def _second_manager(cast: Cast) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)


def fresh(place: Environment) -> Environment:
    return Environment.objects.get(pk=place.pk)


def set_paths(cast: Cast, *paths: str, place: Environment | None = None) -> Environment:
    place = fresh(place or cast.development)
    cast.development = update_environment(
        actor=cast.principal(cast.alice), environment=place, guarded_prefixes=paths
    )
    return cast.development


def approve(cast: Cast, approval: Approval) -> None:
    approval = Approval.objects.select_related("environment").get(pk=approval.pk)
    approved = approvals.approve(actor=cast.principal(cast.charlie), approval=approval)
    approvals.carry_out(actor=cast.principal(cast.alice), approval=approved)


def test_what_lies_under_a_new_path_is_guarded_at_once(cast: Cast) -> None:
    inside, itself, beside = keep(cast, NAME), keep(cast, "app"), keep(cast, "apple")
    deleted = lifecycle.delete(actor=cast.principal(cast.alice), secret=keep(cast, "app/old"))
    other = keep(cast, NAME, environment=cast.production)
    set_paths(cast, "app/")
    assert fresh(cast.development).guarded_paths == ["app"]
    assert [bool(stored(each).guarded) for each in (inside, itself, deleted, beside, other)] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert stored(inside).is_authentic()
    with pytest.raises(GuardedValue):
        read.reveal(actor=cast.principal(cast.alice), secret=stored(inside))
    shown = read.reveal_environment(actor=cast.principal(cast.alice), environment=cast.development)
    assert (shown.left_out, [value.name for value in shown]) == (["app", NAME], ["apple"])
    events = AuditEvent.objects.filter(action="secret.guard")
    assert set(events.values_list("object_uuid", flat=True)) == {inside.uuid, itself.uuid, deleted.uuid}
    assert not list(integrity_checks.secrets())


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_under_a_path_is_guarded(cast: Cast, way: str) -> None:
    set_paths(cast, "app")
    WAYS[way](cast)
    new = Secret.objects.select_related("environment").filter(environment=cast.development, name=NAME)
    assert all(each.guarded and each.is_authentic() for each in new)
    assert new.filter(live=True).exists()


def test_a_secret_that_is_restored_under_a_path_is_guarded(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    secret = lifecycle.delete(actor=alice, secret=keep(cast, NAME))
    set_paths(cast, "app")
    # As one that was deleted while a release was at work that knows no paths.
    row = stored(secret)
    row.guarded = None
    row.save()
    lifecycle.restore(actor=alice, secret=stored(secret))
    assert stored(secret).guarded


def test_a_path_is_taken_away_by_two_people_and_its_secrets_stay_guarded(cast: Cast) -> None:
    secret = keep(cast, NAME)
    set_paths(cast, "app", "root")
    with pytest.raises(ApprovalNeeded, match="second person"):
        set_paths(cast, "root")
    assert fresh(cast.development).guarded_paths == ["app", "root"]
    approve(cast, Approval.objects.get(action="environment.update"))
    assert fresh(cast.development).guarded_paths == ["root"]
    assert stored(secret).guarded
    assert not stored(keep(cast, "app/new", environment=fresh(cast.development))).guarded


@pytest.mark.parametrize(
    ("before", "after"), [(["app/db"], ["app"]), (["app"], ["app", "root"]), (["app"], ["app", "app/db"])]
)
def test_to_guard_more_takes_nobody(cast: Cast, before: list[str], after: list[str]) -> None:
    set_paths(cast, *before)
    set_paths(cast, *after)
    assert fresh(cast.development).guarded_paths == sorted({*after} - {"app/db"})


@pytest.mark.parametrize("after", [[], ["app/db"], ["other"]])
def test_to_guard_less_takes_a_second_person(cast: Cast, after: list[str]) -> None:
    set_paths(cast, "app")
    with pytest.raises(ApprovalNeeded):
        set_paths(cast, *after)


def test_a_protected_environment_asks_for_each_change(cast: Cast) -> None:
    Membership.objects.create(environment=cast.production, user=cast.charlie, role=Role.MANAGER)
    alice = cast.principal(cast.alice)
    update_environment(actor=alice, environment=fresh(cast.production), protected=True)
    with pytest.raises(ApprovalNeeded):
        set_paths(cast, "app", place=cast.production)
    assert not fresh(cast.production).guarded_prefixes


def test_a_guard_does_not_end_under_a_path(cast: Cast) -> None:
    secret = keep(cast, NAME)
    set_paths(cast, "app")
    with pytest.raises(Conflict, match="path is guarded"):
        guarded.unguard(actor=cast.principal(cast.alice), secret=stored(secret))


def test_a_secret_leaves_a_path_by_two_people_and_stays_guarded(cast: Cast) -> None:
    secret = keep(cast, NAME)
    set_paths(cast, "app")
    with pytest.raises(ApprovalNeeded, match="second person"):
        lifecycle.rename(actor=cast.principal(cast.alice), secret=stored(secret), name="free")
    approve(cast, Approval.objects.get(object_uuid=secret.uuid))
    assert (stored(secret).name, stored(secret).guarded) == ("free", True)


def test_fewer_approvals_take_a_second_person_where_a_path_is_guarded(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    place = update_environment(actor=alice, environment=cast.development, approvals_required=2)
    update_environment(actor=alice, environment=fresh(place), guarded_prefixes=["nothing/here"])
    with pytest.raises(ApprovalNeeded):
        update_environment(actor=alice, environment=fresh(place), approvals_required=1)


@pytest.mark.parametrize("given", ["", "/", "a//b", "a b", "../x", "x" * 600])
def test_a_path_is_one_of_names(cast: Cast, given: str) -> None:
    with pytest.raises(InvalidField) as refused:
        set_paths(cast, given)
    assert refused.value.field == "guarded_prefixes"


def test_a_clone_guards_the_same_paths(cast: Cast) -> None:
    set_paths(cast, "app")
    user = User.objects.get(pk=cast.alice.pk)
    user.role = "admin"
    user.save()
    made, _ = clone.clone_environment(
        actor=cast.principal(user), source=cast.development, name="clone", with_values=False
    )
    assert fresh(made).guarded_paths == ["app"]


def test_page_and_api_set_paths(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    client = signed_in(cast.alice)
    secret = keep(cast, NAME)
    fields = {"colour": "green", "guarded_prefixes": " root  app/ "}
    assert client.post("/environments/development/settings", fields).status_code == 302
    assert b'value="app root"' in client.get("/environments/development").content
    path = "/api/environments/development"
    assert client.get(path).json()["guarded_prefixes"] == ["app", "root"]
    shown = client.get(f"/secrets/{secret.pk}").content.decode()
    assert "guard its path" in shown
    assert "End the guard" not in shown
    more = client.patch(path, {"guarded_prefixes": ["app", "root", "more"]}, content_type="application/json")
    assert more.json()["guarded_prefixes"] == ["app", "more", "root"]
    fewer = client.patch(path, {"guarded_prefixes": []}, content_type="application/json")
    assert fewer.status_code == 202
    assert fresh(cast.development).guarded_paths == ["app", "more", "root"]


# --- Meanwhile -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_path_that_is_set_meanwhile_is_not_missed(cast: Cast, way: str) -> None:
    """The writer has looked at the environment before the path was set."""
    before = fresh(cast.development)
    set_paths(cast, "app")
    cast.development = before
    if way == "rename":
        # Its secret is there already.
        cast.development = fresh(before)
        secret = stored(keep(cast, "other"))
        secret.environment = before
        with pytest.raises(StaleVersion, match="guarded paths"):
            lifecycle.rename(actor=cast.principal(cast.erin), secret=secret, name=NAME)
    else:
        with pytest.raises(StaleVersion):
            WAYS[way](cast)
    assert not Secret.objects.filter(name=NAME, live=True).exists()


def test_a_guard_that_ends_while_its_path_is_set_goes_on(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    secret = guarded.guard(actor=alice, secret=keep(cast, NAME))
    with pytest.raises(ApprovalNeeded):
        guarded.unguard(actor=alice, secret=stored(secret))
    seen = stored(secret)
    approval = Approval.objects.select_related("environment").get(object_uuid=secret.uuid)
    approvals.approve(actor=cast.principal(cast.charlie), approval=approval)
    set_paths(cast, "app")
    with pytest.raises(StaleVersion, match="guarded paths"):
        guarded.unguard(actor=alice, secret=seen)
    assert stored(secret).guarded


def _interrupted(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Have something happen after a path's secrets were looked for, and before the log is locked."""
    locked = event_store.lock_head

    def first(*args: Any) -> Any:
        monkeypatch.setattr(event_store, "lock_head", locked)
        act()
        return locked(*args)

    monkeypatch.setattr(event_store, "lock_head", first)


def test_a_secret_that_is_made_while_its_path_is_set_is_not_missed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cast, "another")
    before = fresh(cast.development)

    def make() -> None:
        # As a writer that has the head before the one that sets the path.
        monkeypatch.setattr(store, "guards_as_before", lambda place: inherits_no_guard(place, "none"))
        keep(cast, NAME, environment=before)

    _interrupted(monkeypatch, make)
    with pytest.raises(StaleVersion, match="under these paths"):
        set_paths(cast, "app")
    assert not fresh(before).guarded_prefixes


def test_a_path_that_is_set_while_fewer_are_asked_for_is_not_taken_away(cast: Cast) -> None:
    """The settings' page was read before another manager set a path."""
    before = fresh(cast.development)
    set_paths(cast, "app")
    with pytest.raises(Conflict, match="guard was set"):
        update_environment(
            actor=cast.principal(cast.alice), environment=before, guarded_prefixes="", description="new"
        )
    assert fresh(before).guarded_paths == ["app"]
