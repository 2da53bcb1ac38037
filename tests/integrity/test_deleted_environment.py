"""Something of every kind in an environment: deleted, served by nothing, restored whole, and removed whole."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.authorization.principals import system_principal
from environments_app.environments import deletion
from environments_app.environments.deletion import (
    delete_environment,
    purge,
    purge_environments,
    restore_environment,
)
from environments_app.environments.memberships import change_membership
from environments_app.environments.purge_checks import dependents, problems_of
from environments_app.errors import ApprovalVoid, Invisible, Tampered
from environments_app.models import Environment, Membership, ServiceToken
from environments_app.notifications.service import raise_alert
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from gateway_app.tests.aws.conftest import send, session_of, signed
from operations_app.tests.backup.test_every_model import _here, fill
from secrets_app.models import Secret, SecretVersion, Share
from secrets_app.rows.store import update_stored
from secrets_app.services import write
from secrets_app.services.lifecycle import purge_expired
from secrets_app.services.read import reveal
from secrets_app.services.share import open_share
from secrets_app.tests.kept import VALUE, keep
from sync_app.errors import SyncPaused
from sync_app.jobs.queue import is_paused, require_not_paused
from sync_app.models import RotationPolicy, Run, Target
from sync_app.rotation.execution import schedule as rotations
from sync_app.runs import schedule as runs

__all__ = ["_here"]
OPERATOR = system_principal(is_admin=True)


def rows_of(environment: Environment) -> dict[str, int]:
    found = {
        f"{model.__name__} by {path}": model._base_manager.filter(**{path: environment}).count()
        for model, path in dependents()
    }
    return {label: count for label, count in found.items() if count}


def vault(token: str, path: str) -> int:
    return Client().get(f"/vault/v1/{path}", headers={"X-Vault-Token": token}).status_code


@pytest.fixture
def token(cast: Cast) -> str:
    return issue(actor=OPERATOR, environment=cast.development, role="reader", name="app")[1]


def test_no_door_serves_it_and_all_do_once_it_is_back(cast: Cast, token: str) -> None:
    link = fill(cast)
    session, body = session_of(token), orjson.dumps({"SecretId": "payments/key"})

    def doors() -> list[int]:
        by_token = {"authorization": f"Bearer {token}"}
        return [
            Client().get("/api/environments/development/export", headers=by_token).status_code,
            Client().get("/api/environments/development/secrets/payments/key", headers=by_token).status_code,
            vault(token, "development/data/payments/key"),
            vault(token, "secret/data/payments/key"),
            vault(token, "auth/token/lookup-self"),
            send(signed(session, "GetSecretValue", body), body).status_code,
        ]

    served = doors()
    place = delete_environment(actor=OPERATOR, environment=cast.development)
    assert doors() == [401, 401, 403, 403, 403, 400]
    with pytest.raises(Invisible):
        open_share(actor=cast.principal(cast.bob), link=link)
    restore_environment(actor=OPERATOR, environment=place)
    assert doors() == served
    assert open_share(actor=cast.principal(cast.bob), link=link).value
    assert Share.objects.get().opened_at is not None


def test_nothing_of_it_works_in_the_background(cast: Cast, settings: Settings) -> None:
    fill(cast)
    now = timezone.now()
    Target.objects.update(due_at=now - timedelta(hours=1), automatic=True, interval_seconds=60)
    target = Target.objects.select_related("environment").get()
    target.save()
    policy = RotationPolicy.objects.get()
    policy.interval_seconds, policy.due_at = 3600, now - timedelta(hours=1)
    policy.save()
    waiting = list(Run.objects.filter(active=True).values_list("pk", flat=True))
    assert set(waiting) <= set(runs.queue_due())
    place = delete_environment(actor=OPERATOR, environment=cast.development)
    assert runs.queue_due() == []
    assert rotations.queue_due() == []
    target = Target.objects.select_related("environment").get()
    assert is_paused(target)
    with pytest.raises(SyncPaused):
        require_not_paused(target)
    told = {"kind": "test", "about": place.uuid, "environment": Environment.every.get(pk=place.pk)}
    assert not raise_alert(**told, subject="nobody is told")
    restore_environment(actor=OPERATOR, environment=place)
    assert rotations.queue_due() != [] or RotationPolicy.objects.get().due_at != policy.due_at


def test_a_write_that_began_before_it_was_deleted_is_refused(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cast, "payments/key")
    alice = cast.principal(cast.alice)
    secret = Secret.objects.select_related("environment").get(name="payments/key")
    real = update_stored

    def late(**given: Any) -> None:
        delete_environment(actor=OPERATOR, environment=cast.development)
        real(**given)

    monkeypatch.setattr(write, "update_stored", late)
    with pytest.raises(ApprovalVoid, match="deleted"):
        write.update(actor=alice, secret=secret, value="too late")
    place = Environment.every.get(name="development")
    restore_environment(actor=OPERATOR, environment=place)
    secret = Secret.objects.select_related("environment").get(name="payments/key")
    assert reveal(actor=cast.principal(cast.alice), secret=secret).value != "too late"


def test_a_secret_that_was_deleted_before_is_kept_along(cast: Cast) -> None:
    fill(cast)
    delete_environment(actor=OPERATOR, environment=cast.development)
    Secret.objects.filter(name="payments/key").update(
        live=None, deleted_at=timezone.now() - timedelta(days=90)
    )
    assert purge_expired() == 0


@pytest.mark.every_database
def test_all_of_it_comes_back_or_goes_and_the_log_verifies(cast: Cast, settings: Settings) -> None:
    fill(cast)
    place = cast.development
    before = rows_of(place)
    assert {"Secret by environment", "Target by environment", "ServiceToken by environment"} <= before.keys()
    delete_environment(actor=OPERATOR, environment=place)
    assert [problem.object for problem in run_checks()] == []
    restore_environment(actor=OPERATOR, environment=Environment.every.get(pk=place.pk))
    assert rows_of(place) == before
    other = rows_of(cast.production)
    delete_environment(actor=OPERATOR, environment=Environment.objects.get(pk=place.pk))
    settings.KEEPER_DELETED_RETENTION_DAYS = 1e-9
    events = AuditEvent.objects.count()
    assert purge_environments() == 1
    assert rows_of(place) == {}
    assert not Environment.every.filter(pk=place.pk).exists()
    # What others consented to for its targets went with these.
    assert {label for label in other if "Consent" not in label} == {
        label for label in rows_of(cast.production) if "Consent" not in label
    }
    assert AuditEvent.objects.count() > events
    assert [problem.object for problem in run_checks()] == []
    assert VALUE not in str(list(AuditEvent.objects.values_list("details", flat=True)))
    assert list(verify()) == []


def edits() -> dict[str, Callable[[Environment], object]]:
    def secrets(place: Environment) -> Any:
        return Secret.objects.filter(environment=place)

    def versions(place: Environment) -> Any:
        return SecretVersion.objects.filter(secret__environment=place)

    def alone(place: Environment) -> None:
        _delete(versions(place).filter(secret__name="alone"))
        _delete(secrets(place).filter(name="alone"))

    return {
        "number": lambda place: secrets(place).update(current_number=7),
        "name": lambda place: secrets(place).filter(name="payments/key").update(name="zz"),
        "author": lambda place: versions(place).update(author="nobody"),
        "version lost": lambda place: _delete(versions(place)[:1]),
        "role": lambda place: Membership.objects.filter(environment=place).update(role="manager"),
        "token lost": lambda place: _delete(ServiceToken.objects.filter(environment=place, name="lost")),
        "secret lost": alone,
        "target": lambda place: Target.objects.filter(environment=place).update(name="elsewhere"),
    }


def _delete(rows: Any) -> None:
    """Delete rows as SQL would: nothing follows, and nothing is recorded."""
    table = rows.model._meta.db_table
    with connection.cursor() as cursor, connection.constraint_checks_disabled():
        for pk in list(rows.values_list("pk", flat=True)):
            cursor.execute(f"DELETE FROM {table} WHERE id = %s", [pk])


@pytest.mark.parametrize("edit", sorted(edits()))
def test_a_row_that_was_changed_outside_keeper_keeps_all_of_it(
    cast: Cast, edit: str, settings: Settings
) -> None:
    fill(cast)
    keep(cast, "alone")
    issue(actor=OPERATOR, environment=cast.development, role="reader", name="lost")
    stored = delete_environment(actor=OPERATOR, environment=cast.development)
    settings.KEEPER_DELETED_RETENTION_DAYS = 1e-9
    assert [problem.object for problem in run_checks()] == []
    edits()[edit](stored)
    found = {problem.object for problem in run_checks()}
    assert found
    before = rows_of(stored)
    with pytest.raises(CommandError, match="outside Keeper"):
        call_command("environments", "purge", "development", "--yes")
    assert purge_environments() == 0
    assert Environment.every.get(pk=stored.pk).purge_began_at is None
    assert rows_of(stored) == before
    assert {problem.object for problem in run_checks()} == found
    (event,) = AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION, object_uuid=stored.uuid)
    assert "not removed" in event.details


def test_a_row_that_was_put_back_to_an_older_state_keeps_all_of_it(cast: Cast) -> None:
    """Its MAC is valid, since Keeper wrote it: only the audit log has another state as the newest."""
    rows = Membership.objects.filter(environment=cast.development, user=cast.bob)
    older = rows.values().get()
    change_membership(actor=cast.principal(cast.alice), membership=rows.get(), role="viewer")
    stored = delete_environment(actor=OPERATOR, environment=cast.development)
    assert list(problems_of(stored)) == []
    rows.update(**older)
    assert rows.get().is_authentic()
    assert [problem.kind for problem in problems_of(stored)] == ["replayed"]
    with pytest.raises(Tampered):
        purge(actor=OPERATOR, environment=stored)
    assert rows.exists()


def test_a_removal_in_many_passes_is_no_damage_and_finds_what_is_edited_meanwhile(cast: Cast) -> None:
    fill(cast)
    stored = delete_environment(actor=OPERATOR, environment=cast.development)
    while SecretVersion.objects.filter(secret__environment=stored).exists():
        assert not purge(actor=OPERATOR, environment=stored, seconds=0)
        assert [problem.object for problem in run_checks()] == []
    Secret.objects.filter(environment=stored).update(current_number=7)
    with pytest.raises(Tampered, match="secret"):
        purge(actor=OPERATOR, environment=stored, seconds=0)
    assert Secret.objects.filter(environment=stored).exists()


def test_a_row_that_is_edited_after_the_look_is_not_removed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cast)
    stored = delete_environment(actor=OPERATOR, environment=cast.development)

    def late(environment: Environment) -> Iterator[Problem]:
        yield from problems_of(environment)
        Secret.objects.filter(environment=environment).update(current_number=7)

    monkeypatch.setattr(deletion, "problems_of", late)
    with pytest.raises(Tampered, match="meanwhile"):
        purge(actor=OPERATOR, environment=stored)
    assert Secret.objects.filter(environment=stored).exists()
