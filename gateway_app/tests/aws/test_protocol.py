"""The AWS-compatible API: bodies, errors, rights and records as AWS SDKs know them."""

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from gateway_app.tests.aws.conftest import Ask, kind_of, send, session_of, signed, token
from secrets_app.errors import KeyUnavailable
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import lifecycle, version_stages, write
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


def reveals(outcome: str = "allowed") -> int:
    return AuditEvent.objects.filter(action=Action.SECRET_REVEAL, outcome=outcome).count()


def version_of(secret: Secret, number: int = 1) -> str:
    return str(SecretVersion.objects.get(secret=secret, number=number).uuid)


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def test_a_value_is_returned_and_its_read_is_recorded(cast: Cast, ask: Ask) -> None:
    secret = keep(cast, "app/db", value="s3cret ä")
    answer = ask("GetSecretValue", SecretId="app/db")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/x-amz-json-1.1"
    assert answer["x-amzn-RequestId"] == answer["X-Request-ID"]
    body = answer.json()
    assert body.keys() == {"ARN", "Name", "VersionId", "SecretString", "VersionStages", "CreatedDate"}
    assert (body["Name"], body["SecretString"], body["VersionStages"]) == (
        "app/db",
        "s3cret ä",
        ["AWSCURRENT"],
    )
    assert body["VersionId"] == version_of(secret)
    assert body["ARN"].startswith("arn:aws:secretsmanager:eu-central-1:")
    assert body["CreatedDate"] == pytest.approx(secret.created_at.timestamp(), abs=60)
    event = AuditEvent.objects.filter(action=Action.SECRET_REVEAL).latest("id")
    assert json.loads(event.details) == {"number": 1, "protocol": "aws"}
    assert event.actor_name == "aws-reader"


def test_a_secret_is_named_by_its_arn_with_and_without_the_suffix(cast: Cast, ask: Ask) -> None:
    keep(cast, "app/db-abcdef", value="one")
    keep(cast, "app/db", value="other")
    arn = ask("GetSecretValue", SecretId="app/db-abcdef").json()["ARN"]
    for given in (arn, arn[:-7], arn.replace("eu-central-1", "us-east-1")):
        assert ask("GetSecretValue", SecretId=given).json()["SecretString"] == "one", given
    account = arn.split(":")[4]
    for given in (arn[:-1] + "!", arn.replace("db", "no")):
        assert ask("GetSecretValue", SecretId=given).status_code == 400
    foreign = ask("GetSecretValue", SecretId=arn.replace(account, "0" * 12))
    assert kind_of(foreign) == "AccessDeniedException"


def test_another_environment_is_refused_on_record(cast: Cast, ask: Ask) -> None:
    keep(cast, "a", environment=cast.production)
    theirs = token(cast, environment=cast.production)
    arn = ask("GetSecretValue", token=theirs, SecretId="a").json()["ARN"]
    before = AuditEvent.objects.filter(outcome="denied").count()
    assert kind_of(ask("GetSecretValue", SecretId=arn)) == "AccessDeniedException"
    assert AuditEvent.objects.filter(outcome="denied").count() == before + 1


def test_versions_are_named_by_id_and_by_stage(cast: Cast, ask: Ask) -> None:
    secret = change(cast, keep(cast, "a", value="old"), value="new")
    another = keep(cast, "b")
    old = ask("GetSecretValue", SecretId="a", VersionId=version_of(secret, 1)).json()
    assert (old["SecretString"], old["VersionStages"]) == ("old", ["AWSPREVIOUS"])
    current = {"SecretId": "a", "VersionId": version_of(secret, 2), "VersionStage": "AWSCURRENT"}
    assert ask("GetSecretValue", **current).json()["SecretString"] == "new"
    for members, kind in (
        ({"VersionId": version_of(secret, 1), "VersionStage": "AWSCURRENT"}, "InvalidRequestException"),
        ({"VersionStage": "AWSPENDING"}, "ResourceNotFoundException"),
        ({"VersionStage": "MINE"}, "ResourceNotFoundException"),
        ({"VersionStage": ""}, "InvalidParameterException"),
        ({"VersionStage": 1}, "InvalidParameterException"),
        ({"VersionId": "0" * 32}, "ResourceNotFoundException"),
        ({"VersionId": version_of(another)}, "ResourceNotFoundException"),
        ({"VersionId": "1"}, "ResourceNotFoundException"),
        ({"VersionId": 1}, "InvalidParameterException"),
    ):
        refused = ask("GetSecretValue", SecretId="a", **members)
        assert (refused.status_code, kind_of(refused)) == (400, kind), members


