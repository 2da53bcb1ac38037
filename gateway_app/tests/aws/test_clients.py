"""Clients that nobody here wrote, unmodified: boto3, the `aws` command line, AWS's cache, and its SDK for JavaScript."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.utils import ContainerMetadataFetcher
from pytest_django.live_server_helper import LiveServer

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens.service import revoke
from gateway_app.tests.aws.conftest import token
from secrets_app.tests.kept import change, keep
from tests.servers.packages.node_packages import node_modules
from tests.servers.packages.python_packages import aws_program

pytestmark = pytest.mark.django_db(transaction=True)
WAIT_SECONDS = 120
REGION = "eu-central-1"
Run = Callable[..., subprocess.CompletedProcess[str]]

CACHE = """
import botocore.session
from aws_secretsmanager_caching import SecretCache, SecretCacheConfig

client = botocore.session.get_session().create_client("secretsmanager")
cache = SecretCache(config=SecretCacheConfig(secret_refresh_interval=0), client=client)
print(cache.get_secret_string("app/db"))
input()
print(cache.get_secret_string("app/db"))
"""
JAVASCRIPT = """
const {
  SecretsManagerClient, GetSecretValueCommand, BatchGetSecretValueCommand, DescribeSecretCommand, ListSecretsCommand,
} = require("@aws-sdk/client-secrets-manager");
const client = new SecretsManagerClient({ maxAttempts: 1 });
(async () => {
  const found = {};
  found.value = (await client.send(new GetSecretValueCommand({ SecretId: "app/db" }))).SecretString;
  found.batch = (await client.send(new BatchGetSecretValueCommand({ SecretIdList: ["app/db", "no"] })));
  found.labels = (await client.send(new DescribeSecretCommand({ SecretId: "app/db" }))).VersionIdsToStages;
  found.names = (await client.send(new ListSecretsCommand({}))).SecretList.map((each) => each.Name);
  found.created = (await client.send(new ListSecretsCommand({}))).SecretList[0].CreatedDate.toISOString();
  try {
    await client.send(new GetSecretValueCommand({ SecretId: "absent" }));
  } catch (error) {
    found.error = [error.name, error.message];
  }
  console.log(JSON.stringify(found));
})();
"""


@pytest.fixture
def site(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a Keeper that has loaded its pages: AWS's clients wait 2 s for credentials, three times."""
    monkeypatch.setattr(ContainerMetadataFetcher, "TIMEOUT_SECONDS", WAIT_SECONDS)
    with pytest.raises(HTTPError, match="403") as refused:
        urlopen(f"{live_server.url}/aws/credentials", timeout=WAIT_SECONDS)
    refused.value.close()
    return str(live_server.url)


