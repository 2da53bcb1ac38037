"""The integrity checks of secrets: each row proves itself, each version is the one that was written."""

import json
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from audit_app.actions import Action, Outcome
from audit_app.integrity import Problem
from audit_app.models import AuditEvent
from secrets_app.models import Secret, SecretVersion
from secrets_app.versions import matches_digest

_BATCH: Final = 500
_WRITES: Final = (Action.SECRET_CREATE, Action.SECRET_UPDATE, Action.SECRET_ROLLBACK)


def secrets() -> Iterator[Problem]:
    """Find secrets whose name, environment or current version was edited outside Keeper."""
    for secret in Secret.objects.select_related("environment").order_by("pk").iterator(chunk_size=_BATCH):
        if not secret.is_authentic():
            yield Problem(
                kind="secret",
                object=f"secret {secret.pk} ({secret.uuid})",
                message="the name, environment or current version was not written by Keeper",
            )


def versions() -> Iterator[Problem]:
    """Find versions that differ from what their write event digested, and those without one."""
    last = 0
    while batch := _batch(after=last):
        last = batch[-1].pk
        events = _write_events(batch)
        for version in batch:
            problem = _problem(version, events.get(version.uuid))
            if problem:
                yield problem


def _batch(*, after: int) -> list[SecretVersion]:
    rows = SecretVersion.objects.select_related("secret__environment").filter(pk__gt=after)
    return list(rows.defer("value").order_by("pk")[:_BATCH])


def _write_events(versions: list[SecretVersion]) -> dict[UUID, AuditEvent]:
    """Return the event that wrote each version, by the version's uuid."""
    events = AuditEvent.objects.filter(
        object_uuid__in={version.secret.uuid for version in versions},
        action__in=_WRITES,
        outcome=Outcome.ALLOWED,
        object_kind="secret",
    )
    found = {}
    for event in events.iterator(chunk_size=_BATCH):
        written = json.loads(event.details).get("version")
        if written:
            found[UUID(written)] = event
    return found


def _problem(version: SecretVersion, event: AuditEvent | None) -> Problem | None:
    what = f"version {version.number} of secret {version.secret_id} ({version.uuid})"
    if event is None:
        return Problem(kind="version", object=what, message="no event says that this version was written")
    details = json.loads(event.details)
    if details.get("number") == version.number and matches_digest(version, str(details.get("digest"))):
        return None
    return Problem(
        kind="version",
        object=what,
        message="the version is not the one that its event says was written",
        stream=event.stream,
        sequence=event.sequence,
    )
