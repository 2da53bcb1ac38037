"""Shows on the page of an environment its key, what the last check found, and what is pending.

Everything comes from the database: no key is used, and its keeper is not asked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Count, Q

from environments_app.models import Environment
from secrets_app.key_operations.reencrypt import legacy_rows
from secrets_app.key_operations.report import reference_of
from secrets_app.keys.models.data_key import VALUES
from secrets_app.keys.wrapping import KMS
from secrets_app.models import DataKey, SecretVersion, WrappingKey


@dataclass(frozen=True)
class PendingKeyWork:
    """Something left to do: what it is, and the command that does it."""

    what: str
    command: str


class KeyPanel:
    """The key's part of the page of an environment."""

    def panel(self, *, environment: Environment) -> Mapping[str, Any]:
        key = WrappingKey.objects.filter(scope=environment.uuid).first()
        active = DataKey.objects.filter(scope=environment.uuid, purpose=VALUES, active=True).first()
        return {
            "template": "secrets_app/_key_panel.html",
            "anchor": "key",
            "title": "Encryption key",
            "reference": reference_of(environment),
            "key": key,
            "problem": key.problem if key else "",
            "active": active,
            "failing": DataKey.objects.filter(scope=environment.uuid).exclude(check_problem="").first(),
            "pending": list(_pending(environment, key)),
        }


def _pending(environment: Environment, key: WrappingKey | None) -> Iterator[PendingKeyWork]:
    chosen = f"--environment {environment.name}"
    if key is not None and key.reference != reference_of(environment):
        yield PendingKeyWork("The key was changed since the last check", f"keeper kms key-info {chosen}")
    counted = _data_keys(environment, key)
    if counted["old"]:
        yield PendingKeyWork(
            _many(counted["old"], "data key", "under an old key"), f"keeper kms rotate {chosen}"
        )
    if counted["elsewhere"]:
        command = (
            "migrate to-kms --no-dry-run" if settings.KEY_MANAGEMENT_BACKEND == KMS else "rollback-kms BACKUP"
        )
        yield PendingKeyWork(
            _many(counted["elsewhere"], "data key", "not yet where new ones are wrapped"), f"keeper {command}"
        )
    if counted["both"]:
        yield PendingKeyWork(
            _many(counted["both"], "data key", "with both wraps, until the migration ends"),
            "keeper migrate to-kms --finalize",
        )
    # By way of their data keys, so that the many values under the active one are not gone through.
    older = SecretVersion.objects.filter(data_key__scope=environment.uuid, data_key__active=None).count()
    if older:
        yield PendingKeyWork(
            _many(older, "value", "under older data keys"), f"keeper kms rotate --reencrypt {chosen}"
        )
    legacy = legacy_rows().filter(secret__environment=environment).count()
    if legacy:
        yield PendingKeyWork(
            _many(legacy, "value", "of the older scheme"), f"keeper migrate to-kms --no-dry-run {chosen}"
        )


def _data_keys(environment: Environment, key: WrappingKey | None) -> dict[str, int]:
    here = Q(provider=settings.KEY_MANAGEMENT_BACKEND)
    # Without an answer the right key is unknown.
    old = here & ~Q(key_uri=key.key_uri) if key and key.key_uri else Q(pk=None)
    return DataKey.objects.filter(scope=environment.uuid).aggregate(
        old=Count("pk", filter=old),
        elsewhere=Count("pk", filter=~here),
        both=Count("pk", filter=~Q(other_provider="")),
    )


def _many(count: int, noun: str, where: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''} {where}"