def variables(site: str, own: str) -> dict[str, str]:
    """Return what docs/programs.md tells to set."""
    return {
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"{site}/aws",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{site}/aws/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": own,
        "AWS_ENDPOINT_URL_STS": f"{site}/aws/sts",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


@pytest.fixture
def own(cast: Cast) -> str:
    keep(cast, "app/db", value="s3cret")
    return token(cast)


@pytest.fixture
def set_up(site: str, own: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a program that the documentation's variables are set in."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables(site, own)}


@pytest.fixture
def client(set_up: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of boto3, made without an argument."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in set_up.items():
        monkeypatch.setenv(name, value)
    return boto3.session.Session().client("secretsmanager")


@pytest.fixture
def workload(cast: Cast, site: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a program whose platform gave it a token, with the variables of the documentation."""
    keep(cast, "app/db", value="s3cret")
    issuer = Issuer()
    make_trust(cast, issuer, environment=cast.development, lifetime_minutes=60)
    (tmp_path / "jwt").write_text(issuer.sign())
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"{site}/aws",
        "AWS_ENDPOINT_URL_STS": f"{site}/aws/sts",
        "AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/ci",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "jwt"),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def read(program: list[str], variables: dict[str, str], status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        program, env=variables, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_boto3_reads_by_the_variables_alone(cast: Cast, client: Any, own: str) -> None:
    secret = change(cast, keep(cast, "app/key", value="old"), value="new")
    assert client.get_secret_value(SecretId="app/db")["SecretString"] == "s3cret"
    described = client.describe_secret(SecretId="app/key")
    assert sorted(described["VersionIdsToStages"].values()) == [["AWSCURRENT"], ["AWSPREVIOUS"]]
    for version, (label,) in described["VersionIdsToStages"].items():
        by_id = client.get_secret_value(SecretId=described["ARN"], VersionId=version)
        by_label = client.get_secret_value(SecretId="app/key", VersionStage=label)
        assert (
            by_id["SecretString"]
            == by_label["SecretString"]
            == {"AWSCURRENT": "new", "AWSPREVIOUS": "old"}[label]
        )
    pages = client.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": 1})
    assert [each["Name"] for page in pages for each in page["SecretList"]] == ["app/db", "app/key"]
    batch = client.batch_get_secret_value(SecretIdList=["app/db", "absent"])
    assert [each["SecretString"] for each in batch["SecretValues"]] == ["s3cret"]
    assert batch["Errors"][0]["ErrorCode"] == "ResourceNotFoundException"
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="can't find the specified secret"):
        client.get_secret_value(SecretId="absent")
    with pytest.raises(ClientError, match="UnknownOperationException"):
        client.put_secret_value(SecretId=secret.name, SecretString="x")
    with pytest.raises(ClientError, match="AccessDeniedException"):
        client.get_secret_value(SecretId=described["ARN"].replace(described["ARN"].split(":")[4], "1" * 12))
    revoke(actor=cast.principal(cast.alice), token=ServiceToken.objects.get(public_id=own[4:26]))
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        client.get_secret_value(SecretId="app/db")
    reads = AuditEvent.objects.filter(action=Action.SECRET_REVEAL, details__contains='"protocol":"aws"')
    assert reads.count() == 6


def test_boto3_signs_in_with_the_token_of_its_platform(
    workload: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in workload.items():
        monkeypatch.setenv(name, value)
    session = boto3.session.Session()
    client = session.client("secretsmanager")
    assert client.get_secret_value(SecretId="app/db")["SecretString"] == "s3cret"
    assert client.get_secret_value(SecretId="app/db")["SecretString"] == "s3cret"
    sign_in = AuditEvent.objects.get(action=Action.TRUST_SIGN_IN)
    assert '"protocol":"aws"' in sign_in.details
    sts: Any = session.client("sts")
    given = {"RoleArn": workload["AWS_ROLE_ARN"], "RoleSessionName": "by-hand", "WebIdentityToken": "x.y.z"}
    with pytest.raises(sts.exceptions.InvalidIdentityTokenException, match="could not be validated"):
        sts.assume_role_with_web_identity(**given)
    jwt = Path(workload["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text(encoding="ascii")
    known = sts.get_caller_identity()
    assert known["Arn"].startswith(f"arn:aws:sts::{known['Account']}:assumed-role/ci/")
    shown = sts.assume_role_with_web_identity(**given | {"WebIdentityToken": jwt, "DurationSeconds": 900})
    assert shown["SubjectFromWebIdentityToken"] == "a-service"
    assert shown["Credentials"]["Expiration"].tzinfo is not None


def test_the_command_line_signs_in_with_the_token_of_its_platform(
    workload: dict[str, str], tmp_path: Path
) -> None:
    aws = [str(aws_program("aws")), "secretsmanager", "get-secret-value", "--secret-id", "app/db"]
    assert json.loads(read(aws, workload).stdout)["SecretString"] == "s3cret"
    Path(workload["AWS_WEB_IDENTITY_TOKEN_FILE"]).write_text(Issuer().sign(sub="another"), encoding="ascii")
    # It keeps credentials at home.
    workload["HOME"] = str(tmp_path / "elsewhere")
    assert "AccessDenied" in read(aws, workload, status=255).stderr


def test_the_sdk_for_javascript_signs_in_with_the_token_of_its_platform(workload: dict[str, str]) -> None:
    program = """
const { SecretsManagerClient, GetSecretValueCommand } = require("@aws-sdk/client-secrets-manager");
new SecretsManagerClient({}).send(new GetSecretValueCommand({ SecretId: "app/db" }))
  .then((found) => console.log(found.SecretString));
"""
    done = read(["node", "-e", program], {**workload, "NODE_PATH": str(node_modules())})
    assert done.stdout == "s3cret\n"


def test_the_command_line_reads_and_lists(set_up: dict[str, str]) -> None:
    known = json.loads(read([str(aws_program("aws")), "sts", "get-caller-identity"], set_up).stdout)
    assert known["Arn"].split("/")[:2] == [f"arn:aws:sts::{known['Account']}:assumed-role", "aws-reader"]
    aws = [str(aws_program("aws")), "secretsmanager"]
    query = ["--query", "SecretString", "--output", "text"]
    shown = read([*aws, "get-secret-value", "--secret-id", "app/db", *query], set_up)
    assert shown.stdout == "s3cret\n"
    listed = json.loads(read([*aws, "list-secrets", "--filters", "Key=name,Values=app"], set_up).stdout)
    assert [each["Name"] for each in listed["SecretList"]] == ["app/db"]
    described = json.loads(read([*aws, "describe-secret", "--secret-id", "app/db"], set_up).stdout)
    assert described["ARN"] == listed["SecretList"][0]["ARN"]
    assert described["ARN"].split(":")[4] == known["Account"]
    batch = read([*aws, "batch-get-secret-value", "--secret-id-list", "app/db"], set_up)
    assert json.loads(batch.stdout)["SecretValues"][0]["SecretString"] == "s3cret"
    absent = read([*aws, "get-secret-value", "--secret-id", "absent"], set_up, status=255)
    assert "ResourceNotFoundException" in absent.stderr


def test_the_command_line_takes_the_token_of_a_file(set_up: dict[str, str], own: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(own)
    del set_up["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    set_up["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(tmp_path / "token")
    aws = [str(aws_program("aws")), "secretsmanager", "get-secret-value", "--secret-id", "app/db"]
    assert json.loads(read(aws, set_up).stdout)["SecretString"] == "s3cret"


def test_the_command_line_without_a_valid_token_says_so(set_up: dict[str, str]) -> None:
    set_up["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = f"kpr_{'a' * 22}_{'b' * 43}"
    aws = [str(aws_program("aws")), "secretsmanager", "get-secret-value", "--secret-id", "app/db"]
    assert "not valid here" in read(aws, set_up, status=255).stderr


def test_the_cache_of_aws_follows_a_change(cast: Cast, set_up: dict[str, str]) -> None:
    program = [str(aws_program("python")), "-u", "-c", CACHE]
    with subprocess.Popen(
        program, env=set_up, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "s3cret\n"
        change(cast, keep_named(cast), value="changed")
        told, wrong = running.communicate("\n", timeout=WAIT_SECONDS)
    assert told == "changed\n", wrong


def keep_named(cast: Cast) -> Any:
    return cast.development.secrets.select_related("environment").get(name="app/db")


def test_the_sdk_for_javascript_reads_and_lists(set_up: dict[str, str]) -> None:
    done = read(["node", "-e", JAVASCRIPT], {**set_up, "NODE_PATH": str(node_modules())})
    found = json.loads(done.stdout)
    assert (found["value"], found["names"]) == ("s3cret", ["app/db"])
    assert [each["SecretString"] for each in found["batch"]["SecretValues"]] == ["s3cret"]
    assert found["batch"]["Errors"][0]["ErrorCode"] == "ResourceNotFoundException"
    assert [*found["labels"].values()] == [["AWSCURRENT"]]
    assert found["created"].startswith("20")
    assert found["error"] == [
        "ResourceNotFoundException", "Secrets Manager can't find the specified secret."
    ]  # fmt: skip
