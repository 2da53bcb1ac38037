"""What an export of everything holds of each secret; each value is opened after its reading is on record.

Living secrets with the versions up to the one that is served. A version that is deleted or destroyed is
there with its state and without its value; one that a rotation prepares is not there yet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Count

from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import record_integrity_violation, verified_rows
from audit_app.recording.drafts import AuditObject, EventDraft
from audit_app.recording.recorder import commit_records
from core.canonical_json import Json
from core.db.snapshot import snapshot
from environments_app.authorization.policy import Principal, require
from environments_app.models import Environment
from operations_app.export_all.errors import ExportError
from secrets_app.errors import KeyUnavailable, SecretError
from secrets_app.keys import data_keys
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.models.version_rules import DESTROYED
from secrets_app.rows.current_versions import EnvironmentValues
from sync_app.models import RotationPolicy

# In memory at once, and in the manifest of one event; of one secret there may be more.
_VERSIONS_AT_ONCE: Final = 1_000
_FORGED: Final = "the secret's row was not written by Keeper"
_NO_CURRENT: Final = "the secret's current version was removed, or re-pointed, outside Keeper"
_TWICE: Final = "{name} of {environment} was renamed while everything was read. Try again."


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version; `value` is None if it is deleted or destroyed, and `state` says which."""

    row: SecretVersion
    value: str | None = field(repr=False)
    state: str
    # Of a version that can be read: when it will be deleted.
    deleted_at: datetime | None
    # Where it was carried from; None if it was written here.
    origin: VersionOrigin | None


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A secret with its versions, in the order of their numbers."""

    secret: Secret
    versions: Sequence[Version]
    # None: the secret is not rotated by one.
    policy: RotationPolicy | None = None

    @property
    def current(self) -> Version:
        return next(each for each in self.versions if each.row.number == self.secret.current_number)


class Reading:
    """One reading of everything by an operator.

    `left_out` names the living secrets that are not read, and `deleted` the deleted ones, which are not meant
    to be.
    """

    def __init__(self, actor: Principal, *, every_version: bool, details: dict[str, Json]) -> None:
        self._actor, self._every, self._details = actor, every_version, details
        self.left_out: list[str] = []
        self.deleted: list[str] = []
        self.secrets = self.versions = 0
        # The newest event of each environment.
        self._begun: dict[UUID, EventDraft] = {}

    def of(self, environment: Environment) -> Iterator[Whole]:
        """Yield the living secrets of an environment, each with the others of its event on record.

        Raises Forbidden, KeyUnavailable, ExportError if a name moved meanwhile.
        """
        require(actor=self._actor, action=Action.BACKUP_CREATE, environment=None)
        names: set[str] = set()
        for some in self._parts(environment):
            for whole in self._opened(environment, self._stored(environment, some)):
                if whole.secret.name in names:
                    raise ExportError(_TWICE.format(name=whole.secret.name, environment=environment.name))
                names.add(whole.secret.name)
                self.secrets += 1
                self.versions += len(whole.versions)
                yield whole
        # Also those whose older versions clients of Vault still read.
        for secret in Secret.objects.filter(environment=environment, live=None).order_by("name", "pk"):
            secret.environment = environment
            if secret.is_authentic():
                self.deleted.append(f"{environment.name}/{secret.name}")
            else:
                self._leave_out(secret, _FORGED)

    def record_failure(self, error: BaseException) -> None:
        """Record of each environment that was read that nothing, or not all, came of it."""
        for draft in self._begun.values():
            _record_failure(draft, error, {})
        self._begun = {}

    def _parts(self, environment: Environment) -> Iterator[list[int]]:
        """Yield the secrets that are read at once, in the order of their names."""
        rows = Secret.objects.filter(environment=environment, live=True, decoy=None).order_by("name")
        part: list[int] = []
        size = 0
        for pk, count in rows.values_list("pk").annotate(Count("versions")):
            if part and size + count > _VERSIONS_AT_ONCE:
                yield part
                part, size = [], 0
            part.append(pk)
            size += count
        if part:
            yield part

    def _stored(self, environment: Environment, pks: list[int]) -> list[tuple[Secret, list[SecretVersion]]]:
        """Return secrets with their versions, sealed, as they are at one instant."""
        with snapshot():
            secrets = list(Secret.objects.filter(pk__in=pks, live=True, decoy=None).order_by("name"))
            rows = SecretVersion.objects.filter(secret__in=secrets).select_related("origin")
            versions: dict[int, list[SecretVersion]] = {}
            for row in rows.order_by("number"):
                versions.setdefault(row.secret_id, []).append(row)
        found = []
        for secret in secrets:
            secret.environment = environment
            mine = [row for row in versions.get(secret.pk, ()) if row.number <= secret.current_number]
            is_whole = bool(mine) and mine[-1].number == secret.current_number
            if not secret.is_authentic() or not is_whole:
                self._leave_out(secret, _NO_CURRENT if secret.is_authentic() else _FORGED)
                continue
            if secret.guarded:
                # Each read of it takes a second person.
                self.left_out.append(f"{environment.name}/{secret.name} (guarded)")
                continue
            found.append((secret, mine if self._every else mine[-1:]))
        return found

    def _leave_out(self, secret: Secret, reason: str) -> None:
        record_integrity_violation(kind="secret", uuid=secret.uuid, name=secret.name, reason=reason)
        self.left_out.append(f"{secret.environment.name}/{secret.name}")

    def _opened(
        self, environment: Environment, stored: list[tuple[Secret, list[SecretVersion]]]
    ) -> Iterator[Whole]:
        readable = [
            (secret, row) for secret, rows in stored for row in rows if not secret.rules.state(row.number)
        ]
        draft = EventDraft(
            actor=self._actor,
            action=Action.SECRET_EXPORT,
            stream=environment_stream(environment.uuid),
            object=AuditObject("environment", environment.uuid, environment.name),
            details={**self._details, "count": len(stored), "versions": len(readable)},
            manifest=[secret.manifest_entry(row.number) for secret, row in readable],
            covers=frozenset(row.uuid.bytes for _, row in readable),
        )
        (receipt,) = commit_records([draft])
        self._begun[environment.uuid] = draft
        values = EnvironmentValues(environment.uuid, receipt)
        data_keys.prefetch(row.data_key_id for _, row in readable)
        policies = _policies([secret for secret, _ in stored])
        for secret, rows in stored:
            try:
                versions = [_version(secret, row, values) for row in rows]
            except KeyUnavailable:
                raise
            except SecretError as error:
                _record_failure(draft, error, {"name": secret.name})
                self.left_out.append(f"{environment.name}/{secret.name}")
                continue
            yield Whole(secret=secret, versions=versions, policy=policies.get(secret.uuid))


def _policies(secrets: Sequence[Secret]) -> dict[UUID, RotationPolicy]:
    """Return the genuine policies by which secrets are rotated; another one is reported."""
    found = RotationPolicy.objects.filter(secret__in=[each.uuid for each in secrets], live=True)
    rows = verified_rows(found.select_related("environment"))
    return {policy.secret_id: policy for policy in rows}


def _record_failure(draft: EventDraft, error: BaseException, details: dict[str, Json]) -> None:
    details = {**(draft.details or {}), **details, "reason": type(error).__name__}
    failed = draft._replace(outcome=Outcome.FAILED, details=details, manifest=None, covers=frozenset())
    commit_records([failed])


def _version(secret: Secret, row: SecretVersion, values: EnvironmentValues) -> Version:
    origin = getattr(row, "origin", None)
    if origin is not None:
        origin.version = row
        origin = origin if origin.is_authentic() else None
    value, rules = None, secret.rules
    state = rules.state(row.number)
    if not state:
        sealed = row.value.envelope
        value = values.opened(
            sealed,
            version=row.uuid,
            secret=secret.uuid,
            number=row.number,
            guarded=bool(secret.guarded),
        ).decode()
    elif origin is not None and origin.state:
        # What came without its value counts as destroyed here.
        state = str(origin.state)
    deleted_at = None if state == DESTROYED else rules.deleted.get(row.number)
    return Version(row=row, value=value, state=state, deleted_at=deleted_at, origin=origin)