def test_the_stages_of_a_rotation_are_those_of_aws(cast: Cast, ask: Ask) -> None:
    secret, actor = stored(keep(cast, "a", value="first")), cast.principal(cast.alice)
    pending = version_stages.prepare(actor=actor, secret=secret, value="second", comment="")
    version_stages.stage(actor=actor, secret=secret, version=pending, details={})
    assert ask("GetSecretValue", SecretId="a", VersionStage="AWSPENDING").json()["SecretString"] == "second"
    version_stages.promote(actor=actor, secret=stored(secret), facts={}, details={})
    assert ask("GetSecretValue", SecretId="a").json()["SecretString"] == "second"
    assert ask("GetSecretValue", SecretId="a", VersionStage="AWSPREVIOUS").json()["SecretString"] == "first"
    labels = ask("DescribeSecret", SecretId="a").json()["VersionIdsToStages"]
    assert labels == {version_of(secret, 1): ["AWSPREVIOUS"], version_of(secret, 2): ["AWSCURRENT"]}


def test_what_is_not_there_differs_from_what_the_token_may_not_know(cast: Cast, ask: Ask) -> None:
    keep(cast, "part/key")
    for operation in ("GetSecretValue", "DescribeSecret"):
        absent = ask(operation, SecretId="absent")
        assert (absent.status_code, absent.json()) == (400, {
            "__type": "ResourceNotFoundException",
            "Message": "Secrets Manager can't find the specified secret.",
        })  # fmt: skip
        narrow, bodies = token(cast, prefix="other"), set()
        for name in ("part/key", "part/absent"):
            refused = ask(operation, token=narrow, SecretId=name)
            assert (refused.status_code, kind_of(refused)) == (400, "AccessDeniedException")
            bodies.add(refused.content)
        assert len(bodies) == 1
    assert reveals() == 0


def test_a_viewer_sees_names_and_no_value(cast: Cast, ask: Ask) -> None:
    keep(cast, "app/db")
    viewer = token(cast, "viewer")
    assert ask("DescribeSecret", token=viewer, SecretId="app/db").json()["Name"] == "app/db"
    (listed,) = ask("ListSecrets", token=viewer).json()["SecretList"]
    assert listed["Name"] == "app/db"
    refused = ask("GetSecretValue", token=viewer, SecretId="app/db")
    assert (refused.status_code, kind_of(refused)) == (400, "AccessDeniedException")
    batch = ask("BatchGetSecretValue", token=viewer, SecretIdList=["app/db"]).json()
    assert batch["SecretValues"] == []
    assert batch["Errors"][0]["ErrorCode"] == "AccessDeniedException"
    assert reveals() == 0
    assert reveals("denied") == 2


def test_a_deleted_secret_is_marked_for_deletion(cast: Cast, ask: Ask) -> None:
    secret = keep(cast, "a")
    arn = ask("DescribeSecret", SecretId="a").json()["ARN"]
    lifecycle.delete(actor=cast.principal(cast.alice), secret=stored(secret))
    for given in ("a", arn):
        refused = ask("GetSecretValue", SecretId=given)
        assert kind_of(refused) == "InvalidRequestException"
        assert "marked for deletion" in refused.json()["Message"]
        assert ask("DescribeSecret", SecretId=given).json()["DeletedDate"] > 0
    assert ask("ListSecrets").json()["SecretList"] == []


def test_a_decoy_on_the_way_of_many_values_is_neither_read_nor_an_alarm(cast: Cast, ask: Ask) -> None:
    keep(cast, "app/a")
    keep(cast, "app/trap", decoy=True)
    by_name = [{"Key": "name", "Values": ["app/"]}]
    body = ask("BatchGetSecretValue", Filters=by_name).json()
    assert [each["Name"] for each in body["SecretValues"]] == ["app/a"]
    assert not AuditEvent.objects.filter(action=Action.SECRET_DECOY).exists()
    # Who asks for it alone is noticed.
    ask("BatchGetSecretValue", SecretIdList=["app/trap"])
    assert AuditEvent.objects.filter(action=Action.SECRET_DECOY).exists()


