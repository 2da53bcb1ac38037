"""Proves that every value and credential opens, a value as the one that was written, and gives none out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db.models import QuerySet

from audit_app.crypto.canonical_json import Json
from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.recording.drafts import AuditObject, ManifestEntry
from audit_app.recording.recorder import commit_record
from environments_app.models import Environment
from secrets_app.errors import KeyUnavailable
from secrets_app.key_operations.version_rows import next_batch
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.keys.sealed_columns import credential_fields
from secrets_app.models import SecretVersion


def verify_wraps(
    environment: Environment, *, batch_size: int, progress: Callable[[int, int], None]
) -> Iterator[str]:
    """Open every value of an environment and yield what is wrong with those that do not open.

    Each batch is recorded and committed, with its manifest, before a value of it is opened.
    """
    rows = SecretVersion.objects.filter(secret__environment=environment)
    total, done, last = rows.count(), 0, 0
    while batch := list(next_batch(rows, after=last, size=batch_size).select_related("secret")):
        last = batch[-1].pk
        _record(
            environment,
            {"step": "prove", "count": len(batch)},
            [version.secret.manifest_entry(version.number) for version in batch],
        )
        for version in batch:
            version.secret.environment = environment
            if problem := _problem(version):
                yield problem
        done += len(batch)
        progress(done, total)


def prove_credentials(environment: Environment) -> Iterator[str]:
    """Open every credential of an environment's targets, webhooks and policies; yield "" or what is wrong.

    Each is recorded and committed before it is opened.
    """
    for column in credential_fields():
        rows: QuerySet[Any] = QuerySet(column.model).filter(environment=environment).order_by("pk")
        for row in rows:
            row.environment = environment
            details: dict[str, Json] = {"step": "prove", "kind": column.label, "row": str(row.uuid)}
            _record(environment, details)
            yield _credential_problem(column, row)


def _credential_problem(column: EncryptedField, row: Any) -> str:
    what = f"{column.label} {row.uuid}"
    try:
        opens = getattr(row, column.attname).can_decrypt()
    except KeyUnavailable as error:
        return f"{what}: {error}"
    return "" if opens else f"{what}: the credential does not open"


def _problem(version: SecretVersion) -> str:
    what = f"version {version.number} of secret {version.secret.uuid}"
    try:
        if version.value.matches_fingerprint(bytes(version.fingerprint)):
            return ""
    except KeyUnavailable as error:
        return f"{what}: {error}"
    return f"{what}: the value does not open, or is not the one that was written"


def _record(
    environment: Environment, details: dict[str, Json], manifest: Sequence[ManifestEntry] | None = None
) -> None:
    commit_record(
        actor=actors.system(),
        action=Action.DATA_KEY_OPEN,
        stream=environment_stream(environment.uuid),
        object=AuditObject("environment", environment.uuid, environment.name),
        details=details,
        manifest=manifest,
    )
