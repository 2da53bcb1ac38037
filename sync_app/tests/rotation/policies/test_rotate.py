"""`manage.py rotate`: one secret, what is due, and the dry run that changes nothing."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from environments_app.tests.cast import Cast
from secrets_app.models import SecretVersion
from sync_app.domain.rotation_state import Step
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import schedule
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.tests.rotation.making import grace_over, made_policy, made_secret, stored, worked
from sync_app.tests.rotators.worlds import DatabaseWorld, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]


def rotate(*arguments: str) -> tuple[int, Any]:
    """Run the command; return how it exits and what it says."""
    out, code = StringIO(), 0
    try:
        call_command("rotate", *arguments, "--format=json", stdout=out)
    except SystemExit as error:
        code = int(str(error.code))
    return code, json.loads(out.getvalue())


def test_it_rotates_one_secret_now(cast: Cast, generated: World) -> None:
    made_policy(cast, generated)
    code, (told,) = rotate("--secret=development/app/db", "--reason=leaked")
    assert (code, told["secret"], told["step"]) == (0, "development/app/db", "grace")
    assert Rotation.objects.get().reason == "leaked"
    for wrong in ("development/other", "nowhere/app/db"):
        with pytest.raises(CommandError):
            call_command("rotate", f"--secret={wrong}")


def test_a_removed_policy_is_never_due_and_forgets_its_credential(cast: Cast, mariadb: MariaDbWorld) -> None:
    policy = made_policy(cast, mariadb, interval_seconds=3600)
    before = RotationPolicy.objects.get().credentials.envelope
    assert policy.due_at is not None
    policies.remove(actor=cast.principal(cast.alice), policy=policy)
    gone = RotationPolicy.objects.get()
    assert (gone.live, gone.due_at, gone.is_authentic()) == (None, None, True)
    assert gone.credentials.envelope != before


def test_a_changed_cadence_counts_from_now_on(cast: Cast, generated: World) -> None:
    policy = made_policy(cast, generated)
    assert policy.due_at is None
    changed = policies.change(actor=cast.principal(cast.alice), policy=policy, interval_seconds=3600)
    assert changed.due_at is not None
    secret = stored(policy.secret)
    assert secret.rotation_due_at == changed.due_at
    policies.change(actor=cast.principal(cast.alice), policy=changed, interval_seconds=0)
    assert RotationPolicy.objects.get().due_at is None


def test_due_rotates_what_is_due_once_and_carries_on_what_waits(cast: Cast, generated: World) -> None:
    policy = made_policy(cast, generated, interval_seconds=3600, grace_seconds=60)
    by_hand = made_policy(cast, generated, secret=made_secret(cast, generated, name="by/hand"))
    suspended = made_policy(
        cast, generated, secret=made_secret(cast, generated, name="suspended"), interval_seconds=60
    )
    policies.suspend(actor=cast.principal(cast.alice), policy=suspended)
    assert rotate("--due") == (0, [])
    # Thirty hours late, it is rotated once.
    RotationPolicy.objects.exclude(pk=by_hand.pk).update(due_at="2026-01-01T00:00:00Z")
    assert schedule.queue_due() == [Rotation.objects.get().pk]
    assert [told["step"] for told in rotate("--due")[1]] == ["grace"]
    assert rotate("--due") == (0, [])
    grace_over(Rotation.objects.get())
    assert [told["step"] for told in rotate("--due")[1]] == ["done"]
    policy.refresh_from_db()
    assert policy.due_at is not None
    assert policy.last_rotated_at is not None
    assert policy.due_at > policy.last_rotated_at


def test_a_scheduled_rotation_begins_in_its_window_only(cast: Cast, generated: World) -> None:
    policy = made_policy(cast, generated, interval_seconds=3600)
    closed = "mon-tue" if policy.created_at.weekday() in {3, 4, 5} else "thu-sat"
    if policy.created_at.weekday() == 2:
        closed = "fri-sun"
    policies.change(actor=cast.principal(cast.alice), policy=policy, window=f"{closed} 10:00-11:00")
    RotationPolicy.objects.update(due_at="2026-01-01T00:00:00Z")
    assert rotate("--due") == (0, [])
    policy.refresh_from_db()
    assert policy.due_at is not None
    assert policy.due_at.strftime("%H:%M") == "10:00"
    # By hand it begins at once.
    assert rotate("--secret=development/app/db")[1][0]["step"] == "grace"


def test_what_waits_behind_a_grace_begins_in_the_window_and_not_while_suspended(
    cast: Cast, generated: World
) -> None:
    policy = made_policy(cast, generated, grace_seconds=0)
    alice = cast.principal(cast.alice)
    policy = policies.suspend(actor=alice, policy=policy)
    Rotation(policy=policy, actor_kind="user", actor_uuid=alice.uuid, actor_name="alice").save()
    assert schedule.queue_due() == []
    assert Rotation.objects.get().step == Step.WAITING
    policies.resume(actor=alice, policy=policy)
    assert schedule.queue_due() == [Rotation.objects.get().pk]
    assert Rotation.objects.get().step == Step.PREPARE


def test_the_dry_run_finds_what_is_wrong_and_changes_nothing(cast: Cast, mariadb: MariaDbWorld) -> None:
    secret = made_secret(cast, mariadb)
    made_policy(cast, mariadb, secret=secret)
    code, (told,) = rotate("--secret=development/app/db", "--dry-run")
    assert (code, told["ok"]) == (0, True)
    assert {finding["what"] for finding in told["findings"]} >= {"rights", "login", "next login"}
    mariadb.execute("REVOKE CREATE USER ON *.* FROM %s@'%%'", mariadb.administrator)
    code, (told,) = rotate("--secret=development/app/db", "--dry-run")
    assert (code, told["ok"]) == (1, False)
    assert "CREATE USER" in told["findings"][0]["detail"]
    assert (Rotation.objects.count(), SecretVersion.objects.count()) == (0, 1)
    assert mariadb.works(mariadb.current)
    # For real it stops, says the same, and nothing was touched.
    code, (told,) = rotate("--secret=development/app/db")
    assert (code, told["step"], told["stopped"]) == (1, Step.PREPARE, True)
    assert "CREATE USER" in told["problem"]
    assert mariadb.works(mariadb.current)


def test_the_dry_run_logs_in_with_the_idle_login_as_long_as_its_password_is_known(
    cast: Cast, database: DatabaseWorld
) -> None:
    policy = made_policy(cast, database)

    def told() -> str:
        _, (found,) = rotate("--secret=development/app/db", "--dry-run")
        return str(next(each["detail"] for each in found["findings"] if each["what"] == "idle login"))

    assert "its password is not known" in told()
    assert worked(request_rotation(actor=cast.principal(cast.erin), policy=policy)).step == Step.GRACE
    assert told() == "the previous value, which is still offered, logs in"
    database.set_password(json.loads(database.current)["username"], "changed by somebody")
    assert told().startswith("the previous value is offered and does not log in")


def test_a_secret_is_due_while_its_policy_rotates_it_and_no_longer(cast: Cast, generated: World) -> None:
    """Lists and the dashboard ask the secret, and not the policy."""
    alice, policy = cast.principal(cast.alice), made_policy(cast, generated, interval_seconds=3600)
    due_at = stored(policy.secret).rotation_due_at
    assert due_at is not None
    policy = policies.suspend(actor=alice, policy=policy)
    assert stored(policy.secret).rotation_due_at is None
    policy = policies.resume(actor=alice, policy=policy)
    assert stored(policy.secret).rotation_due_at == due_at
    policies.remove(actor=alice, policy=policy)
    assert stored(policy.secret).rotation_due_at is None
