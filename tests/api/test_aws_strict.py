"""The strict layer refuses what AWS documents as refused, and fails as it is told."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.aws_strict.faults import Fault, Plan
from tests.servers.fixtures import moto_url, strict_aws

__all__ = ["moto_url", "strict_aws"]


@pytest.fixture(scope="module")
def clients(strict_aws: tuple[str, Plan]) -> dict[str, Any]:
    return {
        service: boto3.client(
            service,
            region_name="eu-central-1",
            endpoint_url=strict_aws[0],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(read_timeout=60, retries={"total_max_attempts": 1}),
        )
        for service in ("secretsmanager", "kms")
    }


@pytest.fixture
def plan(strict_aws: tuple[str, Plan]) -> Iterator[Plan]:
    strict_aws[1].clear()
    yield strict_aws[1]
    strict_aws[1].clear()


@pytest.fixture
def manager(clients: dict[str, Any], plan: Plan) -> Any:
    return clients["secretsmanager"]


@pytest.fixture
def kms(clients: dict[str, Any], plan: Plan) -> Any:
    return clients["kms"]


@pytest.fixture
def name() -> str:
    return f"strict-{uuid4().hex}"


def code(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_it_takes_65536_bytes_and_no_more(manager: Any, name: str) -> None:
    manager.create_secret(Name=name, SecretString="é" * 32_768)
    larger = "é" * 32_768 + "x"
    assert code(manager.put_secret_value, SecretId=name, SecretString=larger) == "ValidationException"
    assert code(manager.create_secret, Name=name + "2", SecretString=larger) == "ValidationException"


@pytest.mark.parametrize("bad", ["a b", "a#b", "ä", "x" * 513])
def test_it_refuses_names(manager: Any, bad: str) -> None:
    assert code(manager.create_secret, Name=bad, SecretString="x") == "ValidationException"


def test_it_refuses_a_batch_of_more_than_twenty(manager: Any, name: str) -> None:
    names = [f"{name}-{number}" for number in range(21)]
    assert code(manager.batch_get_secret_value, SecretIdList=names) == "InvalidParameterException"


def test_it_refuses_writes_to_what_is_deleted(manager: Any, name: str) -> None:
    manager.create_secret(Name=name, SecretString="x")
    manager.delete_secret(SecretId=name)
    refused = [
        code(manager.put_secret_value, SecretId=name, SecretString="y"),
        code(manager.update_secret, SecretId=name, SecretString="y"),
        code(manager.tag_resource, SecretId=name, Tags=[{"Key": "a", "Value": "b"}]),
        code(manager.create_secret, Name=name, SecretString="y"),
    ]
    assert refused == ["InvalidRequestException"] * 4


def test_it_refuses_a_key_that_does_not_exist_or_is_disabled(manager: Any, kms: Any, name: str) -> None:
    create = manager.create_secret
    assert code(create, Name=name, SecretString="x", KmsKeyId="alias/nothing") == "EncryptionFailure"
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    create(Name=name, SecretString="x", KmsKeyId=key)
    kms.disable_key(KeyId=key)
    assert code(manager.put_secret_value, SecretId=name, SecretString="y") == "EncryptionFailure"


def test_it_gives_the_current_version_unless_asked_for_another(manager: Any, name: str) -> None:
    manager.create_secret(Name=name, SecretString="current")
    manager.put_secret_value(SecretId=name, SecretString="waiting", VersionStages=["WAITING"])
    assert manager.get_secret_value(SecretId=name)["SecretString"] == "current"


def test_disabled_and_dying_keys_neither_encrypt_nor_decrypt(kms: Any) -> None:
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    assert code(kms.generate_data_key, KeyId=key, KeySpec="AES_256") == "DisabledException"
    assert code(kms.decrypt, KeyId=key, CiphertextBlob=sealed) == "DisabledException"
    kms.enable_key(KeyId=key)
    assert kms.decrypt(KeyId=key, CiphertextBlob=sealed)["Plaintext"] == b"x"
    kms.schedule_key_deletion(KeyId=key)
    assert code(kms.encrypt, KeyId=key, Plaintext=b"x") == "KMSInvalidStateException"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.THROTTLE, "ThrottlingException"),
        (Fault.SERVER_ERROR, "InternalServiceError"),
        (Fault.ACCESS_DENIED, "AccessDeniedException"),
        (Fault.EXPIRED, "ExpiredTokenException"),
    ],
)
def test_it_fails_as_often_as_it_is_told(manager: Any, plan: Plan, fault: Fault, expected: str) -> None:
    plan.fail("ListSecrets", fault)
    assert code(manager.list_secrets) == expected
    manager.list_secrets()
    assert plan.calls == {"ListSecrets": 2}


def test_it_tells_what_is_asked_from_what_the_client_sends_again(
    strict_aws: tuple[str, Plan], plan: Plan
) -> None:
    patient = boto3.client(
        "secretsmanager",
        region_name="eu-central-1",
        endpoint_url=strict_aws[0],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}),
    )
    plan.fail("ListSecrets", Fault.SERVER_ERROR, times=2)
    patient.list_secrets()
    assert (plan.calls["ListSecrets"], plan.asked["ListSecrets"]) == (3, 1)
    patient.list_secrets()
    assert (plan.calls["ListSecrets"], plan.asked["ListSecrets"]) == (4, 2)


def test_a_lost_reply_belongs_to_a_call_that_took_place(manager: Any, plan: Plan, name: str) -> None:
    plan.fail("CreateSecret", Fault.DROPPED_REPLY)
    with pytest.raises(BotoCoreError):
        manager.create_secret(Name=name, SecretString="x")
    assert manager.get_secret_value(SecretId=name)["SecretString"] == "x"


def test_a_hanging_call_does_nothing(manager: Any, plan: Plan, name: str) -> None:
    plan.fail("CreateSecret", Fault.HANG)
    threading.Timer(0.2, plan.release.set).start()
    with pytest.raises(BotoCoreError):
        manager.create_secret(Name=name, SecretString="x")
    assert code(manager.get_secret_value, SecretId=name) == "ResourceNotFoundException"
