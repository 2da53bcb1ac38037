"""AWS Secrets Manager and Parameter Store as sources: moto behind the layer that refuses what AWS refuses."""

import json
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.test import Client

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.services import write
from secrets_app.services.read import reveal
from sync_app.backends.aws.connection import AwsConnection, mark_tags
from sync_app.backends.aws.tests.world import REGION, client
from sync_app.backends.observations import Mark
from sync_app.errors import BadDestination
from sync_app.migration import service
from sync_app.migration.placing import How, Rule
from sync_app.migration.sources.aws import ParameterStore, SecretsManager
from sync_app.models import Migration, MigrationLine, MountRule
from sync_app.models.migration import Choice, LineState, MigrationState, Word
from sync_app.tests.migration import driving
from sync_app.tests.migration.driving import apply, work
from tests.aws_strict.faults import Fault, Plan

Events = Callable[..., list[AuditEvent]]


class Account:
    """What a test has in AWS: below a prefix of its own, written to moto directly."""

    def __init__(self, strict_url: str, moto_url: str, plan: Plan) -> None:
        self.plan, self.prefix = plan, f"t{uuid4().hex[:8]}"
        self.secrets, self.parameters = client("secretsmanager", moto_url), client("ssm", moto_url)
        self.settings = {
            "region": REGION, "prefix": self.prefix, "endpoint": strict_url, "sts_endpoint": strict_url,
        }  # fmt: skip
        self.credentials = {"access_key_id": "testing", "secret_access_key": "testing"}

    def put(self, name: str, *values: str | bytes, **more: Any) -> list[str]:
        """Write a secret with its versions, the last one current; return their ids."""
        path, ids = f"{self.prefix}/{name}", []
        for number, value in enumerate(values):
            form = {"SecretString" if isinstance(value, str) else "SecretBinary": value}
            if number:
                reply = self.secrets.put_secret_value(SecretId=path, **form)
            else:
                reply = self.secrets.create_secret(Name=path, **form, **more)
            ids.append(reply["VersionId"])
        return ids


@pytest.fixture
def aws(strict_aws: tuple[str, Plan], moto_url: str) -> Any:
    url, plan = strict_aws
    yield Account(url, moto_url, plan)
    plan.recover()


def start(cast: Cast, aws: Account, source: str = "aws") -> Migration:
    rule = Rule(place=REGION, how=How.ALL, environments={"": str(cast.development.uuid)})
    migration = service.start(
        actor=cast.principal(cast.erin), source=source, settings=aws.settings,
        credentials=aws.credentials, rules=[rule],
    )  # fmt: skip
    return work(migration)


def values(cast: Cast, aws: Account, name: str) -> dict[int, str]:
    secret = Secret.objects.select_related("environment").get(name=f"{aws.prefix}/{name}")
    numbers = SecretVersion.objects.filter(secret=secret).values_list("number", flat=True)
    return {
        number: reveal(actor=cast.principal(cast.alice), secret=secret, number=number).value
        for number in sorted(numbers)
    }


def words(migration: Migration) -> dict[str, str]:
    return {path.partition("/")[2]: word for path, word in driving.words(migration).items()}


Amended = Callable[[str, Callable[[Any], Any]], None]


@pytest.fixture
def amended(monkeypatch: pytest.MonkeyPatch) -> Amended:
    """Give what changes an answer of AWS where moto answers less than AWS does."""

    def amend(operation: str, change: Callable[[Any], Any]) -> None:
        call = AwsConnection.call

        def answer(self: AwsConnection, asked: str, request: Callable[[], Any]) -> Any:
            reply = call(self, asked, request)
            return change(reply) if asked == operation else reply

        monkeypatch.setattr(AwsConnection, "call", answer)

    return amend


def test_versions_come_with_their_stages(cast: Cast, aws: Account) -> None:
    ids = aws.put(
        "app/db", "one", "two", "three", Description="the database",
        Tags=[{"Key": "owner", "Value": "shop"}, {"Key": "Env", "Value": "Prod"}, {"Key": "empty", "Value": ""}],
    )  # fmt: skip
    aws.put("app/json", '{"user": "a", "n": 1.10}')
    aws.put("app/binary", bytes(range(256)))
    migration = start(cast, aws)
    assert words(migration) == {"app/db": "new", "app/json": "new", "app/binary": "new"}
    apply(cast, migration)
    assert (migration.state, MountRule.objects.count()) == (MigrationState.DONE, 0)
    assert values(cast, aws, "app/db") == {1: "one", 2: "two", 3: "three"}
    secret = Secret.objects.get(name=f"{aws.prefix}/app/db")
    assert (secret.current_number, secret.previous_number) == (3, 2)
    assert (secret.owner, secret.description, secret.tags) == ("shop", "the database", ["empty", "env:prod"])
    assert secret.custom_metadata is None
    origins = VersionOrigin.objects.filter(version__secret=secret).order_by("version__number")
    assert [each.identifier for each in origins] == ids
    assert all(each.written_at for each in origins)
    assert values(cast, aws, "app/json") == {1: '{"user": "a", "n": 1.10}'}
    assert Secret.objects.get(name__endswith="app/json").secret_type == "JSON"
    binary = Secret.objects.get(name__endswith="app/binary")
    assert binary.tags == ["binary:base64"]
    assert b64decode(values(cast, aws, "app/binary")[1]) == bytes(range(256))


