"""Gives every test of the key layer a process that remembers nothing, and a key file of its own."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader
from django.core.cache import cache
from pytest_django import Settings

from audit_app.interfaces import forget_keyring
from audit_app.models import forget_deployment
from environments_app.models import Environment
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.keys.providers.registry import forget_provider
from tests.aws_strict.faults import Plan
from tests.processes import database
from tests.servers.fixtures import moto_url, strict_aws

__all__ = ["database", "moto_url", "strict_aws"]
REGION = "eu-central-1"


@pytest.fixture(scope="session", autouse=True)
def _one_loader() -> Iterator[None]:
    """Read once what botocore knows of AWS: each session reads the files anew, and a test makes several."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(botocore.session, "create_loader", functools.cache(create_loader))
        yield


@pytest.fixture(autouse=True)
def fresh_process(settings: Settings, tmp_path: Path) -> Iterator[None]:
    settings.KEEPER_KEYRING = "secrets_app.keys.system_keyring.SystemKeyring"
    settings.KEY_MANAGEMENT_BACKEND = "local"
    settings.KEEPER_LOCAL_KEY_FILE = str(tmp_path / "local.key")
    settings.KEEPER_LOCAL_KEY_PASSPHRASE = ""
    settings.KMS_ENCRYPTION_CONTEXT = {}
    settings.KMS_ALLOWED_KEYS = []
    settings.KMS_KEY_ID = settings.KMS_KEY_ALIAS = ""
    # How long an answer takes says something of the machine; what times out on purpose says after how long.
    settings.KMS_TIMEOUT_SECONDS = 60.0
    forget_process()
    yield
    forget_process()


def forget_process() -> None:
    """Forget what a process keeps, as a restart does."""
    forget_keyring()
    forget_deployment()
    forget_provider()
    forget_data_keys()
    cache.clear()


@pytest.fixture
def kms_client(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The operator's own view of KMS."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = boto3.client("kms", region_name=REGION, endpoint_url=moto_url)
    yield client
    client.close()


@pytest.fixture
def kms_key(kms_client: Any, moto_url: str, settings: Settings) -> str:
    """The ARN of a key that the installation is configured for."""
    arn: str = kms_client.create_key()["KeyMetadata"]["Arn"]
    settings.KEY_MANAGEMENT_BACKEND = "kms"
    settings.AWS_REGION = REGION
    settings.AWS_ENDPOINT_URL_KMS = moto_url
    settings.KMS_KEY_ID = arn
    forget_process()
    return arn


@pytest.fixture
def development(db: None) -> Environment:
    return Environment.objects.create(name="development")


@pytest.fixture
def strict_kms(kms_key: str, strict_aws: tuple[str, Plan], settings: Settings) -> Iterator[Plan]:
    """Let Keeper meet a KMS that is as strict as AWS, and that fails as this plan says."""
    url, plan = strict_aws
    plan.clear()
    settings.AWS_ENDPOINT_URL_KMS = url
    forget_process()
    yield plan
    plan.clear()
