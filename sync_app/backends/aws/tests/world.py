"""AWS Secrets Manager and Parameter Store of moto behind the strict layer; the other client goes to moto directly."""

import functools
from collections.abc import Iterator
from random import Random
from typing import Any, ClassVar

import boto3
import pytest
from botocore.exceptions import ClientError

from core.network.outbound import Reply
from sync_app.backends.aws.parameter_store import AwsParameterStore
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.base import Backend
from sync_app.tests.worlds import World
from tests.aws_strict.faults import Plan

REGION = "eu-central-1"


@functools.cache
def client(service: str, url: str) -> Any:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client(service, region_name=REGION, endpoint_url=url, **keys)  # type: ignore[call-overload]


class _AwsWorld(World):
    """A service of moto behind the strict layer; the other client goes to moto directly."""

    absent = ClientError
    failure: ClassVar[str]

    def limited(self, random: Random) -> Reply:
        return _reply("ThrottlingException", "Rate exceeded")

    def refused(self, random: Random) -> Reply:
        return _reply("AccessDeniedException", "User: x is not authorized to perform: a:B")

    def failed(self) -> Reply:
        return _reply(self.failure, "An error occurred on the server side.", status=500)


def _reply(code: str, message: str, *, status: int = 400) -> Reply:
    body = f'{{"__type": "{code}", "message": "{message}"}}'
    return Reply(status, {"x-amzn-errortype": code}, body.encode())


class AwsWorld(_AwsWorld):
    """AWS Secrets Manager."""

    kind = "aws_secrets_manager"
    fixture = "aws"
    failure = "InternalServiceError"

    def __init__(self, strict_url: str, moto_url: str, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.destination = {
            "region": REGION,
            "prefix": self.prefix,
            "endpoint": strict_url,
            "sts_endpoint": strict_url,
        }
        self.credentials = {"access_key_id": "testing", "secret_access_key": "testing"}
        self.strict_url = strict_url
        self.client = client("secretsmanager", moto_url)
        self.kms = client("kms", moto_url)

    def backend(self, **changes: str) -> Backend:
        return AwsSecretsManager(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        try:
            made = self.client.put_secret_value(SecretId=path, SecretString=value)["VersionId"]
        except self.client.exceptions.ResourceNotFoundException:
            self.client.create_secret(Name=path, SecretString=value)
            return
        # Where the label was moved before, moto leaves it on that version as well; AWS does not.
        for version, labels in self.client.describe_secret(SecretId=path)["VersionIdsToStages"].items():
            if version != made and "AWSCURRENT" in labels:
                self.client.update_secret_version_stage(
                    SecretId=path, VersionStage="AWSCURRENT", RemoveFromVersionId=version
                )

    def value(self, path: str) -> str:
        return str(self.client.get_secret_value(SecretId=path, VersionStage="AWSCURRENT")["SecretString"])

    def remove(self, path: str) -> None:
        self.client.delete_secret(SecretId=path)

    def label(self, path: str, key: str, text: str) -> None:
        self.client.tag_resource(SecretId=path, Tags=[{"Key": key, "Value": text}])

    def labels(self, path: str) -> dict[str, str]:
        tags = self.client.describe_secret(SecretId=path).get("Tags", [])
        return {tag["Key"]: tag["Value"] for tag in tags}


class ParameterWorld(_AwsWorld):
    """Parameter Store."""

    kind = "aws_parameter_store"
    fixture = "ssm"
    failure = "InternalServerError"
    compares = False
    largest = 8192
    deletes_recoverably = False

    def __init__(self, strict_url: str, moto_url: str, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.destination = {
            "region": REGION,
            "prefix": self.prefix,
            "tier": "advanced",
            "endpoint": strict_url,
            "sts_endpoint": strict_url,
        }
        self.credentials = {"access_key_id": "testing", "secret_access_key": "testing"}
        self.client = client("ssm", moto_url)

    def backend(self, **changes: str) -> AwsParameterStore:
        return AwsParameterStore(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        self.client.put_parameter(Name=f"/{path}", Value=value, Type="SecureString", Overwrite=True)

    def value(self, path: str) -> str:
        return str(self.client.get_parameter(Name=f"/{path}", WithDecryption=True)["Parameter"]["Value"])

    def remove(self, path: str) -> None:
        self.client.delete_parameter(Name=f"/{path}")

    def label(self, path: str, key: str, text: str) -> None:
        self.client.add_tags_to_resource(
            ResourceType="Parameter", ResourceId=f"/{path}", Tags=[{"Key": key, "Value": text}]
        )

    def labels(self, path: str) -> dict[str, str]:
        reply = self.client.list_tags_for_resource(ResourceType="Parameter", ResourceId=f"/{path}")
        return {tag["Key"]: tag["Value"] for tag in reply["TagList"]}


@pytest.fixture
def aws(strict_aws: tuple[str, Plan], moto_url: str) -> Iterator[AwsWorld]:
    url, plan = strict_aws
    plan.clear()
    yield AwsWorld(url, moto_url, plan)
    plan.clear()


@pytest.fixture
def ssm(strict_aws: tuple[str, Plan], moto_url: str) -> Iterator[ParameterWorld]:
    url, plan = strict_aws
    plan.clear()
    yield ParameterWorld(url, moto_url, plan)
    plan.clear()