def test_many_values_come_at_once_with_an_error_for_each_that_is_refused(cast: Cast, ask: Ask) -> None:
    for name in ("app/a", "app/b", "other"):
        keep(cast, name, value=f"value of {name}")
    body = ask("BatchGetSecretValue", SecretIdList=["app/b", "absent", "other"]).json()
    assert [each["SecretString"] for each in body["SecretValues"]] == ["value of app/b", "value of other"]
    (error,) = body["Errors"]
    assert (error["SecretId"], error["ErrorCode"]) == ("absent", "ResourceNotFoundException")
    first = ask("BatchGetSecretValue", Filters=[{"Key": "name", "Values": ["app/"]}], MaxResults=1).json()
    assert [each["Name"] for each in first["SecretValues"]] == ["app/a"]
    rest = ask(
        "BatchGetSecretValue", Filters=[{"Key": "name", "Values": ["app/"]}], NextToken=first["NextToken"]
    ).json()
    assert [each["Name"] for each in rest["SecretValues"]] == ["app/b"]
    assert "NextToken" not in rest
    assert reveals() == 4
    for members in (
        {}, {"SecretIdList": ["a"], "Filters": [{"Key": "name", "Values": ["a"]}]},
        {"SecretIdList": ["a"] * 21}, {"SecretIdList": [1]}, {"SecretIdList": "a"},
        {"Filters": [{"Key": "name", "Values": ["a"]}], "MaxResults": 21},
    ):  # fmt: skip
        assert kind_of(ask("BatchGetSecretValue", **members)) == "InvalidParameterException", members


def test_what_fails_for_one_value_fails_for_that_one_alone(
    cast: Cast, ask: Ask, sql: Callable[..., None]
) -> None:
    keep(cast, "sound")
    edited = keep(cast, "edited")
    sql("UPDATE secrets_app_secret SET previous_number = 1 WHERE id = %s", edited.pk)
    body = ask("BatchGetSecretValue", SecretIdList=["edited", "sound"]).json()
    assert [each["Name"] for each in body["SecretValues"]] == ["sound"]
    assert [(each["SecretId"], each["ErrorCode"]) for each in body["Errors"]] == [
        ("edited", "DecryptionFailure")
    ]


