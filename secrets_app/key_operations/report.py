"""Reports which key each environment uses, its state, and what is still under an old one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import Count
from django.utils import timezone

from environments_app.models import Environment
from secrets_app.envelope import NO_ENVIRONMENT
from secrets_app.errors import KeyRefused, KeyUnavailable
from secrets_app.key_operations.reencrypt import legacy_rows
from secrets_app.key_operations.trial import SYSTEM, why_lost
from secrets_app.keys import sealed_columns
from secrets_app.keys.models import DataKey, WrappingKey
from secrets_app.keys.providers.base import KeyDescription
from secrets_app.keys.providers.registry import provider
from secrets_app.keys.wrapping import KMS

# What workers keep of a key's state, by the names that it has in KeyState.
STORED: Final = ("reference", "key_uri", "state", "rotates", "note", "problem")


@dataclass(frozen=True, kw_only=True)
class DataKeyFacts:
    """A data key as an operator sees it.

    `values` counts the versions that it seals, `credentials` those of targets and webhooks;
    `other_provider` wraps it as well for a rollback.
    """

    uuid: str
    purpose: str
    active: bool
    age_days: int
    provider: str
    key_uri: str
    values: int
    credentials: int = 0
    other_provider: str = ""


@dataclass(frozen=True, kw_only=True)
class ScopeKey:
    """The key of one environment, or of the system keys, as its provider describes it.

    `reference` is what the settings or the environment name, `key_uri` what that is today. `problem` states
    why the key cannot be used; empty if it can.
    """

    name: str
    reference: str
    key_uri: str = ""
    state: str = ""
    rotates: bool | None = None
    note: str = ""
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


@dataclass(frozen=True, kw_only=True)
class KeyState(ScopeKey):
    """The key, and the scope of the data keys that it wraps."""

    scope: UUID


@dataclass(frozen=True, kw_only=True)
class ScopeReport(ScopeKey):
    """The key, and what it wraps.

    `under_old_key` lists the data keys that another key still wraps, `legacy_values` counts values of the
    older scheme.
    """

    provider: str
    data_keys: list[DataKeyFacts]
    under_old_key: list[str]
    legacy_values: int


def key_states(environment: str | None = None) -> Iterator[KeyState]:
    """Ask for the key of each environment and of the system keys, or of one environment; each key once."""
    described: dict[str, KeyDescription] = {}
    if environment is None:
        yield _state(SYSTEM, NO_ENVIRONMENT, reference_of(None), described)
    rows = Environment.every.order_by("name")
    for row in rows.filter(name=environment) if environment else rows:
        yield _state(row.name, row.uuid, reference_of(row), described)


def reference_of(environment: Environment | None) -> str:
    """Return how the environment, or else the settings, name the key; empty for the key file."""
    if environment and environment.kms_key_alias:
        return str(environment.kms_key_alias)
    return (
        str(settings.KMS_KEY_ID or settings.KMS_KEY_ALIAS) if settings.KEY_MANAGEMENT_BACKEND == KMS else ""
    )


def reports(environment: str | None = None) -> Iterator[ScopeReport]:
    """Describe the key of each environment and of the system keys, or of one environment.

    What data keys seal, and what is of the older scheme, is counted by one statement a scope each,
    credentials by one a model. What the key file here did not wrap is a problem.
    """
    for report in map(_report, key_states(environment)):
        lost = why_lost((key.provider, key.key_uri) for key in report.data_keys)
        yield replace(report, problem=report.problem or lost)


def stored_reports() -> Iterator[ScopeReport]:
    """Describe the keys as workers found them when they asked last; no provider is asked.

    An environment whose key no worker has looked at yet is left out.
    """
    names = dict(Environment.every.values_list("uuid", "name"))
    for row in WrappingKey.objects.order_by("scope"):
        name = SYSTEM if row.scope == NO_ENVIRONMENT else names.get(row.scope, "")
        if name:
            stored = {field: getattr(row, field) for field in STORED}
            yield _report(KeyState(name=name, scope=row.scope, **stored))


def _state(name: str, scope: UUID, reference: str, described: dict[str, KeyDescription]) -> KeyState:
    keeper = provider()
    try:
        key_uri = keeper.resolve(reference, fresh=True)
        if key_uri not in described:
            described[key_uri] = keeper.describe(key_uri)
    except (KeyUnavailable, KeyRefused) as error:
        return KeyState(name=name, scope=scope, reference=reference, problem=str(error))
    key = described[key_uri]
    return KeyState(
        name=name,
        scope=scope,
        reference=reference,
        key_uri=key_uri,
        state=key.state,
        rotates=key.rotates,
        note=key.note,
        problem="" if key.usable else f"the key is in the state {key.state}: enable or replace it",
    )


def _report(key: KeyState) -> ScopeReport:
    facts, kept_by = _data_keys(key.scope), provider().name
    is_system = key.scope == NO_ENVIRONMENT
    legacy = 0 if is_system else legacy_rows().filter(secret__environment__uuid=key.scope).count()
    old = [fact.uuid for fact in facts if (fact.provider, fact.key_uri) != (kept_by, key.key_uri)]
    return ScopeReport(
        **{name: value for name, value in vars(key).items() if name != "scope"},
        provider=kept_by,
        data_keys=facts,
        # Without an answer the right key is unknown.
        under_old_key=old if key.key_uri else [],
        legacy_values=legacy,
    )


def _data_keys(scope: UUID) -> list[DataKeyFacts]:
    rows = DataKey.objects.filter(scope=scope).annotate(sealed=Count("versions")).order_by("pk")
    now, credentials = timezone.now(), sealed_columns.counts(scope)
    return [
        DataKeyFacts(
            uuid=str(row.uuid),
            purpose=row.purpose,
            active=bool(row.active),
            age_days=(now - row.created_at).days,
            provider=row.provider,
            key_uri=row.key_uri,
            values=row.sealed,
            credentials=credentials[row.uuid],
            other_provider=row.other_provider,
        )
        for row in rows
    ]