def test_a_pending_version_and_what_others_manage_stay_there(cast: Cast, aws: Account) -> None:
    aws.put("app/rotating", "one")
    aws.secrets.put_secret_value(
        SecretId=f"{aws.prefix}/app/rotating", SecretString="not served", VersionStages=["AWSPENDING"]
    )
    mark = Mark(deployment=uuid4(), target=uuid4(), secret=uuid4())
    aws.put("app/ours", "delivered", Tags=mark_tags(mark))
    aws.put("app/gone", "one")
    aws.secrets.delete_secret(SecretId=f"{aws.prefix}/app/gone", RecoveryWindowInDays=7)
    aws.put("app/plain", "one")
    migration = apply(cast, start(cast, aws))
    assert values(cast, aws, "app/rotating") == {1: "one"}
    assert words(migration) == {"app/rotating": "new", "app/plain": "new", "app/ours": "skipped"}


def test_what_a_service_of_aws_manages_stays_there(cast: Cast, aws: Account, amended: Amended) -> None:
    aws.put("app/rds", "its service would lose it")
    amended("DescribeSecret", lambda reply: {**reply, "OwningService": "rds"})
    migration = apply(cast, start(cast, aws))
    assert words(migration) == {"app/rds": "skipped"}
    assert MigrationLine.objects.get().reason == "the service rds of AWS manages it"
    assert not Secret.objects.exists()


def test_names_beside_the_prefix_are_not_carried(cast: Cast, aws: Account, amended: Amended) -> None:
    aws.put("app/db", "one")
    beside = [{"Name": f"{aws.prefix.upper()}/app/db"}, {"Name": f"{aws.prefix}s/app/db"}]
    amended("ListSecrets", lambda reply: {**reply, "SecretList": [*reply["SecretList"], *beside]})
    assert words(start(cast, aws)) == {"app/db": "new"}


@pytest.mark.parametrize("source", ["aws", "ssm"])
def test_a_description_that_is_too_long_is_left_out(
    cast: Cast, aws: Account, amended: Amended, source: str
) -> None:
    aws.put("app/db", "one")
    aws.parameters.put_parameter(Name=f"/{aws.prefix}/app/db", Value="one", Type="String")
    amended("DescribeSecret", lambda reply: {**reply, "Description": "x" * 2_001})
    amended("ssm:GetParameterHistory", lambda reply: {
        **reply, "Parameters": [{**each, "Description": "x" * 2_001} for each in reply["Parameters"]],
    })  # fmt: skip
    apply(cast, start(cast, aws, source))
    assert Secret.objects.get().description == ""


@pytest.mark.parametrize(
    ("timestamp", "expiry"),
    [
        ("2031-05-01T10:00:00Z", datetime(2031, 5, 1, 10, tzinfo=UTC)),
        # Nobody knows which moment this is.
        ("2031-05-01T10:00:00", None),
        ("some day", None),
    ],
)
def test_an_expiration_policy_is_the_expiry(
    cast: Cast, aws: Account, amended: Amended, timestamp: str, expiry: datetime | None
) -> None:
    aws.parameters.put_parameter(Name=f"/{aws.prefix}/app/db", Value="one", Type="String")
    notice = {"Type": "NoChangeNotification", "Version": "1.0", "Attributes": {"After": "1", "Unit": "Days"}}
    ends = {"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": timestamp}}
    policies = [{"PolicyText": json.dumps(each), "PolicyType": each["Type"]} for each in (notice, ends)]
    amended("ssm:GetParameterHistory", lambda reply: {
        **reply, "Parameters": [{**each, "Policies": policies} for each in reply["Parameters"]],
    })  # fmt: skip
    apply(cast, start(cast, aws, "ssm"))
    assert Secret.objects.get().expires_at == expiry