def test_keys_that_are_away_are_told_for_the_whole_batch(
    cast: Cast, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client repeats the request later, and takes none of it for missing."""
    keep(cast, "a")
    forget_data_keys()

    def away(*_given: object, **_more: object) -> bytes:
        raise KeyUnavailable("away", permanent=False)

    monkeypatch.setattr("secrets_app.keys.data_keys.unwrap", away)
    answer = ask("BatchGetSecretValue", SecretIdList=["a"])
    assert (answer.status_code, kind_of(answer)) == (503, "ServiceUnavailableException")
    assert answer.headers["Retry-After"]


def test_names_are_listed_by_pages_and_filters(cast: Cast, ask: Ask) -> None:
    actor = cast.principal(cast.alice)
    for name in ("app/a", "app/b", "b", "c"):
        keep(cast, name)
    write.update(
        actor=actor, secret=stored(Secret.objects.get(name="b")), description="The main Key", tags=["x"]
    )

    def names(**members: Any) -> list[str]:
        return [each["Name"] for each in ask("ListSecrets", **members).json()["SecretList"]]

    def by(key: str, *values: str) -> list[str]:
        return names(Filters=[{"Key": key, "Values": [*values]}])

    assert names() == ["app/a", "app/b", "b", "c"]
    assert names(SortOrder="desc", MaxResults=3) == ["c", "b", "app/b"]
    assert by("name", "app", "c") == ["app/a", "app/b", "c"]
    assert by("name", "!app") == ["b", "c"]
    assert by("name", "app", "!app/b") == ["app/a"]
    assert by("name", "APP") == by("owning-service", "rds") == by("primary-region", "eu-central-1") == []
    assert by("owning-service", "!rds") == names()
    assert by("description", "key") == by("tag-key", "x") == by("all", "MAIN") == ["b"]
    assert names(Filters=[{"Key": "name", "Values": ["b"]}, {"Key": "tag-key", "Values": ["y"]}]) == []
    found: list[str] = []
    token: dict[str, str] = {}
    for _ in range(4):
        page = ask("ListSecrets", MaxResults=1, **token).json()
        found += [each["Name"] for each in page["SecretList"]]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
    assert (found, token) == (["app/a", "app/b", "b", "c"], {})
    (one,) = ask("ListSecrets", Filters=[{"Key": "name", "Values": ["b"]}]).json()["SecretList"]
    assert one["Tags"] == [{"Key": "x", "Value": ""}]
    assert one["SecretVersionsToStages"] == {version_of(Secret.objects.get(name="b")): ["AWSCURRENT"]}
    assert reveals() == 0


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"MaxResults": 0}, "InvalidParameterException"),
        ({"MaxResults": 101}, "InvalidParameterException"),
        ({"MaxResults": True}, "InvalidParameterException"),
        ({"MaxResults": "1"}, "InvalidParameterException"),
        ({"SortOrder": "up"}, "InvalidParameterException"),
        ({"SortOrder": []}, "InvalidParameterException"),
        ({"SortBy": "created-date"}, "InvalidParameterException"),
        ({"IncludePlannedDeletion": True}, "InvalidParameterException"),
        ({"Filters": {}}, "InvalidParameterException"),
        ({"Filters": [{}]}, "ValidationException"),
        ({"Filters": ["a"]}, "ValidationException"),
        ({"Filters": [{"Key": ["name"], "Values": ["a"]}]}, "ValidationException"),
        ({"Filters": [{"Key": "created-date", "Values": ["a"]}]}, "ValidationException"),
        ({"Filters": [{"Key": "name", "Values": []}]}, "InvalidParameterException"),
        ({"Filters": [{"Key": "name", "Values": [1]}]}, "InvalidParameterException"),
        ({"Filters": [{"Key": "name", "Values": ["a"]}] * 11}, "InvalidParameterException"),
        ({"NextToken": "ä"}, "InvalidNextTokenException"),
        ({"NextToken": "_w=="}, "InvalidNextTokenException"),
        ({"NextToken": 1}, "InvalidNextTokenException"),
    ],
)
def test_a_list_that_is_asked_for_otherwise_is_refused(ask: Ask, members: Any, kind: str) -> None:
    refused = ask("ListSecrets", **members)
    assert (refused.status_code, kind_of(refused)) == (400, kind)


@pytest.mark.parametrize("given", [None, "", 1, [], "a" * 2049, "../x", "a//b", "a\x00b", "a b"])
def test_odd_names_are_refused(cast: Cast, ask: Ask, given: Any) -> None:
    for operation in ("GetSecretValue", "DescribeSecret"):
        refused = ask(operation, SecretId=given)
        assert (refused.status_code, kind_of(refused)) == (400, "InvalidParameterException")
    assert reveals() == 0


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"SecretId": ', b"\xff", b"[" * 5_000])
def test_a_body_that_is_no_object_is_refused(cast: Cast, body: bytes) -> None:
    own = session_of(token(cast))
    refused = send(signed(own, "GetSecretValue", body), body)
    assert (refused.status_code, kind_of(refused)) == (400, "SerializationException")


def test_a_body_of_more_than_64_kib_is_refused(cast: Cast) -> None:
    body = orjson.dumps({"SecretId": "a" * 70_000})
    refused = send(signed(session_of(token(cast)), "GetSecretValue", body), body)
    assert (refused.status_code, kind_of(refused)) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize("operation", ["PutSecretValue", "DeleteSecret", "getsecretvalue", ""])
def test_what_keeper_does_not_answer_is_an_unknown_operation(cast: Cast, ask: Ask, operation: str) -> None:
    refused = ask(operation, SecretId="a")
    assert (refused.status_code, kind_of(refused)) == (400, "UnknownOperationException")


@pytest.mark.parametrize(
    "given",
    [{"media_type": "application/json"}, {"media_type": "text/plain"}, {"target": ""}, {"target": "kms."}],
)
def test_what_is_signed_for_another_service_or_media_type_is_an_unknown_operation(
    cast: Cast, given: dict[str, str]
) -> None:
    keep(cast, "a")
    body = b'{"SecretId": "a"}'
    refused = send(signed(session_of(token(cast)), "GetSecretValue", body, **given), body)
    assert (refused.status_code, kind_of(refused)) == (400, "UnknownOperationException")
    assert reveals() == 0


def test_other_methods_and_media_types_are_refused(cast: Cast) -> None:
    for method in ("get", "put", "delete", "patch", "head"):
        assert getattr(Client(), method)("/aws").status_code == 405
    own, body = session_of(token(cast)), b"{}"
    headers = signed(own, "ListSecrets", body)
    assert send(headers, body).status_code == 200
    request = signed(own, "ListSecrets", body) | {"Content-Type": "application/json"}
    assert kind_of(send(request, body)) in {"UnknownOperationException", "InvalidSignatureException"}


def test_an_edited_value_is_not_decrypted(cast: Cast, ask: Ask) -> None:
    secret = keep(cast, "a")
    Secret.objects.filter(pk=secret.pk).update(secret_type=SecretType.JSON)
    for operation in ("GetSecretValue", "DescribeSecret"):
        assert kind_of(ask(operation, SecretId="a")) == "DecryptionFailure"
    assert reveals() == 0
