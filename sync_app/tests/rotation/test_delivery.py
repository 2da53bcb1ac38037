"""Rotation and the sync: nothing is changed that a target still serves, and AWS's stages follow Keeper's."""

import json

import pytest

from environments_app.tests.cast import Cast
from sync_app import runs
from sync_app.models import SyncEntry, Target
from sync_app.models.run import RunState
from sync_app.rotation.states import Step
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
from sync_app.tests.rotators.worlds import MariaDbWorld
from sync_app.tests.worlds import AwsWorld

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def deliver(cast: Cast, target: Target) -> None:
    # Long enough after the last pass for AWS, which keeps no more than so many versions.
    SyncEntry.objects.filter(target=target).update(synced_at=None)
    run = runs.execute(runs.request_sync(actor=cast.principal(cast.alice), target=target).pk)
    assert run is not None
    assert (run.state, run.error) == (RunState.DONE, "")


def at_stage(aws: AwsWorld, name: str, stage: str) -> str:
    reply = aws.client.get_secret_value(SecretId=f"{aws.prefix}/{name}", VersionStage=stage)
    return str(reply["SecretString"])


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
