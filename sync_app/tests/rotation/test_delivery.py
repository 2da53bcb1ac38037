"""Rotation and the sync: nothing is changed that a target still serves, and AWS's stages follow Keeper's."""

import json
from datetime import timedelta

import pytest

from environments_app.authorization.principals import token_principal
from environments_app.models import Alert
from environments_app.tests.cast import Cast
from environments_app.tokens import rotation as tokens_rotation
from environments_app.tokens import service as tokens
from environments_app.users import accounts
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.types.registry import SecretType
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.domain.reconciliation import Deletion
from sync_app.domain.rotation_state import Step
from sync_app.jobs.leases import database_now
from sync_app.models import Acknowledgement, Rotation, Run, SyncEntry, Target
from sync_app.models.run import RunState
from sync_app.rotation.execution import consumers, operator_actions
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.runs import runner as runs_runner
from sync_app.targets import consents
from sync_app.tests.making import made
from sync_app.tests.rotation.making import (
    asked,
    grace_over,
    made_policy,
    made_secret,
    stages,
    waited,
    worked,
)
from tests.aws_strict.faults import Fault

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]


def deliver(cast: Cast, target: Target, *, at_once: bool = False) -> None:
    if not at_once:
        # Long enough after the last version for AWS, which takes one in ten minutes.
        SyncEntry.objects.filter(target=target).update(synced_at=None)
    run = runs_runner.execute(runs_runner.request_sync(actor=cast.principal(cast.alice), target=target).pk)
    assert run is not None
    assert (run.state, run.error) == (RunState.DONE, "")
    if target.backend == VaultWorld.kind:
        # Long enough ago for the last reader of Vault to know.
        SyncEntry.objects.filter(target=target).update(synced_at=None)


def passed(cast: Cast, target: Target) -> Run:
    SyncEntry.objects.filter(target=target).update(synced_at=None)
    run = runs_runner.execute(runs_runner.request_sync(actor=cast.principal(cast.alice), target=target).pk)
    assert run is not None
    return run


def alerted() -> list[str]:
    return list(Alert.objects.filter(open=True, kind__startswith="sync.").values_list("kind", flat=True))


def at_stage(aws: AwsWorld, name: str, stage: str) -> str:
    reply = aws.client.get_secret_value(SecretId=f"{aws.prefix}/{name}", VersionStage=stage)
    return str(reply["SecretString"])


def stages_of(aws: AwsWorld, name: str) -> dict[str, str]:
    """Return which version is at which stage, and see that no other version is kept."""
    reply = aws.client.describe_secret(SecretId=f"{aws.prefix}/{name}")
    return {label: version for version, labels in reply["VersionIdsToStages"].items() for label in labels}


def stopped_with_a_pending_value(cast: Cast, mariadb: MariaDbWorld, secret: Secret) -> Rotation:
    mariadb.grant_to_a_alone()
    rotation = worked(asked(cast, made_policy(cast, mariadb, secret=secret)))
    assert (rotation.step, rotation.stopped_at is not None) == (Step.TEST, True)
    return rotation


def test_what_is_pending_stands_there_as_pending_and_the_same_version_becomes_current(
    cast: Cast, mariadb: MariaDbWorld, aws: AwsWorld
) -> None:
    secret = made_secret(cast, mariadb)
    target = made(cast, aws)
    deliver(cast, target)
    rotation = stopped_with_a_pending_value(cast, mariadb, secret)
    # AWS takes no second version within ten minutes, and what is pending can wait.
    deliver(cast, target, at_once=True)
    assert "AWSPENDING" not in stages_of(aws, secret.name)
    deliver(cast, target)
    held, before = stages(cast, secret), stages_of(aws, secret.name)
    assert at_stage(aws, secret.name, "AWSPENDING") == held["pending"]
    assert at_stage(aws, secret.name, "AWSCURRENT") == held["current"] == mariadb.current
    # Again nothing is written.
    deliver(cast, target)
    assert stages_of(aws, secret.name) == before
    mariadb.grant_to_b_too()
    assert (
        worked(operator_actions.retry(actor=cast.principal(cast.erin), rotation=rotation)).step == Step.GRACE
    )
    # No new version is made, so that nothing has to wait: the label moves.
    deliver(cast, target, at_once=True)
    after = stages_of(aws, secret.name)
    assert after["AWSCURRENT"] == before["AWSPENDING"]
    assert after["AWSPREVIOUS"] == before["AWSCURRENT"]
    assert "AWSPENDING" not in after
    assert set(after.values()) == set(before.values())
    assert at_stage(aws, secret.name, "AWSCURRENT") == stages(cast, secret)["current"] == held["pending"]
    assert worked(grace_over(rotation)).step == Step.DONE


