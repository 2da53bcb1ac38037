"""The system checks of the key layer: each unsafe or impossible setting is named."""

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from secrets_app import checks

ARN = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def found(settings: Settings, **changed: Any) -> list[str]:
    for name, value in changed.items():
        setattr(settings, name, value)
    messages = checks.keys(None)
    assert all(message.hint for message in messages)
    return [str(message.id) for message in messages]


KMS = {"KEY_MANAGEMENT_BACKEND": "kms", "KMS_KEY_ID": ARN, "AWS_REGION": "eu-central-1", "DEBUG": False}


def test_the_defaults_are_sound(settings: Settings) -> None:
    assert found(settings) == []


def test_a_complete_kms_configuration_is_sound(settings: Settings) -> None:
    pairs = {"application": "keeper", "environment": "production"}
    assert (
        found(settings, **KMS, KMS_ENCRYPTION_CONTEXT=pairs, KMS_ALLOWED_KEYS=[ARN, ARN.partition("key/")[0]])
        == []
    )


@pytest.mark.parametrize(
    ("changed", "id"),
    [
        ({"KEY_MANAGEMENT_BACKEND": "vault"}, "keeper.E010"),
        ({**KMS, "DEBUG": True}, "keeper.E017"),
        ({**KMS, "KMS_KEY_ID": ""}, "keeper.E011"),
        ({"KEY_MIGRATION": True, "KMS_KEY_ID": "", "AWS_REGION": "eu-central-1"}, "keeper.E011"),
        ({**KMS, "KMS_KEY_ALIAS": "alias/other"}, "keeper.W011"),
        ({**KMS, "AWS_REGION": ""}, "keeper.E012"),
        ({"KMS_ENCRYPTION_CONTEXT": {"a": 1}}, "keeper.E013"),
        ({"KMS_ENCRYPTION_CONTEXT": {"a": {"b": "c"}}}, "keeper.E013"),
        ({"KMS_ENCRYPTION_CONTEXT": ["a"]}, "keeper.E013"),
        ({"KMS_ENCRYPTION_CONTEXT": {"keeper:environment": "x"}}, "keeper.E014"),
        ({"KMS_ALLOWED_KEYS": ["alias/anything"]}, "keeper.E015"),
        ({"KMS_ALLOWED_KEYS": ["arn:aws:kms:"]}, "keeper.E015"),
        ({"KMS_DEK_CACHE_SIZE": 0}, "keeper.E016"),
        ({"KMS_TIMEOUT_SECONDS": -1.0}, "keeper.E016"),
    ],
)
def test_it_names_what_is_wrong(settings: Settings, changed: dict[str, Any], id: str) -> None:
    assert found(settings, **changed) == [id]


@pytest.mark.parametrize(
    ("mode", "ids"), [(0o600, []), (0o400, []), (0o640, ["keeper.W010"]), (0o604, ["keeper.W010"])]
)
def test_it_warns_of_a_key_file_that_others_may_read(settings: Settings, mode: int, ids: list[str]) -> None:
    path = Path(settings.KEEPER_LOCAL_KEY_FILE)
    path.write_bytes(b"k" * 32)
    path.chmod(mode)
    assert found(settings) == ids
