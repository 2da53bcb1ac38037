"""ListSecretVersionIds, GetResourcePolicy and GetRandomPassword, as AWS documents them."""

import string
from typing import Any

import boto3
import pytest
from pytest_django.live_server_helper import LiveServer

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from gateway_app.tests.aws.conftest import Ask, kind_of, send, session_of, signed, token
from secrets_app.models import Secret
from secrets_app.services import lifecycle
from secrets_app.tests.kept import change, keep

pytestmark = pytest.mark.django_db


def versions(ask: Ask, **members: Any) -> list[tuple[list[str], str]]:
    body = ask("ListSecretVersionIds", SecretId="a", **members).json()
    return [(each.get("VersionStages", []), each["VersionId"]) for each in body["Versions"]]


def test_versions_are_listed_with_their_labels(cast: Cast, ask: Ask) -> None:
    secret = keep(cast, "a", value="0")
    for number in range(1, 5):
        secret = change(cast, secret, value=str(number))

    assert [labels for labels, _ in versions(ask)] == [["AWSCURRENT"], ["AWSPREVIOUS"]]
    every = versions(ask, IncludeDeprecated=True)
    assert [labels for labels, _ in every] == [["AWSCURRENT"], ["AWSPREVIOUS"], [], [], []]
    for labels, uuid in every[2:]:
        assert not labels
        assert ask("GetSecretValue", SecretId="a", VersionId=uuid).json()["VersionStages"] == []

    found: list[str] = []
    token_given: dict[str, str] = {}
    for _ in range(3):
        page = ask(
            "ListSecretVersionIds", SecretId="a", IncludeDeprecated=True, MaxResults=2, **token_given
        ).json()
        found += [each["VersionId"] for each in page["Versions"]]
        token_given = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
    assert (found, token_given) == ([uuid for _, uuid in every], {})


def test_a_viewer_lists_versions_and_a_deleted_secret_has_them(cast: Cast, ask: Ask) -> None:
    secret = keep(cast, "a")
    viewer = token(cast, "viewer")
    assert len(ask("ListSecretVersionIds", token=viewer, SecretId="a").json()["Versions"]) == 1
    narrow = token(cast, prefix="other")
    for operation in ("ListSecretVersionIds", "GetResourcePolicy"):
        assert kind_of(ask(operation, token=narrow, SecretId="a")) == "AccessDeniedException"
        assert kind_of(ask(operation, SecretId="absent")) == "ResourceNotFoundException"
        assert kind_of(ask(operation, SecretId=1)) == "InvalidParameterException"
    lifecycle.delete(
        actor=cast.principal(cast.alice),
        secret=Secret.objects.select_related("environment").get(pk=secret.pk),
    )
    assert len(versions(ask)) == 1
    assert kind_of(ask("GetResourcePolicy", SecretId="a")) == "InvalidRequestException"


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"MaxResults": 0}, "InvalidParameterException"),
        ({"MaxResults": 101}, "InvalidParameterException"),
        ({"IncludeDeprecated": "true"}, "InvalidParameterException"),
        ({"NextToken": "YQ=="}, "InvalidNextTokenException"),
        ({"NextToken": "LTE="}, "InvalidNextTokenException"),
        ({"NextToken": "OTk5OTk5OTk5OTk5"}, "InvalidNextTokenException"),
        ({"NextToken": "2aE="}, "InvalidNextTokenException"),
    ],
)
def test_another_list_of_versions_is_refused(cast: Cast, ask: Ask, members: Any, kind: str) -> None:
    keep(cast, "a")
    assert kind_of(ask("ListSecretVersionIds", SecretId="a", **members)) == kind


def test_the_first_value_was_not_rotated(cast: Cast, ask: Ask) -> None:
    secret = keep(cast, "a", value="1")
    assert "LastRotatedDate" not in ask("DescribeSecret", SecretId="a").json()
    change(cast, secret, value="2")
    assert ask("DescribeSecret", SecretId="a").json()["LastRotatedDate"] > 0


