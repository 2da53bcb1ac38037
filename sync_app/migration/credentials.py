"""As whom a migration works, and the credentials of its source: sealed, opened with an event, deleted."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.events.streams import environment_stream
from audit_app.recording.recorder import commit_record
from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import load_principal, system_principal
from environments_app.models import Environment, Role
from secrets_app.errors import SecretError
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.encrypted_field import Sealed
from sync_app.errors import MigrationNotReady
from sync_app.migration.sources.base import Source
from sync_app.migration.sources.registry import SOURCES
from sync_app.models.migration import Migration, SourceCredentials

_GONE: Final = "The credentials of the source were deleted. Start the migration again with new ones."


def sealed_credentials(migration: Migration, credentials: Mapping[str, str]) -> SourceCredentials:
    """Return the row of a source's credentials, sealed for its address. It may ask KMS."""
    key = active_key(migration.environment)
    row = SourceCredentials(migration=migration, environment=migration.environment, data_key_id=key.id)
    given = {name: text for name, text in credentials.items() if text}
    row.credentials = Sealed.of(json.dumps(given).encode(), data_key=key, context=row.sealing_context())
    return row


def migration_principal(migration: Migration) -> Principal:
    """Return who a migration works for, with what they may do by now.

    A migration from a shell on the host works as Keeper, within the environments of its rules, which its MAC
    covers.
    """
    if migration.actor.kind is not ActorKind.SYSTEM:
        return load_principal(migration.actor)
    uuids = {uuid for rule in migration.rules for uuid in rule["environments"].values()}
    return system_principal(
        grants=tuple(
            Grant(
                environment_id=each.pk,
                environment_uuid=each.uuid,
                environment_name=each.name,
                role=Role.EDITOR,
                prefix="",
            )
            for each in Environment.objects.filter(uuid__in=uuids)
        )
    )


@contextmanager
def open_source(*, actor: Principal, migration: Migration) -> Iterator[Source]:
    """Yield the source of a migration, made with its credentials. Call it outside a transaction.

    An event of the opening is committed first. Raises MigrationNotReady if the credentials were deleted,
    KeyUnavailable, an EnvelopeError, BadDestination.
    """
    row = SourceCredentials.objects.filter(migration=migration).first()
    if row is None:
        raise MigrationNotReady(_GONE)
    row.migration, row.environment = migration, migration.environment
    told: dict[str, Any] = {
        "actor": actor,
        "action": Action.MIGRATION_CONNECT,
        "stream": environment_stream(migration.environment.uuid),
        "object": migration.audit_object,
    }
    receipt = commit_record(
        **told, details={"endpoint": migration.endpoint}, covers=frozenset({row.uuid.bytes})
    )
    try:
        credentials = json.loads(row.credentials.open(receipt))
    except SecretError as error:
        commit_record(**told, outcome=Outcome.FAILED, details={"reason": type(error).__name__})
        raise
    kind = SOURCES[migration.source]
    if kind.endpoint(migration.settings) != migration.endpoint:
        raise MigrationNotReady("The address is not the one that the credentials were given for.")
    with kind(settings=migration.settings, credentials=credentials) as source:
        yield source