def test_a_rollback_there_is_the_next_version_here(cast: Cast, aws: Account) -> None:
    first, second = aws.put("app/db", "one", "two")
    path = f"{aws.prefix}/app/db"
    apply(cast, start(cast, aws))
    assert words(start(cast, aws)) == {"app/db": "same"}
    aws.secrets.update_secret_version_stage(
        SecretId=path, VersionStage="AWSCURRENT", MoveToVersionId=first, RemoveFromVersionId=second
    )
    migration = start(cast, aws)
    assert words(migration) == {"app/db": "newer"}
    apply(cast, migration)
    assert values(cast, aws, "app/db") == {1: "one", 2: "two", 3: "one"}
    assert words(start(cast, aws)) == {"app/db": "same"}
    for value in ("three", "four"):
        aws.secrets.put_secret_value(SecretId=path, SecretString=value)
    apply(cast, start(cast, aws))
    assert values(cast, aws, "app/db") == {1: "one", 2: "two", 3: "one", 4: "three", 5: "four"}
    read = aws.plan.asked["GetSecretValue"]
    assert words(start(cast, aws)) == {"app/db": "same"}
    # What was carried is not read again.
    assert aws.plan.asked["GetSecretValue"] == read


def test_what_both_sides_changed_waits_for_a_choice(cast: Cast, aws: Account) -> None:
    aws.put("app/db", "one")
    apply(cast, start(cast, aws))
    secret = Secret.objects.select_related("environment").get()
    write.update(actor=cast.principal(cast.erin), secret=secret, value="Keeper's")
    aws.secrets.put_secret_value(SecretId=f"{aws.prefix}/app/db", SecretString="theirs")
    migration = start(cast, aws)
    assert words(migration) == {"app/db": str(Word.CHANGED)}
    line = MigrationLine.objects.get(migration=migration)
    service.choose(actor=cast.principal(cast.erin), migration=migration, line=line, choice=Choice.TAKE)
    migration.refresh_from_db()
    apply(cast, migration)
    assert values(cast, aws, "app/db") == {1: "one", 2: "Keeper's", 3: "theirs"}


def test_parameters_keep_their_numbers_times_and_authors(cast: Cast, aws: Account) -> None:
    name = f"/{aws.prefix}/app/db"
    tags = [{"Key": "team", "Value": "shop"}]
    aws.parameters.put_parameter(Name=name, Value="v1", Type="SecureString", Description="d", Tags=tags)
    for number in range(2, 6):
        aws.parameters.put_parameter(Name=name, Value=f"v{number}", Type="SecureString", Overwrite=True)
    aws.parameters.put_parameter(Name=f"/{aws.prefix}/list", Value="a,b", Type="StringList")
    for number in range(60):
        aws.parameters.put_parameter(Name=f"/{aws.prefix}/many/p{number}", Value="x", Type="String")
    migration = start(cast, aws, "ssm")
    assert set(words(migration).values()) == {"new"}
    assert len(words(migration)) == 62
    apply(cast, migration)
    assert values(cast, aws, "app/db") == {number: f"v{number}" for number in range(1, 6)}
    secret = Secret.objects.get(name=f"{aws.prefix}/app/db")
    assert secret.owner == "shop"
    origin = VersionOrigin.objects.get(version__secret=secret, number=3)
    assert origin.written_at
    assert origin.author
    aws.parameters.put_parameter(Name=name, Value="v6", Type="SecureString", Overwrite=True)
    migration = start(cast, aws, "ssm")
    assert words(migration)["app/db"] == "newer"
    apply(cast, migration)
    assert values(cast, aws, "app/db")[6] == "v6"


def comments(name: str) -> dict[int, str]:
    rows = SecretVersion.objects.filter(secret__name=name)
    return dict(rows.values_list("number", "comment"))


def test_labels_and_stages_of_ones_own_stay_with_their_versions(cast: Cast, aws: Account) -> None:
    name, labelled = f"{aws.prefix}/app/db", aws.parameters.label_parameter_version
    for number in range(1, 4):
        aws.parameters.put_parameter(Name=f"/{name}", Value=f"v{number}", Type="String", Overwrite=number > 1)
    labelled(Name=f"/{name}", ParameterVersion=1, Labels=["Blue", "old"])
    labelled(Name=f"/{name}", ParameterVersion=3, Labels=["Green"])
    apply(cast, start(cast, aws, "ssm"))
    assert comments(name) == {1: "carried; labels: Blue, old", 2: "carried", 3: "carried; labels: Green"}
    assert Secret.objects.get(name=name).tags == ["label:green"]
    ids = aws.put("app/staged", "one", "two", "three")
    path = f"{aws.prefix}/app/staged"
    for stage, version in (("blue", ids[0]), ("live", ids[2])):
        aws.secrets.update_secret_version_stage(SecretId=path, VersionStage=stage, MoveToVersionId=version)
    apply(cast, start(cast, aws))
    assert comments(path) == {1: "carried; stages: blue", 2: "carried", 3: "carried; stages: live"}
    assert Secret.objects.get(name=path).tags == ["stage:live"]


