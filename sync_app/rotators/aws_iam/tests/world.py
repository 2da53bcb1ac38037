"""Access keys of a user of IAM, in a moto that checks signatures and policies."""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from sync_app.rotators.aws_iam.rotator import AwsIam
from sync_app.tests.rotators.worlds import World, blocks
from tests.aws_strict.faults import Plan
from tests.aws_strict.server import serving
from tests.servers.moto import Moto


class IamWorld(World):
    """A user of a moto that checks signatures and policies, behind the layer that knows inactive keys."""

    kind = AwsIam
    fixture = "iam"

    def __init__(self, url: str, plan: Plan, root: Any) -> None:
        self.url, self.plan, self.root = url, plan, root
        mark = uuid4().hex[:8]
        self.user, administrator = f"app-{mark}", f"keeper-{mark}"
        for name in (self.user, administrator):
            root.create_user(UserName=name)
        (policy,) = blocks("AWS IAM", "json")
        # moto judges actions, and takes every resource of IAM for "*".
        policy = re.sub(r'"arn:[^"]*"', '"*"', policy)
        root.put_user_policy(UserName=administrator, PolicyName="rotation", PolicyDocument=policy)
        self.administrator = root.create_access_key(UserName=administrator)["AccessKey"]
        made = root.create_access_key(UserName=self.user)["AccessKey"]
        fields = {name: made[name] for name in ("UserName", "AccessKeyId", "SecretAccessKey")}
        self.current = json.dumps({**fields, "comment": "kept"})

    def settings(self) -> dict[str, str]:
        place = {"iam_endpoint": self.url, "sts_endpoint": self.url}
        return {"user_name": self.user, "region": "eu-central-1", **place}

    def admin(self) -> dict[str, str]:
        return {
            "access_key_id": self.administrator["AccessKeyId"],
            "secret_access_key": self.administrator["SecretAccessKey"],
        }

    def client(self, value: str) -> Any:
        fields = json.loads(value)
        return boto3.client(
            "sts",
            region_name="eu-central-1",
            endpoint_url=self.url,
            aws_access_key_id=fields["AccessKeyId"],
            aws_secret_access_key=fields["SecretAccessKey"],
        )

    def works(self, value: str) -> bool:
        try:
            self.client(value).get_caller_identity()
        except ClientError as error:
            if error.response["Error"]["Code"] in {"InvalidClientTokenId", "SignatureDoesNotMatch"}:
                return False
            raise
        return True

    def spoiled(self, value: str) -> str:
        return json.dumps({**json.loads(value), "SecretAccessKey": "wrong"})

    def key_ids(self) -> list[str]:
        listed = self.root.list_access_keys(UserName=self.user)["AccessKeyMetadata"]
        return [key["AccessKeyId"] for key in listed]


@pytest.fixture(scope="session")
def strict_iam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Plan, Any]]:
    """Start a moto of its own that checks signatures and policies, which the other tests' must not."""
    server = Moto(tmp_path_factory.mktemp("servers"))
    try:
        server.start()
        server.wait()
        url = server.environment()["KEEPER_TEST_MOTO_URL"]
        place: dict[str, Any] = {"region_name": "eu-central-1", "endpoint_url": url}
        setup = boto3.client("iam", aws_access_key_id="setup", aws_secret_access_key="setup", **place)
        setup.create_user(UserName="root")
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
        setup.put_user_policy(UserName="root", PolicyName="all", PolicyDocument=policy)
        key = setup.create_access_key(UserName="root")["AccessKey"]
        own = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        requests.post(f"{url}/moto-api/reset-auth", data="0", timeout=60).raise_for_status()
        with serving(url) as (strict_url, plan):
            client: Any = boto3.client("iam", **place, **own)  # type: ignore[call-overload]
            yield strict_url, plan, client
    finally:
        server.stop()


@pytest.fixture
def iam(strict_iam: tuple[str, Plan, Any]) -> Iterator[IamWorld]:
    strict_iam[1].clear()
    yield IamWorld(*strict_iam)
    strict_iam[1].clear()