def password(ask: Ask, **members: Any) -> str:
    return str(ask("GetRandomPassword", **members).json()["RandomPassword"])


def test_a_random_password_has_what_is_asked_for(ask: Ask) -> None:
    before = AuditEvent.objects.count()
    usual = password(ask)
    assert len(usual) == 32
    for kind in (string.ascii_lowercase, string.ascii_uppercase, string.digits, string.punctuation):
        assert {*usual} & {*kind}
    assert password(ask) != usual
    # Each type occurs also where there is barely room for it.
    for _ in range(20):
        shortest = password(ask, PasswordLength=5, IncludeSpace=True)
        assert " " in shortest
        assert {*shortest} & {*string.digits}
    digits = {
        "PasswordLength": 4096,
        "ExcludeLowercase": True,
        "ExcludeUppercase": True,
        "ExcludePunctuation": True,
        "ExcludeCharacters": "0123456",
    }
    assert {*password(ask, **digits)} == {*"789"}
    assert len(password(ask, PasswordLength=1, RequireEachIncludedType=False)) == 1
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"PasswordLength": 0}, "ValidationException"),
        ({"PasswordLength": 4097}, "ValidationException"),
        ({"PasswordLength": "8"}, "ValidationException"),
        ({"PasswordLength": True}, "ValidationException"),
        ({"PasswordLength": 3}, "InvalidParameterException"),
        ({"ExcludeCharacters": "a" * 4097}, "ValidationException"),
        ({"ExcludeCharacters": 1}, "ValidationException"),
        ({"ExcludeNumbers": "yes"}, "SerializationException"),
        (
            {f"Exclude{each}": True for each in ("Numbers", "Lowercase", "Uppercase", "Punctuation")},
            "InvalidParameterException",
        ),
    ],
)
def test_an_impossible_password_is_refused(ask: Ask, members: Any, kind: str) -> None:
    refused = ask("GetRandomPassword", **members)
    assert (refused.status_code, kind_of(refused)) == (400, kind)


@pytest.mark.parametrize(
    "body", [b'{"SecretId":"a","SecretId":"b"}', b'{"SecretId":"a","\\u0053ecretId":"a"}', b'{"a":{"b":1,"b":1}}']
)  # fmt: skip
def test_a_name_that_comes_twice_is_refused(cast: Cast, body: bytes) -> None:
    keep(cast, "a")
    keep(cast, "b")
    own = session_of(token(cast))
    for operation in ("GetSecretValue", "DescribeSecret"):
        refused = send(signed(own, operation, body), body)
        assert (refused.status_code, kind_of(refused)) == (400, "SerializationException")


@pytest.mark.django_db(transaction=True)
def test_boto3_and_what_terraform_asks_of_a_secret(cast: Cast, live_server: LiveServer) -> None:
    """`data "aws_secretsmanager_secret"` describes a secret by its name, and asks for the policy of its ARN."""
    secret = keep(cast, "app/db", value="1")
    change(cast, secret, value="2")
    session = session_of(token(cast))
    client = boto3.client(
        "secretsmanager",
        endpoint_url=f"{live_server.url}/aws",
        region_name="eu-central-1",
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["Token"],
    )

    described = client.describe_secret(SecretId="app/db")
    policy = client.get_resource_policy(SecretId=described["ARN"])
    listed = client.list_secret_version_ids(SecretId="app/db", IncludeDeprecated=True)

    assert (policy["Name"], policy["ARN"]) == ("app/db", described["ARN"])
    members: set[str] = {*policy}
    assert "ResourcePolicy" not in members
    assert {each["VersionId"]: each["VersionStages"] for each in listed["Versions"]} == described[
        "VersionIdsToStages"
    ]
    assert len(client.get_random_password(PasswordLength=20, ExcludePunctuation=True)["RandomPassword"]) == 20
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.get_random_password(PasswordLength=2)