def test_what_is_pending_no_more_is_taken_back_and_what_somebody_else_has_pending_stays(
    cast: Cast, mariadb: MariaDbWorld, aws: AwsWorld
) -> None:
    secret = made_secret(cast, mariadb)
    target = made(cast, aws)
    deliver(cast, target)
    rotation = stopped_with_a_pending_value(cast, mariadb, secret)
    # The answer to the first attempt is lost, which holds nothing up and is told; the next pass finds its work done.
    aws.plan.fail("PutSecretValue", Fault.DROPPED_REPLY, times=3)
    SyncEntry.objects.filter(target=target).update(synced_at=None)
    first = passed(cast, target)
    assert (first.state, first.failed) == (RunState.DONE, 0)
    assert (
        f"AWSPENDING does not follow Keeper's pending value yet: {secret.name}: PutSecretValue" in first.error
    )
    assert alerted() == ["sync.noticed"]
    pending = stages_of(aws, secret.name)["AWSPENDING"]
    second = passed(cast, target)
    assert (second.state, second.error) == (RunState.DONE, "")
    assert stages_of(aws, secret.name)["AWSPENDING"] == pending
    assert alerted() == []
    assert (
        worked(operator_actions.abandon(actor=cast.principal(cast.erin), rotation=rotation)).step
        == Step.ABANDONED
    )
    deliver(cast, target)
    assert stages_of(aws, secret.name).keys() == {"AWSCURRENT"}
    # A rotation of AWS's own is under way there: its label is not ours to move.
    path = f"{aws.prefix}/{secret.name}"
    aws.client.put_secret_value(SecretId=path, SecretString="theirs", VersionStages=["AWSPENDING"])
    assert worked(asked(cast, rotation.policy)).step == Step.TEST
    SyncEntry.objects.filter(target=target).update(pending_at=None)
    deliver(cast, target)
    assert at_stage(aws, secret.name, "AWSPENDING") == "theirs"
    assert at_stage(aws, secret.name, "AWSCURRENT") == mariadb.current


def test_a_rotation_waits_for_a_target_that_serves_an_older_login(
    cast: Cast, mariadb: MariaDbWorld, aws: AwsWorld
) -> None:
    secret = made_secret(cast, mariadb)
    target = made(cast, aws)
    deliver(cast, target)
    policy = made_policy(cast, mariadb, secret=secret)
    first = worked(asked(cast, policy))
    assert first.step == Step.GRACE
    # The grace is over, and the target still serves the value before: it lives on.
    first = worked(grace_over(first))
    assert (first.step, first.problem) == (Step.GRACE, "waits for first to hold the current version")
    assert mariadb.works(at_stage(aws, secret.name, "AWSCURRENT"))
    deliver(cast, target)
    held = stages(cast, secret)
    assert at_stage(aws, secret.name, "AWSCURRENT") == held["current"]
    assert at_stage(aws, secret.name, "AWSPREVIOUS") == held["previous"] == mariadb.current
    # What AWS's drivers and existing clients read is the convention of AWS.
    fields = json.loads(at_stage(aws, secret.name, "AWSCURRENT"))
    assert fields.keys() >= {"engine", "host", "port", "username", "password", "dbname"}
    assert worked(waited(first)).step == Step.DONE
    # The next one waits before it begins, where the target lags behind.
    worked(asked(cast, policy))
    second = asked(cast, policy)
    assert worked(second).step == Step.WAITING
    assert mariadb.works(at_stage(aws, secret.name, "AWSCURRENT"))


def test_a_rotation_waits_for_a_target_where_an_older_login_is_filled_in(
    cast: Cast, mariadb: MariaDbWorld, aws: AwsWorld
) -> None:
    secret = made_secret(cast, mariadb)
    for name, value in (
        ("app/login", "${development/app/db}"),
        ("app/url", "log in: ${development/app/login}"),
    ):
        write.create(
            actor=cast.principal(cast.alice),
            environment=cast.development,
            name=name,
            secret_type=SecretType.TEXT,
            value=value,
            uses_references=True,
        )
    target = made(cast, aws, scope="app/url")
    deliver(cast, target)
    policy = made_policy(cast, mariadb, secret=secret)
    first = worked(grace_over(worked(asked(cast, policy))))
    assert (first.step, first.problem) == (Step.GRACE, "waits for first to hold the current version")
    assert mariadb.works(at_stage(aws, "app/url", "AWSCURRENT").removeprefix("log in: "))
    deliver(cast, target)
    served = stages(cast, secret)["current"]
    assert at_stage(aws, "app/url", "AWSCURRENT") == f"log in: {served}"
    assert worked(waited(first)).step == Step.DONE


