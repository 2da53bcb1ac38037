"""Secrets Manager as AWS documents it: races, lost replies, keys, quotas, and how many calls it takes."""

import functools
from collections.abc import Iterator
from uuid import UUID

import pytest

from sync_app.backends.aws.secrets_manager import PENDING, AwsSecretsManager
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.base import Backend
from sync_app.backends.observations import Mark
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BackendError,
    BadDestination,
    ChangedSinceRead,
    CredentialsRejected,
    KeyUnusable,
    NameUnusable,
    OutcomeUnknown,
    PermissionMissing,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
    ValueUnusable,
)
from tests.aws_strict.faults import Fault

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))


@pytest.fixture
def backend(aws: AwsWorld) -> Iterator[Backend]:
    with aws.backend() as made:
        yield made


def test_it_keeps_what_came_between_put_and_move(aws: AwsWorld, backend: Backend) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    path = f"{aws.prefix}/password"
    aws.plan.before("UpdateSecretVersionStage", lambda: aws.write(path, "theirs"))
    with pytest.raises(ChangedSinceRead):
        backend.update(made, "ours", token=OTHER_TOKEN)
    assert aws.value(path) == "theirs"
    stages = aws.client.describe_secret(SecretId=path)["VersionIdsToStages"]
    assert not any(PENDING in labels for labels in stages.values())


def test_it_restores_what_changed_while_it_was_deleted(aws: AwsWorld, backend: Backend) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    path = f"{aws.prefix}/password"
    aws.plan.before("DeleteSecret", lambda: aws.write(path, "theirs"))
    with pytest.raises(ChangedSinceRead, match="restored"):
        backend.delete(made)
    assert aws.value(path) == "theirs"
    assert backend.get_metadata("password").presence is Presence.PRESENT


def test_it_looks_after_a_deletion_whose_reply_is_lost(aws: AwsWorld, backend: Backend) -> None:
    kept = backend.create("kept", "first", mark=MARK, token=TOKEN)
    gone = backend.create("gone", "first", mark=MARK, token=OTHER_TOKEN)
    aws.plan.fail("DeleteSecret", Fault.DROPPED_REPLY)
    backend.delete(gone)
    assert backend.get_metadata("gone").presence is Presence.DELETED
    aws.plan.fail("DeleteSecret", Fault.DROPPED_REPLY)
    aws.plan.before("DeleteSecret", lambda: aws.write(f"{aws.prefix}/kept", "theirs"))
    with pytest.raises(ChangedSinceRead, match="restored"):
        backend.delete(kept)
    assert aws.value(f"{aws.prefix}/kept") == "theirs"


@pytest.mark.parametrize("operation", ["PutSecretValue", "UpdateSecretVersionStage", "DescribeSecret"])
def test_it_finds_its_work_done_after_a_lost_reply(aws: AwsWorld, backend: Backend, operation: str) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    aws.plan.fail(operation, Fault.DROPPED_REPLY)
    after = backend.update(made, "second", token=OTHER_TOKEN)
    assert aws.value(f"{aws.prefix}/password") == "second"
    assert after.version == OTHER_TOKEN


@pytest.mark.parametrize("fault", [Fault.ACCESS_DENIED, Fault.THROTTLE, Fault.SERVER_ERROR])
def test_a_look_that_fails_after_an_answered_move_leaves_the_outcome_open(
    aws: AwsWorld, backend: Backend, fault: Fault
) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    fail_looks = functools.partial(aws.plan.keep_failing, "DescribeSecret", fault)
    aws.plan.before("UpdateSecretVersionStage", fail_looks)
    with pytest.raises(OutcomeUnknown) as told:
        backend.update(made, "second", token=OTHER_TOKEN)
    assert told.value.made == OTHER_TOKEN
    assert aws.value(f"{aws.prefix}/password") == "second"


