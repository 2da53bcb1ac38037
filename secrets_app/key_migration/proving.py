"""Proves that every value opens and is the one that was written, and gives none of them out."""

from collections.abc import Callable, Iterator

from audit_app import actors
from audit_app.actions import Action
from audit_app.record import AuditObject, commit_record
from audit_app.streams import environment_stream
from environments_app.models import Environment
from secrets_app.errors import KeyUnavailable
from secrets_app.models import SecretVersion
from secrets_app.stored_values import next_batch


def prove(
    environment: Environment, *, batch_size: int, progress: Callable[[int, int], None]
) -> Iterator[str]:
    """Open every value of an environment and yield what is wrong with those that do not open.

    Each batch is recorded and committed, with its manifest, before a value of it is opened.
    """
    rows = SecretVersion.objects.filter(secret__environment=environment)
    total, done, last = rows.count(), 0, 0
    while batch := list(next_batch(rows, after=last, size=batch_size).select_related("secret")):
        last = batch[-1].pk
        _record(environment, batch)
        for version in batch:
            version.secret.environment = environment
            if problem := _problem(version):
                yield problem
        done += len(batch)
        progress(done, total)


def _problem(version: SecretVersion) -> str:
    what = f"version {version.number} of secret {version.secret.uuid}"
    try:
        if version.value.is_of(bytes(version.fingerprint)):
            return ""
    except KeyUnavailable as error:
        return f"{what}: {error}"
    return f"{what}: the value does not open, or is not the one that was written"


def _record(environment: Environment, versions: list[SecretVersion]) -> None:
    commit_record(
        actor=actors.system(),
        action=Action.DATA_KEY_OPEN,
        stream=environment_stream(environment.uuid),
        object=AuditObject("environment", environment.uuid, environment.name),
        details={"step": "prove", "count": len(versions)},
        manifest=[version.secret.manifest_entry(version.number) for version in versions],
    )
