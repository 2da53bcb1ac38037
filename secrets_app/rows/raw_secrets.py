"""Living secrets with their current versions as plain columns, proved on every read."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from audit_app.integrity.proven_table import PlainTable, ProvenTable
from audit_app.recording.drafts import AuditObject
from environments_app.models import Environment, ServiceToken
from environments_app.tokens.authentication import EnvironmentRow
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.secret import etag_of
from secrets_app.models.version_rules import VersionRules

# As the database gives it; and what finds it: the secret's id, or the environment's id with its name.
StoredRow: TypeAlias = Sequence[Any]
Key: TypeAlias = int | tuple[int, str]


class SecretRow(NamedTuple):
    """A living secret that proved itself, and its current version, still sealed."""

    pk: int
    uuid: UUID
    name: str
    secret_type: str
    description: str
    tags: list[str]
    owner: str
    expires_at: datetime | None
    facts: Any
    current_number: int
    revision: int
    rotated_at: datetime | None
    rotation_due_at: datetime | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    resolves_as: str
    custom_metadata: Any
    guarded: bool | None
    decoy: bool | None
    environment: EnvironmentRow
    version: UUID
    envelope: bytes
    version_created_at: datetime
    # In the system that it was carried from.
    version_written_at: datetime | None

    @property
    def environment_id(self) -> int:
        return self.environment.pk

    @property
    def uses_references(self) -> bool:
        return bool(self.resolves_as)

    @property
    def etag(self) -> str:
        return etag_of(self.pk, self.current_number, self.revision)

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="secret", uuid=self.uuid, name=self.name)


_OWN: Final = SecretRow._fields[: SecretRow._fields.index("environment")]
_SECRETS: Final = ProvenTable(Secret, (*_OWN, "environment_id"))
_VERSIONS: Final = PlainTable(SecretVersion, ("uuid", "value", "created_at", "written_at"))
_WIDTH: Final = len(_SECRETS.columns)
_KEY: Final = itemgetter(*map(_SECRETS.columns.index, ("pk", "environment_id", "name")))
_TAGS: Final = Secret._meta.get_field("tags")


@cache
def by_id(count: int) -> str:
    """Return the SELECT of secrets by so many ids."""
    # For a bare `live = 1` SQLite walks all living secrets.
    return f"{_select()} WHERE +s.live = 1 AND s.id IN ({_marks(count)})"


def by_name(names: Iterable[int]) -> str:
    """Return the SELECT of secrets by the names of environments, each with so many names of secrets.

    Together they would give each name of all environments: a hundred reads ten thousand values.
    """
    return " UNION ALL ".join(map(_by_name_in_one, names))


def by_own_name(names: Iterable[int]) -> str:
    """Return the SELECT of secrets by public ids of tokens, each with so many names in its environment."""
    return " UNION ALL ".join(map(_by_name_of_a_token, names))


@cache
def _by_name_in_one(names: int) -> str:
    environment = PlainTable(Environment, ("name",))
    return (
        f"{_select()} JOIN {environment.table} e ON e.id = s.environment_id "
        f"WHERE s.live = 1 AND e.name = %s AND e.deleted_at IS NULL AND s.name IN ({_marks(names)})"
    )


@cache
def _by_name_of_a_token(names: int) -> str:
    token = PlainTable(ServiceToken, ("public_id",))
    return (
        f"{_select()} JOIN {token.table} t ON t.environment_id = s.environment_id "
        f"WHERE s.live = 1 AND t.public_id = %s AND s.name IN ({_marks(names)})"
    )


def _select() -> str:
    return (
        f"SELECT {_SECRETS.select('s')}, {_VERSIONS.select('v')} FROM {_SECRETS.table} s "  # noqa: S608 - our own names
        f"JOIN {_VERSIONS.table} v ON v.secret_id = s.id AND v.number = s.current_number"
    )


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)


def keyed(results: Iterable[Sequence[StoredRow]]) -> dict[Key, StoredRow]:
    """Return the rows of queries by a secret's id, and by its environment's id and its name."""
    rows: dict[Key, StoredRow] = {}
    for row in chain.from_iterable(results):
        pk, environment_id, name = _KEY(row)
        rows[pk] = rows[environment_id, name] = row
    return rows


def proven(row: StoredRow, environment: EnvironmentRow) -> SecretRow | None:
    """Return the secret of a row; None if it is of another environment, or was not written by Keeper.

    None as well if its version ends at a time.
    """
    secret = _SECRETS.prove(row[:_WIDTH], {"environment.uuid": str(environment.uuid)})
    version = _VERSIONS.read(row[_WIDTH:])
    if not secret or not version or secret["environment_id"] != environment.pk:
        return None
    rules = secret["version_rules"]
    if rules and secret["current_number"] in VersionRules.of(rules).deleted:
        # It ends at a time: its model knows whether that has come.
        return None
    secret |= {"uuid": UUID(secret["uuid"]), "tags": _TAGS.to_python(secret["tags"])}
    return SecretRow(
        **{name: secret[name] for name in _OWN},
        environment=environment,
        version=UUID(version["uuid"]),
        envelope=version["value"],
        version_created_at=version["created_at"],
        version_written_at=version["written_at"],
    )
