"""Changing, pausing and removing targets, against the real OpenBao and moto."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from auditlog.models import LogEntry
from django.utils import timezone
from pytest_django import Settings

from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from environments_app.errors import Conflict, Forbidden, InvalidField, Invisible, NameInUse, Tampered
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from secrets_app.errors import EnvelopeError
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.domain.reconciliation import Ownership
from sync_app.errors import (
    BadDestination,
    CredentialsRejected,
    DifferentSystem,
    TargetConflict,
    TargetInUse,
)
from sync_app.models import Run, SyncEntry, Target
from sync_app.runs.schedule import retry_at
from sync_app.targets import service as targets
from sync_app.targets.credentials import open_backend
from sync_app.targets.lookup import find_target
from sync_app.tests.making import made
from sync_app.tests.worlds import World

pytestmark = pytest.mark.django_db


def stored(target: Target) -> Target:
    return Target.objects.select_related("environment").get(pk=target.pk)


@pytest.mark.every_database
def test_rules_and_name_are_changed(cast: Cast, vault: VaultWorld) -> None:
    alice, target = cast.principal(cast.alice), made(cast, vault)
    targets.change(actor=alice, target=target, name="renamed", automatic=True, interval_seconds=0)
    now = stored(target)
    assert (now.name, now.automatic, now.interval_seconds) == ("renamed", True, 0)
    # What changed in the environment while it was not automatic follows now.
    assert now.due_at
    assert now.is_authentic()
    event = AuditEvent.objects.get(action="target.change")
    assert '"automatic":true' in event.details
    targets.change(actor=alice, target=now, automatic=False)
    assert stored(target).due_at is None


def test_an_environment_that_is_protected_since_lets_nothing_apply_automatically(
    cast: Cast, vault: VaultWorld
) -> None:
    target = stored(made(cast, vault))
    place = Environment.objects.get(pk=target.environment_id)
    place.protected = True
    place.save()
    alice = cast.principal(cast.alice)
    with pytest.raises(Conflict, match="in the meantime"):
        targets.change(actor=alice, target=target, automatic=True)
    assert not stored(target).automatic
    # What widens nothing needs nobody else.
    assert targets.change(actor=alice, target=target, name="renamed").name == "renamed"


def test_nothing_changed_is_no_event(cast: Cast, vault: VaultWorld) -> None:
    targets.change(actor=cast.principal(cast.alice), target=made(cast, vault), automatic=False, name="first")
    assert not AuditEvent.objects.filter(action="target.change").exists()


@pytest.mark.parametrize("field", ["scope", "endpoint", "system", "place", "live", "backend"])
def test_what_a_target_is_does_not_change(cast: Cast, vault: VaultWorld, field: str) -> None:
    given: dict[str, Any] = {field: "x"}
    with pytest.raises(InvalidField):
        targets.change(actor=cast.principal(cast.alice), target=made(cast, vault), **given)


def test_a_name_in_use_is_refused(cast: Cast, vault: VaultWorld) -> None:
    made(cast, vault)
    other = made(cast, vault, name="second", destination=vault.destination | {"prefix": "elsewhere"})
    with pytest.raises(NameInUse):
        targets.change(actor=cast.principal(cast.alice), target=other, name="first")


@pytest.mark.parametrize("who", ["erin", "root"])
def test_only_managers_change(cast: Cast, vault: VaultWorld, who: str) -> None:
    actor, target = cast.principal(getattr(cast, who)), made(cast, vault)
    for act in (
        lambda: targets.change(actor=actor, target=target, automatic=True),
        lambda: targets.change_credentials(actor=actor, target=target, credentials=vault.credentials),
        lambda: targets.remove(actor=actor, target=target),
    ):
        with pytest.raises(Forbidden):
            act()


def test_outsiders_find_no_target_to_change(cast: Cast, vault: VaultWorld) -> None:
    target = made(cast, vault)
    with pytest.raises(Invisible):
        targets.pause(actor=cast.principal(cast.charlie), target=target)


# --- Credentials and endpoints ------------------------------------------------------------------


def test_new_credentials_replace_the_old_ones(cast: Cast, vault: VaultWorld) -> None:
    alice, target = cast.principal(cast.alice), made(cast, vault)
    before = stored(target).credentials
    fresh = vault.client.auth.token.create(policies=["root"])["auth"]["client_token"]
    targets.change_credentials(actor=alice, target=target, credentials={"token": fresh})
    vault.client.auth.token.revoke(fresh)
    assert stored(target).credentials != before
    with pytest.raises(CredentialsRejected), open_backend(actor=alice, target=stored(target)) as backend:
        backend.check_connection()


def test_what_failed_by_the_old_credentials_does_not_hold_up_the_new_ones(
    cast: Cast, vault: VaultWorld
) -> None:
    target = made(cast, vault)
    Target.objects.filter(pk=target.pk).update(failures=5, last_failure_at=timezone.now())
    assert retry_at(stored(target)) is not None
    targets.change_credentials(actor=cast.principal(cast.alice), target=target, credentials=vault.credentials)
    assert retry_at(stored(target)) is None


def test_a_new_address_of_the_same_vault_takes_the_credentials_again(cast: Cast, vault: VaultWorld) -> None:
    alice, target = cast.principal(cast.alice), made(cast, vault)
    old = stored(target).credentials.envelope
    address = f"http://localhost:{vault.url.rpartition(':')[2]}"
    targets.change_credentials(
        actor=alice, target=target, credentials=vault.credentials, destination={"address": address}
    )
    now = stored(target)
    assert (now.endpoint, now.destination["address"]) == (address, address)
    with open_backend(actor=alice, target=now) as backend:
        backend.check_connection()
    # The envelope that was sealed for the old address, put back by SQL, opens for it no more.
    now.credentials = type(now.credentials)(old)
    with pytest.raises(EnvelopeError), open_backend(actor=alice, target=now):
        pytest.fail("it must not connect")


def test_another_vault_is_another_target(
    cast: Cast, vault: VaultWorld, second_vault: tuple[str, str]
) -> None:
    alice, target = cast.principal(cast.alice), made(cast, vault)
    url, token = second_vault
    with pytest.raises(DifferentSystem):
        targets.change_credentials(
            actor=alice, target=target, credentials={"token": token}, destination={"address": url}
        )
    assert stored(target).endpoint == vault.url
    assert AuditEvent.objects.filter(action="target.change", outcome="failed").exists()


def test_another_account_is_another_target(cast: Cast, aws: AwsWorld) -> None:
    target = made(cast, aws)
    role = "arn:aws:iam::210987654321:role/elsewhere"
    with pytest.raises(DifferentSystem, match="aws/210987654321"):
        targets.change_credentials(
            actor=cast.principal(cast.alice),
            target=target,
            credentials=aws.credentials,
            destination={"role_arn": role},
        )


@pytest.mark.parametrize("field", ["prefix", "mount", "namespace"])
def test_the_place_never_changes(cast: Cast, vault: VaultWorld, field: str) -> None:
    with pytest.raises(BadDestination, match="create another target"):
        targets.change_credentials(
            actor=cast.principal(cast.alice),
            target=made(cast, vault),
            credentials=vault.credentials,
            destination={field: vault.prefix.upper()},
        )


def test_an_address_inside_is_refused(cast: Cast, vault: VaultWorld, settings: Settings) -> None:
    target = made(cast, vault)
    with pytest.raises(Exception, match="KEEPER_OUTBOUND_ALLOWED"):
        targets.change_credentials(
            actor=cast.principal(cast.alice),
            target=target,
            credentials=vault.credentials,
            destination={"address": "http://169.254.169.254"},
        )


def test_the_history_of_a_target_holds_no_credentials(cast: Cast, vault: VaultWorld) -> None:
    alice, target = cast.principal(cast.alice), made(cast, vault)
    targets.change_credentials(actor=alice, target=target, credentials=vault.credentials)
    targets.change(actor=alice, target=target, automatic=True)
    entries = LogEntry.objects.filter(content_type__model="target")
    assert entries.count() == 2
    told = "".join(str(entry.changes) for entry in entries)
    assert "automatic" in told
    for hidden in (vault.token, "credentials", "row_mac"):
        assert hidden not in told


# --- Pausing and removing -----------------------------------------------------------------------


@pytest.mark.every_database
def test_pausing_and_resuming(cast: Cast, vault: VaultWorld) -> None:
    root, target = cast.principal(cast.root), made(cast, vault)
    targets.pause(actor=root, target=target)
    targets.pause(actor=root, target=target)
    paused = stored(target)
    assert paused.paused_at is not None
    assert paused.due_at is None
    assert paused.is_authentic()
    targets.resume(actor=root, target=target)
    assert stored(target).paused_at is None
    assert stored(target).due_at is not None
    assert AuditEvent.objects.filter(action="target.pause").count() == 2


@pytest.mark.every_database
def test_a_removed_target_frees_its_place_and_forgets_its_credentials(cast: Cast, world: World) -> None:
    alice, target = cast.principal(cast.alice), made(cast, world)
    SyncEntry.objects.create(target=target, name="seen", ownership=Ownership.NONE)
    before = stored(target).credentials.envelope
    targets.remove(actor=alice, target=target)
    gone = stored(target)
    assert (gone.live, gone.due_at) == (None, None)
    assert gone.credentials.envelope != before
    assert gone.is_authentic()
    assert not SyncEntry.objects.exists()
    with pytest.raises(TargetConflict), open_backend(actor=alice, target=gone):
        pytest.fail("it must not connect")
    with pytest.raises(Invisible):
        find_target(actor=alice, environment=cast.development, id=target.pk)
    assert made(cast, world).name == target.name
    with pytest.raises(TargetConflict):
        targets.change(actor=alice, target=gone, automatic=True)


def test_a_target_that_owns_secrets_is_not_removed(cast: Cast, vault: VaultWorld) -> None:
    target = made(cast, vault)
    SyncEntry.objects.create(target=target, name="ours", secret_uuid=uuid4(), ownership=Ownership.CREATED)
    with pytest.raises(TargetInUse, match="disconnect"):
        targets.remove(actor=cast.principal(cast.alice), target=target)


def test_a_target_with_a_run_under_way_is_not_removed(cast: Cast, vault: VaultWorld) -> None:
    target = made(cast, vault)
    actor = cast.principal(cast.alice)
    Run.objects.create(
        target=target, kind="plan", trigger="person",
        actor_kind=actor.kind, actor_uuid=actor.uuid, actor_name=actor.name,
    )  # fmt: skip
    with pytest.raises(TargetInUse, match="is running"):
        targets.remove(actor=actor, target=target)


# --- Rows that were changed outside Keeper ------------------------------------------------------


def test_a_forged_target_can_only_be_removed(cast: Cast, vault: VaultWorld, sql: Callable[..., None]) -> None:
    alice, target = cast.principal(cast.alice), made(cast, vault)
    SyncEntry.objects.create(target=target, name="ours", secret_uuid=uuid4(), ownership=Ownership.CREATED)
    sql("UPDATE sync_app_target SET direction = 'both'")
    forged = stored(target)
    acts: list[Callable[[], Any]] = [
        lambda: targets.change(actor=alice, target=forged, automatic=True),
        lambda: targets.pause(actor=alice, target=forged),
        lambda: targets.change_credentials(actor=alice, target=forged, credentials=vault.credentials),
    ]
    for act in acts:
        with pytest.raises(Tampered):
            act()
    targets.remove(actor=alice, target=forged)
    assert '"forged":true' in AuditEvent.objects.get(action="target.remove").details


def test_a_target_of_a_forged_environment_does_nothing(
    cast: Cast, vault: VaultWorld, sql: Callable[..., None]
) -> None:
    alice, target = cast.principal(cast.alice), made(cast, vault)
    sql("UPDATE environments_app_environment SET kms_key_alias = 'alias/evil'")
    with pytest.raises(Tampered), open_backend(actor=alice, target=stored(target)):
        pytest.fail("it must not connect")


def found() -> list[tuple[str, str]]:
    return [(problem.kind, problem.object.partition(" ")[0]) for problem in run_checks()]


@pytest.mark.every_database
def test_the_integrity_checks_pass_over_targets_as_they_were_written(cast: Cast, vault: VaultWorld) -> None:
    alice, target = cast.principal(cast.alice), made(cast, vault)
    targets.pause(actor=alice, target=target)
    targets.change(actor=alice, target=target, automatic=True)
    SyncEntry.objects.create(target=target, name="a", ownership=Ownership.NONE)
    assert found() == []


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        ("UPDATE sync_app_target SET automatic = 1", ("edited", "target")),
        ("UPDATE sync_app_target SET environment_id = %s", ("edited", "target")),
        ("UPDATE sync_app_target SET paused_at = NULL", ("edited", "target")),
        ("UPDATE sync_app_syncentry SET ownership = 'created'", ("edited", "sync-entry")),
    ],
)
def test_edited_rows_are_found(
    cast: Cast, vault: VaultWorld, sql: Callable[..., None], edit: str, problem: tuple[str, str]
) -> None:
    target = made(cast, vault)
    targets.pause(actor=cast.principal(cast.alice), target=target)
    SyncEntry.objects.create(target=target, name="a", ownership=Ownership.NONE)
    elsewhere = Environment.objects.get(name="production")
    sql(edit, *([elsewhere.pk] if "%s" in edit else []))
    assert problem in found()


def test_an_old_state_that_was_put_back_is_found(
    cast: Cast, vault: VaultWorld, sql: Callable[..., None]
) -> None:
    alice, target = cast.principal(cast.alice), made(cast, vault, automatic=True)
    mac = bytes(stored(target).row_mac)
    targets.change(actor=alice, target=target, automatic=False)
    sql("UPDATE sync_app_target SET automatic = 1, row_mac = %s", mac)
    assert stored(target).is_authentic()
    assert found() == [("replayed", "target")]


def test_credentials_that_do_not_open_are_found(
    cast: Cast, vault: VaultWorld, sql: Callable[..., None]
) -> None:
    first = made(cast, vault)
    other = made(cast, vault, name="second", destination=vault.destination | {"prefix": "elsewhere"})
    sql(
        "UPDATE sync_app_target SET credentials = %s WHERE id = %s",
        stored(other).credentials.envelope,
        first.pk,
    )
    assert found() == [("sealed", "target")]