def test_a_target_of_another_environment_is_not_named_and_one_that_gets_nothing_is_not_waited_for(
    cast: Cast, generated: GeneratedWorld, vault: VaultWorld
) -> None:
    secret = made_secret(cast, generated)
    write.create(
        actor=cast.principal(cast.alice),
        environment=cast.production,
        name="url",
        secret_type=SecretType.TEXT,
        value="${development/app/db}",
        uses_references=True,
    )
    target = made(cast, vault, environment=cast.production)
    given = consents.give_consent(
        actor=cast.principal(cast.alice), environment=cast.development, target=target
    )
    deliver(cast, target)
    rotation = worked(grace_over(worked(asked(cast, made_policy(cast, generated, secret=secret)))))
    assert rotation.step == Step.GRACE
    assert rotation.problem == "waits for a target of another environment to hold the current version"
    consents.withdraw_consent(actor=cast.principal(cast.alice), consent=given)
    assert worked(waited(rotation)).step == Step.DONE


def test_a_consumer_that_can_confirm_nothing_any_more_is_not_waited_for(
    cast: Cast, generated: GeneratedWorld
) -> None:
    alice, secret = cast.principal(cast.alice), made_secret(cast, generated)
    token, _ = tokens.issue(actor=alice, environment=cast.development, role="reader", name="app")
    for consumer in (token_principal(token), cast.principal(cast.bob)):
        consumers.acknowledge(actor=consumer, secret=secret, number=1)
    policy = made_policy(cast, generated, secret=secret, waits_for_consumers=True)
    rotation = worked(grace_over(worked(asked(cast, policy))))
    assert (rotation.step, rotation.problem) == (
        Step.GRACE,
        "waits for app, bob to confirm the current version",
    )
    # Its successor is another consumer, and bob leaves.
    tokens_rotation.rotate(actor=alice, token=token, overlap=timedelta(0))
    rotation = worked(waited(rotation))
    assert rotation.problem == "waits for bob to confirm the current version"
    accounts.disable_user(actor=cast.principal(cast.root), user=cast.bob)
    assert worked(waited(rotation)).step == Step.DONE


def test_a_confirmation_that_sql_moved_to_the_present_version_is_none(
    cast: Cast, generated: GeneratedWorld
) -> None:
    secret = made_secret(cast, generated)
    consumers.acknowledge(actor=cast.principal(cast.bob), secret=secret, number=1)
    policy = made_policy(cast, generated, secret=secret, waits_for_consumers=True)
    rotation = worked(grace_over(worked(asked(cast, policy))))
    secret.refresh_from_db()
    Acknowledgement.objects.update(number=secret.current_number)
    rotation = worked(waited(rotation))
    assert (rotation.step, rotation.problem) == (Step.GRACE, "waits for bob to confirm the current version")


def test_a_standby_may_still_serve_what_a_login_was_filled_into(
    cast: Cast, generated: GeneratedWorld, vault: VaultWorld
) -> None:
    secret = made_secret(cast, generated)
    write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="app/url",
        secret_type=SecretType.TEXT,
        value="${development/app/db}",
        uses_references=True,
    )
    deliver(cast, made(cast, vault, scope="app/url"))
    assert consumers.readers_settle_at(secret) is None
    SyncEntry.objects.update(synced_at=database_now())
    assert consumers.readers_settle_at(secret) is not None


@pytest.mark.parametrize("place", ["aws", "vault"])
def test_a_name_that_was_withdrawn_is_not_waited_for(
    cast: Cast, generated: GeneratedWorld, place: str, request: pytest.FixtureRequest
) -> None:
    secret = made_secret(cast, generated)
    made_secret(cast, generated, name="other")
    target = made(cast, request.getfixturevalue(place), deletion=Deletion.RECOVERABLE, budget_percent=100)
    deliver(cast, target)
    policy = made_policy(cast, generated, secret=secret, grace_seconds=0)
    lifecycle.rename(actor=cast.principal(cast.alice), secret=secret, name="app/database")
    rotation = worked(asked(cast, policy))
    assert rotation.step == Step.GRACE
    # It is withdrawn by this pass, and waits out its recovery window from then on.
    deliver(cast, target)
    assert worked(waited(rotation)).step == Step.DONE
    deliver(cast, target)
    assert worked(asked(cast, policy)).problem == "waits for first to hold the current version"


def test_a_name_that_is_not_withdrawn_is_said_with_what_to_do(
    cast: Cast, generated: GeneratedWorld, vault: VaultWorld
) -> None:
    secret = made_secret(cast, generated)
    target = made(cast, vault)
    deliver(cast, target)
    policy = made_policy(cast, generated, secret=secret, grace_seconds=0)
    lifecycle.rename(actor=cast.principal(cast.alice), secret=secret, name="app/database")
    rotation = worked(asked(cast, policy))
    deliver(cast, target)
    rotation = worked(waited(rotation))
    assert rotation.step == Step.GRACE
    assert rotation.problem == (
        "waits for first to let go of app/db, a former name: the target withdraws it if its deletion is on; "
        "else delete it there by hand"
    )
    vault.remove(f"{vault.prefix}/app/db")
    deliver(cast, target)
    assert worked(waited(rotation)).step == Step.DONE
