"""Wraps stored data keys under the key that is configured today, in place of the previous one.

KMS does it by ReEncrypt: one call a data key, which never comes here in the clear. What data keys
seal is not touched, so the cost does not grow with the number of secrets.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import record_integrity_violation
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.models import Environment
from secrets_app.envelope import NO_ENVIRONMENT
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable
from secrets_app.keys.models import DataKey
from secrets_app.keys.providers.base import KeyProvider
from secrets_app.keys.providers.registry import provider, provider_named
from secrets_app.keys.wrapping import context_of, refuse_in_transaction


@dataclass(frozen=True)
class Scope:
    """The data keys of an environment, or, without one, the system keys."""

    environment: Environment | None = None

    @property
    def name(self) -> str:
        return self.environment.name if self.environment else "(system)"

    @property
    def stream(self) -> str:
        return streams.environment_stream(self.environment.uuid) if self.environment else streams.SYSTEM

    @cached_property
    def key_uri(self) -> str:
        """The key that it is configured for. May ask KMS; raises as `key_uri_of` does."""
        return self.key_uri_of(provider())

    def key_uri_of(self, keeper: KeyProvider) -> str:
        """Return the key of a provider that it is configured for. May ask KMS.

        Raises KeyRefused (recorded) if the environment's row was not written by Keeper.
        """
        row = self.environment
        if row is not None and not row.is_authentic():
            reason = "the environment's row, which names its key, was not written by Keeper"
            record_integrity_violation(kind="environment", uuid=row.uuid, name=row.name, reason=reason)
            raise KeyRefused(reason)
        return keeper.resolve(row.kms_key_alias if row else "", fresh=True)

    @property
    def uuid(self) -> UUID:
        return self.environment.uuid if self.environment else NO_ENVIRONMENT

    def data_keys(self) -> QuerySet[DataKey]:
        return DataKey.objects.filter(scope=self.uuid).order_by("pk")


def scopes(environment: str = "") -> Iterator[Scope]:
    """Yield the system keys and every environment, or one environment alone."""
    if not environment:
        yield Scope()
    rows = Environment.every.order_by("name")
    for row in rows.filter(name=environment) if environment else rows:
        yield Scope(row)


@dataclass(frozen=True, kw_only=True)
class Rewrapped:
    """What became of one data key; without a problem it is wrapped by the configured key now."""

    data_key: str
    problem: str = ""


def rewrap(scope: Scope, *, under: str = "") -> Iterator[Rewrapped]:
    """Wrap each data key that another key wraps (or just `under`) by the configured one.

    Each is a change of its own with its event, so that an interrupted run is simply repeated; of
    two runs at once one changes it. A data key that cannot be re-wrapped stays as it is.
    Raises KeyUnavailable or KeyRefused if the configured key cannot be determined.
    """
    refuse_in_transaction("data keys are wrapped again")
    rows = scope.data_keys().exclude(key_uri=scope.key_uri)
    return wrap_each(rows.filter(key_uri=under) if under else rows, lambda row: _move(row, scope))


def wrap_each(rows: Iterable[DataKey], wrap: Callable[[DataKey], None]) -> Iterator[Rewrapped]:
    """Wrap data keys one by one; one that cannot be wrapped stays as it is, an edited one is reported."""
    for row in rows:
        try:
            wrap(row)
        except (KeyUnavailable, KeyRefused, EnvelopeError) as error:
            if isinstance(error, EnvelopeError):
                record_integrity_violation(
                    kind="data_key", uuid=row.uuid, name=row.purpose, reason=str(error)
                )
            yield Rewrapped(data_key=str(row.uuid), problem=f"data key {row.uuid}: {error}")
        else:
            yield Rewrapped(data_key=str(row.uuid))


def _move(row: DataKey, scope: Scope) -> None:
    if provider_named(row.provider) is not provider():
        raise KeyUnavailable(f"{row.provider} wraps it: migrate_to_kms moves it", permanent=True)
    old = bytes(row.wrapped_key)
    wrapped = provider().rewrap(
        key_uri=row.key_uri, wrapped=old, context=context_of(row), to_key_uri=scope.key_uri
    )
    with transaction.atomic():
        # Only what was read is replaced: a run beside this one, or a restore, loses nothing.
        unchanged = DataKey.objects.filter(pk=row.pk, key_uri=row.key_uri, wrapped_key=old)
        if unchanged.update(wrapped_key=wrapped, key_uri=scope.key_uri):
            record(
                actor=actors.system(),
                action=Action.DATA_KEY_ROTATE,
                stream=scope.stream,
                object=AuditObject("data_key", row.uuid, row.purpose),
                details={"step": "rewrap", "from": row.key_uri, "to": scope.key_uri},
            )
