"""Service tokens and their environments as plain columns: what the read engine asks for each batch.

What a row proves and whether it may be used is decided by the rules that judge the model's instances.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from audit_app.integrity.raw_rows import ProvenRows
from environments_app.authorization.policy import Grant
from environments_app.authorization.principals import grant_in
from environments_app.models import Environment, ServiceToken, TokenRole


class EnvironmentRow(NamedTuple):
    """An environment that proved itself."""

    pk: int
    uuid: UUID
    name: str


class TokenRow(NamedTuple):
    """A token of an environment; both proved themselves. Whether it may be used now is not decided yet."""

    pk: int
    uuid: UUID
    role: str
    name: str
    public_id: str
    pepper_id: str
    secret_hash: str
    prefix: str
    cidrs: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    suspended_at: datetime | None
    last_used_at: datetime | None
    trust_uuid: str | None
    environment: EnvironmentRow

    @property
    def environment_id(self) -> int:
        return self.environment.pk

    @property
    def grants(self) -> tuple[Grant, ...]:
        if self.role == TokenRole.ADMIN:
            return ()
        pk, uuid, name = self.environment
        return (grant_in(role=self.role, prefix=self.prefix, id=pk, uuid=uuid, name=name),)


_TOKENS: Final = ProvenRows(
    ServiceToken,
    (
        "id", "uuid", "role", "name", "public_id", "pepper_id", "secret_hash", "prefix", "cidrs",
        "created_at", "expires_at", "revoked_at", "suspended_at", "last_used_at",
        "trust_uuid", "row_mac",
    ),
)  # fmt: skip
_ENVIRONMENTS: Final = ProvenRows(
    Environment,
    ("id", "uuid", "name", "kms_key_alias", "protected", "offline_hours", "approvals_required", "row_mac"),
)
_WIDTH: Final = len(_TOKENS.columns)


@cache
def statement(count: int) -> str:
    """Return the SELECT of tokens by so many public ids, each with its environment."""
    marks = ", ".join(["%s"] * count)
    return (
        f"SELECT {_TOKENS.select('t')}, {_ENVIRONMENTS.select('e')} FROM {_TOKENS.table} t "  # noqa: S608 - our own names
        f"JOIN {_ENVIRONMENTS.table} e ON e.id = t.environment_id WHERE t.public_id IN ({marks})"
    )


def proven(row: Sequence[Any]) -> TokenRow | None:
    """Return a token of a row that `statement` gave; None if it or its environment is not Keeper's.

    Raises UnreadableColumn, and KeyringUnavailable if the keys are not open.
    """
    token, environment = _TOKENS.values(row[:_WIDTH]), _ENVIRONMENTS.values(row[_WIDTH:])
    pk, uuid, name = environment[:3]
    if not _TOKENS.is_authentic(token, environment__uuid=uuid) or not _ENVIRONMENTS.is_authentic(environment):
        return None
    token[1] = UUID(token[1])
    return TokenRow._make((*token[:-1], EnvironmentRow(pk, UUID(uuid), name)))
