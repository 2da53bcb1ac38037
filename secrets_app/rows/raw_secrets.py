"""Living secrets with their current versions as plain columns, proved on every read."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from audit_app.integrity.raw_rows import ProvenRows, RawRows
from audit_app.recording.drafts import AuditObject
from environments_app.models import Environment, ServiceToken
from environments_app.tokens.authentication import EnvironmentRow
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.secret import etag_of

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
    environment: EnvironmentRow
    version: UUID
    envelope: bytes
    version_created_at: datetime

    @property
    def environment_id(self) -> int:
        return self.environment.pk

    @property
    def uses_references(self) -> bool:
        return bool(self.resolves_as)

    @property
    def etag(self) -> str:
        return etag_of(self.current_number, self.revision)

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="secret", uuid=self.uuid, name=self.name)


_SHOWN: Final = SecretRow._fields[1:17]
# What the row's MAC covers besides what is shown.
_SECRETS: Final = ProvenRows(
    Secret, ("id", *_SHOWN, "environment_id", "previous_number", "pending_number", "live", "row_mac")
)
_VERSIONS: Final = RawRows(SecretVersion, ("uuid", "value", "created_at"))
_WIDTH: Final = len(_SECRETS.columns)
_PLACE: Final = _SECRETS.columns.index("environment_id")
_NAME: Final = _SECRETS.columns.index("name")
_UUID: Final = _SECRETS.columns.index("uuid")
_TAGS: Final = _SECRETS.columns.index("tags")
_END: Final = SecretRow._fields.index("environment")
_TAGS_FIELD: Final = Secret._meta.get_field("tags")


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
    environment = RawRows(Environment, ("name",))
    return (
        f"{_select()} JOIN {environment.table} e ON e.id = s.environment_id "
        f"WHERE s.live = 1 AND e.name = %s AND s.name IN ({_marks(names)})"
    )


@cache
def _by_name_of_a_token(names: int) -> str:
    token = RawRows(ServiceToken, ("public_id",))
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
    rows = [row for result in results for row in result]
    return {row[0]: row for row in rows} | {(row[_PLACE], row[_NAME]): row for row in rows}


def proven(row: StoredRow, environment: EnvironmentRow) -> SecretRow | None:
    """Return the secret of a row; None if it is of another environment, or was not written by Keeper.

    Raises UnreadableColumn, and KeyringUnavailable if the keys are not open.
    """
    secret, (version, envelope, created) = _SECRETS.values(row[:_WIDTH]), _VERSIONS.values(row[_WIDTH:])
    if row[_PLACE] != environment.pk or not _SECRETS.is_authentic(
        secret, environment__uuid=str(environment.uuid)
    ):
        return None
    secret[_UUID] = UUID(secret[_UUID])
    secret[_TAGS] = _TAGS_FIELD.to_python(secret[_TAGS])
    return SecretRow._make((*secret[:_END], environment, UUID(version), envelope, created))