@pytest.mark.parametrize("fault", [Fault.THROTTLE, Fault.SERVER_ERROR])
def test_a_busy_aws_is_asked_again(cast: Cast, aws: Account, fault: Fault) -> None:
    aws.put("app/db", "one", "two")
    for operation in ("ListSecrets", "DescribeSecret", "ListSecretVersionIds", "GetSecretValue"):
        # More often than the SDK repeats by itself.
        aws.plan.fail(operation, fault, 4)
    migration = start(cast, aws)
    for _ in range(8):
        assert migration.state == MigrationState.PLANNING or words(migration) == {"app/db": "new"}
        Migration.objects.filter(pk=migration.pk).update(due_at=None)
        work(migration)
    assert (migration.state, words(migration)) == (MigrationState.PLANNED, {"app/db": "new"})


def test_a_right_that_is_missing_is_named(cast: Cast, aws: Account) -> None:
    aws.put("app/db", "one")
    aws.plan.fail("GetSecretValue", Fault.ACCESS_DENIED)
    migration = start(cast, aws)
    line = MigrationLine.objects.get(migration=migration)
    assert (line.word, "secretsmanager:GetSecretValue" in line.reason) == (Word.UNREADABLE, True)
    aws.plan.fail("ListSecrets", Fault.ACCESS_DENIED)
    migration = start(cast, aws)
    assert (migration.state, "secretsmanager:ListSecrets" in migration.error) == (MigrationState.FAILED, True)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"ForceDeleteWithoutRecovery": True}, "it was deleted in the source since it was listed"),
        ({"RecoveryWindowInDays": 7}, "it is scheduled for deletion in the source"),
    ],
)
def test_a_secret_that_is_deleted_meanwhile_is_left(
    cast: Cast, aws: Account, how: dict[str, Any], reason: str
) -> None:
    aws.put("app/db", "one")
    aws.put("app/other", "stays")
    migration = start(cast, aws)
    path = f"{aws.prefix}/app/db"
    aws.secrets.delete_secret(SecretId=path, **how)
    apply(cast, migration)
    states = dict(MigrationLine.objects.filter(migration=migration).values_list("path", "state"))
    assert states == {path: LineState.LEFT, f"{aws.prefix}/app/other": LineState.CARRIED}
    assert MigrationLine.objects.get(migration=migration, path=path).reason == reason


def test_the_pages_and_the_command_offer_both(cast: Cast, aws: Account, tmp_path: Path) -> None:
    aws.put("app/db", "one")
    browser = Client()
    browser.force_login(cast.erin)
    listed = browser.get("/migrations").content.decode()
    assert "AWS Secrets Manager" in listed
    assert "AWS SSM Parameter Store" in listed
    assert "export of another Keeper" not in listed
    assert browser.get("/migrations/new?source=keeper").status_code == 404
    form = {f"setting-{name}": text for name, text in aws.settings.items()}
    form |= {f"credential-{name}": text for name, text in aws.credentials.items()}
    answer = browser.post("/migrations/new?source=aws", form | {"rules": f"{REGION}=development"})
    migration = work(Migration.objects.get())
    assert answer["Location"] == f"/migrations/{migration.pk}"
    assert words(migration) == {"app/db": "new"}
    files = {}
    for name, text in aws.credentials.items():
        files[name] = tmp_path / name
        files[name].write_text(text, encoding="utf-8")
    out = StringIO()
    call_command(
        "migrate_from", "aws", REGION, "--prefix", aws.prefix, "--endpoint", aws.settings["endpoint"],
        "--sts-endpoint", aws.settings["endpoint"], "--rule", f"{REGION}=development", "--apply",
        "--access-key-id-file", str(files["access_key_id"]),
        "--secret-access-key-file", str(files["secret_access_key"]), "--format", "json", stdout=out,
    )  # fmt: skip
    assert json.loads(out.getvalue())["counts"]["states"] == {"carried": 1}


@pytest.mark.parametrize("source", [SecretsManager, ParameterStore])
def test_what_cannot_be_is_refused_before_anything_is_asked(source: Any) -> None:
    keys = {"access_key_id": "a", "secret_access_key": "b"}
    for settings, credentials in (
        ({"region": "nowhere"}, keys),
        ({"region": REGION, "endpoint": "ftp://x"}, keys),
        ({"region": REGION}, {"access_key_id": "a"}),
        ({"region": REGION}, {}),
    ):
        with pytest.raises(BadDestination):
            source(settings=settings, credentials=credentials)
    assert source.endpoint({"region": REGION}).startswith(f"https://{source.service}.{REGION}.amazonaws.com")