@pytest.mark.parametrize("shows", ["the version before", "nothing"])
def test_a_look_that_lags_after_an_answered_move_leaves_the_outcome_open(
    aws: AwsWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch, shows: str
) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    assert isinstance(backend, AwsSecretsManager)
    before = backend._client.describe_secret(SecretId=made.remote_id)
    missing = backend._client.exceptions.ResourceNotFoundException(
        {"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "DescribeSecret"
    )

    def look(**_: object) -> object:
        if shows == "nothing":
            raise missing
        return before

    monkeypatch.setattr(backend._client, "describe_secret", look)
    with pytest.raises(OutcomeUnknown) as told:
        backend.update(made, "second", token=OTHER_TOKEN)
    assert told.value.made == OTHER_TOKEN
    assert aws.value(f"{aws.prefix}/password") == "second"


def test_it_creates_once_though_the_reply_is_lost(aws: AwsWorld, backend: Backend) -> None:
    aws.plan.fail("CreateSecret", Fault.DROPPED_REPLY)
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    assert made.version == TOKEN
    assert backend.get_metadata("password") == made


def test_it_does_not_call_a_write_done_that_was_not(aws: AwsWorld, backend: Backend) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    aws.plan.fail("UpdateSecretVersionStage", Fault.SERVER_ERROR, times=3)
    with pytest.raises(TargetBusy) as caught:
        backend.update(made, "second", token=OTHER_TOKEN)
    assert not caught.value.permanent
    assert aws.value(f"{aws.prefix}/password") == "first"
    assert backend.update(made, "second", token=OTHER_TOKEN).version == OTHER_TOKEN


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.THROTTLE, TargetBusy),
        (Fault.SERVER_ERROR, TargetBusy),
        (Fault.EXPIRED, CredentialsRejected),
        (Fault.ACCESS_DENIED, PermissionMissing),
        (Fault.DROPPED_REPLY, TargetUnreachable),
    ],
)
def test_it_never_takes_a_failed_list_for_an_empty_one(
    aws: AwsWorld, backend: Backend, fault: Fault, error: type[BackendError]
) -> None:
    aws.plan.fail("ListSecrets", fault, times=3)
    with pytest.raises(error):
        list(backend.list_secrets())


def test_it_fails_where_the_second_page_fails(
    aws: AwsWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AwsSecretsManager, "page_size", 2)
    for number in range(3):
        aws.write(f"{aws.prefix}/{number}", "x")
    pages = backend.list_secrets()
    next(pages)
    aws.plan.fail("ListSecrets", Fault.ACCESS_DENIED)
    with pytest.raises(PermissionMissing):
        list(pages)


@pytest.mark.parametrize("operation", ["DescribeSecret", "GetSecretValue"])
def test_it_never_takes_a_failed_read_for_absence(aws: AwsWorld, backend: Backend, operation: str) -> None:
    aws.plan.fail(operation, Fault.ACCESS_DENIED)
    with pytest.raises(PermissionMissing, match=f"secretsmanager:{operation}"):
        backend.get_metadata("password") if operation == "DescribeSecret" else backend.read_value("password")


def test_it_waits_for_no_hanging_server(aws: AwsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AwsSecretsManager, "timeout_seconds", 0.2)
    aws.plan.fail("DescribeSecret", Fault.HANG, times=3)
    with aws.backend() as backend, pytest.raises(TargetUnreachable):
        backend.get_metadata("password")


@pytest.mark.parametrize("known", [True, False])
def test_it_leaves_no_label_of_its_own_on_what_is_current(
    aws: AwsWorld, backend: Backend, known: bool
) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    backend.update(made, "second", token=OTHER_TOKEN, known=known)
    stages = aws.client.describe_secret(SecretId=f"{aws.prefix}/password")["VersionIdsToStages"]
    assert stages == {TOKEN: ["AWSPREVIOUS"], OTHER_TOKEN: ["AWSCURRENT"]}


