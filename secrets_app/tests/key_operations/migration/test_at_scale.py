"""From the key file to KMS, to another key and back: KMS is asked once a data key, no value is touched."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from audit_app.interfaces import Purpose
from audit_app.verification.stream_verifier import verify
from environments_app.tests.cast import Cast, make_cast
from secrets_app.key_operations.migration.rollback import roll_back
from secrets_app.key_operations.migration.service import verify_wraps
from secrets_app.key_operations.rotation import rotations
from secrets_app.keys.providers.registry import provider_named
from secrets_app.models import DataKey, SecretVersion
from secrets_app.services.bulk_create import MAX_ITEMS, NewSecret, create_many
from secrets_app.tests.key_operations.migration.test_migrate_to_kms import both, moved
from secrets_app.tests.keys.conftest import forget_process
from secrets_app.types.registry import SecretType

__all__ = ["both"]
pytestmark = [pytest.mark.every_database, pytest.mark.django_db(transaction=True)]
DATA_KEYS = len(Purpose) + 1
_WRITE = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM) [`\"]?(\w+)")


def silent(*_told: Any) -> None:
    """Take progress and show nothing of it."""


@contextmanager
def written_rows() -> Iterator[Counter[str]]:
    """Count the rows that are written meanwhile, by table."""
    rows: Counter[str] = Counter()

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if write := _WRITE.match(sql):
            # An INSERT that returns ids does not always tell their number; one row is the least.
            rows[write[1]] += max(context["cursor"].rowcount, sql.startswith("INSERT"))
        return result

    with connection.execute_wrapper(watch):
        yield rows


def fill(cast: Cast, count: int) -> None:
    names = [f"app/{number}" for number in range(count)]
    for start in range(0, count, MAX_ITEMS):
        items = [
            NewSecret(
                environment=cast.development, name=name, secret_type=SecretType.TEXT, value=f"value of {name}"
            )
            for name in names[start : start + MAX_ITEMS]
        ]
        create_many(actor=cast.principal(cast.alice), items=items)


def fingerprint() -> str:
    """Return a digest of every stored value, as it is sealed."""
    digest = hashlib.sha256()
    for row in SecretVersion.objects.order_by("pk").iterator():
        digest.update(row.value.envelope + str(row.data_key_id).encode())
    return digest.hexdigest()


def opened(cast: Cast, count: int) -> None:
    """Open every value in a process that remembers no key."""
    forget_process()
    done: list[int] = []
    assert not list(
        verify_wraps(cast.development, batch_size=200, progress=lambda some, _all: done.append(some))
    )
    assert done[-1] == count


def there_and_back(cast: Cast, settings: Settings, kms_client: Any, count: int) -> dict[str, Any]:
    """Go the whole way with so many secrets; return the calls of KMS and the rows written of each step."""
    fill(cast, count)
    before, told = fingerprint(), {}

    def step(name: str, rows: Counter[str]) -> None:
        told[name] = {"kms": dict(provider_named("kms").calls), "rows": dict(rows)}
        assert fingerprint() == before
        assert rows["secrets_app_datakey"] == DATA_KEYS + (name == "rollback") * DATA_KEYS
        assert not rows["secrets_app_secretversion"] + rows["secrets_app_secret"]
        opened(cast, count)

    with written_rows() as rows:
        backup = Path(moved()["(system)"].backup)
    step("migration", rows)
    settings.KEY_MANAGEMENT_BACKEND = "kms"
    settings.KMS_KEY_ID = kms_client.create_key()["KeyMetadata"]["Arn"]
    forget_process()
    with written_rows() as rows:
        assert all(done.ok for done in rotations(progress=silent))
    step("other key", rows)
    assert set(DataKey.objects.values_list("key_uri", flat=True)) == {settings.KMS_KEY_ID}
    settings.KEY_MANAGEMENT_BACKEND = "local"
    forget_process()
    with written_rows() as rows:
        assert roll_back(backup).data_keys == DATA_KEYS
    step("rollback", rows)
    assert set(DataKey.objects.values_list("provider", "other_provider")) == {("local", "")}
    assert not list(verify())
    return told


def check(cast: Cast, settings: Settings, kms_client: Any, count: int) -> None:
    told = there_and_back(cast, settings, kms_client, count)
    print(json.dumps({"secrets": count, "database": connection.vendor, **told}))  # noqa: T201 - the figures
    assert told["migration"]["kms"] == {"Encrypt": DATA_KEYS}
    assert told["other key"]["kms"]["ReEncrypt"] == DATA_KEYS
    assert "GenerateDataKey" not in told["other key"]["kms"]
    assert told["rollback"]["kms"] == {}


@pytest.fixture
def cast(both: str) -> Cast:
    return make_cast()


def test_a_hundred_and_twenty_secrets(cast: Cast, settings: Settings, kms_client: Any) -> None:
    check(cast, settings, kms_client, 120)


@pytest.mark.torture
def test_ten_thousand_secrets(cast: Cast, settings: Settings, kms_client: Any) -> None:
    check(cast, settings, kms_client, 10_000)
