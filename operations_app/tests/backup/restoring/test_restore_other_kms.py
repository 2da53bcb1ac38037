"""A backup under a KMS key that is not to be had where it is restored: named, before anything is changed."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from environments_app.tests.cast import make_cast
from operations_app.backup.verification import verify_backup
from operations_app.tests.backup.making import backup_of
from operations_app.tests.backup.restoring.test_restore_verify import everything
from secrets_app.tests.keys.conftest import forget_process, kms_client, kms_key, strict_kms
from tests.servers.fixtures import moto_url, strict_aws

__all__ = ["kms_client", "kms_key", "moto_url", "strict_aws", "strict_kms"]
ELSEWHERE = "arn:aws:kms:{region}:999999999999:key/11111111-2222-4333-8444-555555555555"


def another_account(settings: Settings, _client: Any, arn: str) -> None:
    """Configure a key of another account, which puts this one off the list of allowed keys."""
    settings.KMS_KEY_ID = ELSEWHERE.format(region=arn.split(":")[3])


def another_region(settings: Settings, _client: Any, arn: str) -> None:
    """Configure a key of another region."""
    settings.KMS_KEY_ID = arn.replace(f":{arn.split(':')[3]}:", ":us-west-2:")
    settings.AWS_REGION = "us-west-2"


def the_key_file(settings: Settings, _client: Any, _arn: str) -> None:
    """Configure no KMS at all."""
    settings.KEY_MANAGEMENT_BACKEND = "local"
    settings.KMS_KEY_ID = ""


def disabled(_settings: Settings, client: Any, arn: str) -> None:
    """Disable the key."""
    client.disable_key(KeyId=arn.rpartition("/")[2])


def deleted(_settings: Settings, client: Any, arn: str) -> None:
    """Let the key wait for its deletion."""
    client.schedule_key_deletion(KeyId=arn.rpartition("/")[2], PendingWindowInDays=7)


@pytest.mark.parametrize("change", [another_account, another_region, the_key_file, disabled, deleted])
def test_the_missing_key_is_named_and_nothing_is_changed(
    strict_kms: Any,
    kms_key: str,
    kms_client: Any,
    settings: Settings,
    tmp_path: Path,
    db: None,
    change: Callable[[Settings, Any, str], None],
) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    made = backup_of(make_cast(), tmp_path)
    forget_process()
    assert verify_backup(made).problems == []
    before = everything()
    change(settings, kms_client, kms_key)
    for command in (["--verify"], ["--replace", "--yes"]):
        forget_process()
        with pytest.raises(CommandError) as raised:
            call_command("restore", str(made), *command, stdout=StringIO())
        assert kms_key in str(raised.value), raised.value
    assert everything() == before