def test_a_label_that_cannot_be_taken_off_fails_no_update(aws: AwsWorld, backend: Backend) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)

    def refuse_the_next() -> None:
        aws.plan.fail("UpdateSecretVersionStage", Fault.SERVER_ERROR, times=3)

    aws.plan.before("DescribeSecret", refuse_the_next)
    after = backend.update(made, "second", token=OTHER_TOKEN)
    assert aws.value(f"{aws.prefix}/password") == "second"
    # The next update takes the label over, and takes it off.
    backend.update(after, "third", token="a" * 32)
    stages = aws.client.describe_secret(SecretId=f"{aws.prefix}/password")["VersionIdsToStages"]
    assert not any(PENDING in labels for labels in stages.values())


def test_it_takes_three_calls_and_a_read_to_update(aws: AwsWorld, backend: Backend) -> None:
    made = backend.create("password", "first", mark=MARK, token=TOKEN)
    aws.plan.clear()
    backend.update(made, "second", token=OTHER_TOKEN)
    assert {name: count for name, count in aws.plan.asked.items() if count} == {
        "PutSecretValue": 1,
        "UpdateSecretVersionStage": 2,
        "DescribeSecret": 1,
    }


def test_it_lists_a_hundred_a_call_and_reads_no_value(aws: AwsWorld, backend: Backend) -> None:
    for number in range(101):
        aws.write(f"{aws.prefix}/{number}", "x")
    assert len(list(backend.list_secrets())) == 101
    assert dict(aws.plan.asked) == {"ListSecrets": 2}


def test_it_encrypts_with_the_destinations_key(aws: AwsWorld) -> None:
    key = aws.kms.create_key()["KeyMetadata"]["KeyId"]
    with aws.backend(kms_key_id=key) as backend:
        backend.create("password", "first", mark=MARK, token=TOKEN)
    assert aws.client.describe_secret(SecretId=f"{aws.prefix}/password")["KmsKeyId"] == key


def test_it_names_a_key_that_does_not_work(aws: AwsWorld) -> None:
    key = aws.kms.create_key()["KeyMetadata"]["KeyId"]
    with aws.backend(kms_key_id=key) as backend:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        aws.kms.disable_key(KeyId=key)
        with pytest.raises(KeyUnusable):
            backend.update(made, "second", token=OTHER_TOKEN)
    with aws.backend(kms_key_id="alias/nothing") as backend, pytest.raises(KeyUnusable):
        backend.create("other", "first", mark=MARK, token=TOKEN)


def test_it_assumes_a_role(aws: AwsWorld) -> None:
    with aws.backend(role_arn="arn:aws:iam::123456789012:role/keeper", external_id="abc") as backend:
        backend.check_connection()
    assert aws.plan.asked["AssumeRole"] == 1


def test_it_refuses_what_is_too_long_for_aws(backend: Backend) -> None:
    with pytest.raises(NameUnusable):
        backend.get_metadata("x" * 512)


def test_it_repeats_nothing_that_aws_says_about_a_value(backend: Backend) -> None:
    with pytest.raises(RequestRefused) as caught:
        backend.create("large", "geheim" * 20_000, mark=MARK, token=TOKEN)
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_it_leaves_binary_secrets_alone(aws: AwsWorld, backend: Backend) -> None:
    aws.client.create_secret(Name=f"{aws.prefix}/binary", SecretBinary=b"\x00\x01")
    with pytest.raises(ValueUnusable):
        backend.read_value("binary")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("region", ""),
        ("region", "evil.example/"),
        ("recovery_window_days", "6"),
        ("recovery_window_days", "31"),
        ("recovery_window_days", "soon"),
        ("endpoint", "ftp://aws"),
    ],
)
def test_it_refuses_a_malformed_destination(aws: AwsWorld, field: str, text: str) -> None:
    with pytest.raises(BadDestination) as caught:
        aws.backend(**{field: text})
    assert caught.value.field == field
