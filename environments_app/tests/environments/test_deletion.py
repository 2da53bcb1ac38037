"""An environment is deleted, kept, restored or removed; each step asks again under the lock."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app import tasks
from environments_app.approvals.applying import approve_and_apply as approve
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import (
    principal_among_deleted,
    refresh_principal,
    system_principal,
)
from environments_app.environments import deletion, groups, memberships
from environments_app.environments.deletion import (
    delete_environment,
    deleted_environments,
    find_deleted,
    purge_environments,
    restore_environment,
)
from environments_app.environments.service import create_environment, find_environment, update_environment
from environments_app.errors import (
    ApprovalNeeded,
    ApprovalVoid,
    BadToken,
    ConfirmationNeeded,
    Conflict,
    Forbidden,
    Invisible,
    NameInUse,
    Tampered,
)
from environments_app.models import (
    AccessConfirmation,
    Approval,
    Environment,
    Membership,
    ServiceToken,
    User,
    UserRole,
)
from environments_app.sessions import service
from environments_app.tests.cast import Cast
from environments_app.tokens.authentication import authenticate
from environments_app.tokens.personal import authenticate_personal, issue_personal
from environments_app.tokens.service import issue
from environments_app.users.suspensions import places_of

SignedIn = Callable[[User], Client]


def deleted(cast: Cast) -> Environment:
    return delete_environment(actor=cast.principal(cast.alice), environment=cast.development)


@pytest.mark.every_database
def test_it_is_gone_with_its_access_and_comes_back_with_it(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    _, text = issue(actor=alice, environment=cast.development, role="reader", name="ci")
    _, own = issue_personal(actor=cast.principal(cast.bob), name="laptop", environment="development")
    deleted(cast)
    assert "development" not in {row.name for row in Environment.objects.all()}
    for who in (cast.alice, cast.bob, cast.root):
        with pytest.raises(Invisible):
            find_environment(actor=cast.principal(who), name="development")
    assert [grant.environment_name for grant in cast.principal(cast.alice).grants] == ["production"]
    for door, token in ((authenticate, text), (authenticate_personal, own)):
        with pytest.raises(BadToken) as refused:
            door(token, address="192.0.2.1")
        assert refused.value.reason == "token-of-deleted-environment"
    place = find_deleted(actor=cast.principal(cast.alice), name="development")
    restore_environment(actor=cast.principal(cast.alice), environment=place)
    assert authenticate(text, address="192.0.2.1").grants
    assert authenticate_personal(own, address="192.0.2.1").grants
    assert find_environment(actor=cast.principal(cast.bob), name="development").pk == cast.development.pk
    events = AuditEvent.objects.filter(object_uuid=place.uuid).values_list("action", flat=True)
    assert {Action.ENVIRONMENT_DELETE, Action.ENVIRONMENT_RESTORE} <= set(events)


def test_only_managers_and_administrators_delete_and_restore(cast: Cast) -> None:
    for who in (cast.erin, cast.bob):
        with pytest.raises(Forbidden):
            delete_environment(actor=cast.principal(who), environment=cast.development)
    with pytest.raises(Invisible):
        delete_environment(actor=cast.principal(cast.charlie), environment=cast.development)
    place = deleted(cast)
    for who in (cast.erin, cast.charlie):
        assert not deleted_environments(cast.principal(who)).exists()
        with pytest.raises(Invisible):
            find_deleted(actor=cast.principal(who), name="development")
        with pytest.raises((Forbidden, Invisible)):
            restore_environment(actor=cast.principal(who), environment=place)
    restore_environment(actor=cast.principal(cast.root), environment=place)


@pytest.mark.parametrize("what", ["account", "confirmed account", "membership"])
def test_who_is_suspended_finds_and_restores_nothing(cast: Cast, what: str) -> None:
    place = deleted(cast)
    assert deleted_environments(cast.principal(cast.alice)).exists()
    alice = User.objects.get(pk=cast.alice.pk)
    row = Membership.objects.get(user=alice, environment=place) if what == "membership" else alice
    row.suspended_at = timezone.now()
    row.save(update_fields=["suspended_at"])
    if what == "confirmed account":
        AccessConfirmation.objects.create(
            environment=place, user=alice, suspended_at=row.suspended_at, confirmed_by=cast.erin
        )
    actor = cast.principal(alice)
    assert not deleted_environments(actor).exists()
    with pytest.raises(Invisible):
        find_deleted(actor=actor, name="development")
    with pytest.raises((Forbidden, Invisible)):
        restore_environment(actor=actor, environment=place)


@pytest.mark.parametrize("what", ["personal token", "auditor", "disabled"])
def test_who_has_no_say_in_living_environments_has_none_in_deleted_ones(cast: Cast, what: str) -> None:
    _, text = issue_personal(actor=cast.principal(cast.alice), name="laptop")
    deleted(cast)
    assert principal_among_deleted(cast.principal(cast.alice)).grants
    if what == "personal token":
        actor = authenticate_personal(text, address="192.0.2.1")
    else:
        alice = User.objects.get(pk=cast.alice.pk)
        alice.role, alice.is_active = (
            (UserRole.AUDITOR, True) if what == "auditor" else (UserRole.USER, False)
        )
        alice.save()
        actor = cast.principal(alice)
    assert principal_among_deleted(actor).grants == ()


def test_both_ask_for_a_fresh_proof(cast: Cast) -> None:
    stale = replace(cast.principal(cast.alice), confirmed=False)
    with pytest.raises(ConfirmationNeeded):
        delete_environment(actor=stale, environment=cast.development)
    place = deleted(cast)
    with pytest.raises(ConfirmationNeeded):
        restore_environment(actor=stale, environment=place)


def test_who_lost_the_right_meanwhile_deletes_and_restores_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(real: Any, *given: Any) -> None:
        real(*given)
        row = Membership.objects.get(user=cast.alice, environment=cast.development)
        row.role = "reader"
        row.save()

    def then(name: str) -> None:
        real: Any = getattr(deletion, name)
        monkeypatch.setattr(deletion, name, lambda *given: lose(real, *given))

    before = cast.principal(cast.alice)
    then("require_confirmed")
    with pytest.raises(Forbidden):
        delete_environment(actor=before, environment=cast.development)
    cast.development.refresh_from_db()
    assert cast.development.deleted_at is None
    place = delete_environment(actor=cast.principal(cast.root), environment=cast.development)
    with pytest.raises((Conflict, Forbidden)):
        restore_environment(actor=before, environment=place)


def test_a_protected_one_takes_two_people(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    memberships.grant(actor=alice, environment=cast.production, user=cast.erin, role="manager")
    update_environment(actor=alice, environment=cast.production, protected=True)
    cast.production.refresh_from_db()
    with pytest.raises(ApprovalNeeded):
        delete_environment(actor=alice, environment=cast.production)
    approval = Approval.objects.get()
    assert approval.action == Action.ENVIRONMENT_DELETE
    applied = approve(actor=cast.principal(cast.erin), approval=approval)
    assert "deleted" in applied.sentence
    assert not Environment.objects.filter(name="production").exists()


def test_protection_that_came_meanwhile_stops_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def protect(actor: Principal, user: User | None) -> Principal:
        row = Environment.objects.get(pk=cast.development.pk)
        row.protected = True
        row.save()
        return refresh_principal(actor, user)

    monkeypatch.setattr(service, "refresh_principal", protect)
    with pytest.raises(ApprovalVoid):
        deleted(cast)
    assert Environment.objects.filter(name="development", deleted_at=None).exists()


def test_its_name_stays_taken_and_says_so(cast: Cast) -> None:
    deleted(cast)
    with pytest.raises(NameInUse, match="was deleted and is kept"):
        create_environment(actor=cast.principal(cast.root), name="development")


def test_a_time_that_was_edited_opens_nothing(cast: Cast) -> None:
    deleted(cast)
    Environment.every.filter(name="development").update(deleted_at=None)
    with pytest.raises(Invisible):
        find_environment(actor=cast.principal(cast.alice), name="development")
    assert [grant.environment_name for grant in cast.principal(cast.alice).grants] == ["production"]


@pytest.mark.every_database
def test_it_is_removed_once_its_time_is_over(cast: Cast, settings: Settings) -> None:
    issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci")
    place = deleted(cast)
    assert purge_environments() == 0
    Environment.every.filter(pk=place.pk).update(deleted_at=timezone.now() - timedelta(days=31))
    # Only a row that Keeper wrote is removed.
    assert purge_environments() == 0
    Environment.every.filter(pk=place.pk).update(deleted_at=place.deleted_at)
    settings.KEEPER_DELETED_RETENTION_DAYS = 0
    assert purge_environments() == 0
    settings.KEEPER_DELETED_RETENTION_DAYS = 1e-9
    assert purge_environments() == 1
    assert not Environment.every.filter(pk=place.pk).exists()
    assert not ServiceToken.objects.exists()
    assert create_environment(actor=cast.principal(cast.root), name="development").pk


def test_what_is_removed_cannot_be_restored(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    place = deleted(cast)
    assert not deletion.purge(actor=system_principal(is_admin=True), environment=place, seconds=0)
    with pytest.raises(Conflict, match="removed for good"):
        restore_environment(actor=cast.principal(cast.root), environment=place)
    assert not deleted_environments(cast.principal(cast.root)).exists()
    # A worker goes on where another stopped.
    assert purge_environments() == 1


def test_one_that_was_restored_meanwhile_is_not_removed(cast: Cast) -> None:
    place = deleted(cast)
    restore_environment(actor=cast.principal(cast.root), environment=place)
    with pytest.raises(Conflict):
        deletion.purge(actor=system_principal(is_admin=True), environment=place)
    with pytest.raises(Conflict):
        restore_environment(actor=cast.principal(cast.root), environment=place)


def test_an_edited_row_keeps_all_of_it(cast: Cast, settings: Settings) -> None:
    place = deleted(cast)
    settings.KEEPER_DELETED_RETENTION_DAYS = 1e-9
    Membership.objects.filter(user=cast.bob, environment=place).update(role="manager")
    before = Membership.objects.filter(environment=place).count()
    assert purge_environments() == 0
    assert Membership.objects.filter(environment=place).count() == before


def test_an_edited_environment_is_not_deleted(cast: Cast) -> None:
    Environment.objects.filter(pk=cast.development.pk).update(protected=True)
    row = Environment.objects.get(pk=cast.development.pk)
    with pytest.raises((Tampered, ApprovalNeeded, Invisible)):
        delete_environment(actor=cast.principal(cast.root), environment=row)
    assert Environment.objects.filter(pk=row.pk).exists()


def test_the_command_lists_deletes_restores_and_purges(cast: Cast) -> None:
    def run(*words: str) -> str:
        out = StringIO()
        call_command("environments", *words, stdout=out)
        return out.getvalue()

    with pytest.raises(CommandError, match="Add --yes"):
        run("delete", "development")
    assert "is deleted" in run("delete", "development", "--yes")
    assert "development" in run("list")
    with pytest.raises(CommandError, match="no environment"):
        run("delete", "development", "--yes")
    assert "restored" in run("restore", "development")
    with pytest.raises(CommandError, match="no deleted environment"):
        run("purge", "development", "--yes")
    run("delete", "development", "--yes")
    assert "is removed" in run("purge", "development", "--yes")
    assert not Environment.every.filter(name="development").exists()


def test_the_page_takes_the_typed_name_and_leads_to_the_way_back(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    page = alice.get("/environments/development/delete").content.decode()
    assert "Memberships" in page
    assert "isn't deleted there" in page
    wrong = alice.post("/environments/development/delete", {"typed": "developmen"})
    assert wrong.status_code == 422
    assert Environment.objects.filter(name="development").exists()
    done = alice.post("/environments/development/delete", {"typed": "development"})
    assert (done.status_code, done["Location"]) == (302, "/deleted-environments")
    assert "development" in alice.get("/deleted-environments").content.decode()
    assert "/deleted-environments" in alice.get("/environments").content.decode()
    assert alice.post("/deleted-environments/development/restore").status_code == 302
    assert alice.get("/environments/development").status_code == 200


def test_the_api_deletes_lists_and_restores(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    assert alice.delete("/api/environments/development").status_code == 204
    assert alice.get("/api/environments/development").status_code == 404
    (row,) = alice.get("/api/deleted-environments").json()["results"]
    assert (row["name"], row["deleted_at"] < row["purge_at"]) == ("development", True)
    assert alice.post("/api/deleted-environments/development/restore").status_code == 200
    assert alice.get("/api/environments/development").status_code == 200


def test_nobody_joins_a_group_past_the_approval_of_a_deleted_environment(cast: Cast) -> None:
    alice, group = cast.principal(cast.alice), Group.objects.create(name="ops")
    memberships.grant(actor=alice, environment=cast.production, group=group, role="editor")
    place = Environment.objects.get(pk=cast.production.pk)
    place.protected = True
    place.save()
    delete_environment(actor=system_principal(is_admin=True), environment=place)
    with pytest.raises(Conflict, match="protected environment that is deleted"):
        groups.add_to_group(actor=cast.principal(cast.root), user=cast.charlie, group=group)
    restore_environment(actor=cast.principal(cast.root), environment=Environment.every.get(pk=place.pk))
    with pytest.raises(ApprovalNeeded):
        groups.add_to_group(actor=cast.principal(cast.root), user=cast.charlie, group=group)


def test_an_account_is_suspended_for_what_it_has_in_a_deleted_environment(cast: Cast) -> None:
    deleted(cast)
    assert [place.name for place in places_of(cast.bob)] == ["development"]


def test_expiry_and_upkeep_go_on_beside_it(cast: Cast) -> None:
    row = Membership.objects.get(user=cast.bob, environment=cast.development)
    row.source, row.expires_at = "request", timezone.now() + timedelta(hours=1)
    row.save()
    deleted(cast)
    row.expires_at = timezone.now() - timedelta(hours=1)
    row.save()
    tasks.end_expired_access()
    assert not Membership.objects.filter(pk=row.pk).exists()
    for task in (tasks.expire_approvals, tasks.tell_of_tokens, tasks.purge_workload_tokens):
        task()


def test_the_admin_lists_and_finds_nothing_of_it(cast: Cast, signed_in: SignedIn) -> None:
    token, _ = issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci9"
    )
    root = signed_in(cast.root)
    addresses = ("/admin/environments_app/servicetoken/", "/admin/environments_app/environment/")
    assert "ci9" in root.get(addresses[0]).content.decode()
    deleted(cast)
    assert "ci9" not in root.get(addresses[0]).content.decode()
    assert ">development<" not in root.get(addresses[1]).content.decode()
    assert root.get(f"{addresses[0]}{token.pk}/change/").status_code in {302, 404}


def test_who_reads_the_whole_log_finds_its_events_by_its_name(cast: Cast, signed_in: SignedIn) -> None:
    place = deleted(cast)
    root, alice = signed_in(cast.root), signed_in(cast.alice)
    found = root.get("/api/events?environment=development").json()["results"]
    assert {event["action"] for event in found} >= {Action.ENVIRONMENT_DELETE}
    assert {event["object_uuid"] for event in found} >= {str(place.uuid)}
    assert '<option value="development"' in root.get("/activity").content.decode()
    assert alice.get("/api/events?environment=development").json()["results"] == []
    assert '<option value="development"' not in alice.get("/activity").content.decode()
    out = StringIO()
    call_command("events", environment="development", stdout=out)
    assert Action.ENVIRONMENT_DELETE in out.getvalue()
