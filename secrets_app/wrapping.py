"""Wraps new data keys and unwraps stored ones, under contexts recomputed from what is expected."""

from collections.abc import Mapping
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection

from audit_app.models import deployment_uuid
from environments_app.models import Environment
from secrets_app.envelope.context import NO_ENVIRONMENT
from secrets_app.envelope.seal import PlainKey
from secrets_app.errors import KeyUnavailable, NetworkInTransaction, WrongContext
from secrets_app.key_providers import PROVIDERS, provider
from secrets_app.models.data_key import DataKey

RESERVED_PREFIX = "keeper:"


def wrap_new(*, environment: Environment | None, purpose: str, key_uri: str) -> tuple[DataKey, PlainKey]:
    """Return a new data key: its row, not yet saved, and the key itself.

    May go over the network. Raises what the provider raises.
    """
    keeper = provider()
    scope = environment.uuid if environment else NO_ENVIRONMENT
    uuid = uuid4()
    frozen = dict(settings.KMS_ENCRYPTION_CONTEXT)
    context = encryption_context(uuid=uuid, scope=scope, purpose=purpose, frozen=frozen)
    generated = keeper.generate(key_uri=key_uri, context=context)
    row = DataKey(
        uuid=uuid,
        environment=environment,
        scope=scope,
        purpose=purpose,
        provider=keeper.name,
        key_uri=generated.key_uri,
        wrapped_key=generated.wrapped,
        context=frozen,
    )
    return row, PlainKey(id=uuid, material=generated.plain)


def unwrap(row: DataKey) -> PlainKey:
    """Return the data key of a stored row.

    May go over the network. Raises WrongContext if the row was edited or belongs elsewhere,
    KeyRefused if the key that wraps it is not allowed, KeyUnavailable if it cannot be used now.
    """
    keeper = provider()
    if row.provider != keeper.name:
        raise KeyUnavailable(other_provider(row, keeper.name), permanent=True)
    context = encryption_context(uuid=row.uuid, scope=row.scope, purpose=row.purpose, frozen=row.context)
    material = keeper.unwrap(key_uri=row.key_uri, wrapped=bytes(row.wrapped_key), context=context)
    return PlainKey(id=row.uuid, material=material)


def encryption_context(*, uuid: UUID, scope: UUID, purpose: str, frozen: Mapping[str, str]) -> dict[str, str]:
    """Return the context a data key is wrapped under: the configured pairs and what it is for.

    Raises WrongContext if the frozen pairs are not text, or use the names that Keeper sets.
    """
    if not isinstance(frozen, dict) or not all(
        isinstance(name, str) and isinstance(value, str) and not name.startswith(RESERVED_PREFIX)
        for name, value in frozen.items()
    ):
        raise WrongContext("the frozen pairs of the encryption context were edited")
    return {
        **frozen,
        "keeper:deployment": str(deployment_uuid()),
        "keeper:purpose": purpose,
        "keeper:environment": str(scope),
        "keeper:data-key": str(uuid),
    }


def refuse_in_transaction(what: str) -> None:
    """Raise NetworkInTransaction if the caller holds a transaction open.

    The transaction that a test case wraps around each test does not count, as it does not for
    Django's own durable blocks.
    """
    blocks = connection.atomic_blocks
    # Django has no public name for it; its own check reads the same attribute.
    if blocks and not getattr(blocks[-1], "_from_testcase", False):
        raise NetworkInTransaction(f"{what}: that has to be done before the transaction begins")


def other_provider(row: DataKey, configured: str) -> str:
    """Return what an operator does about a data key that another provider wrapped."""
    known = row.provider if row.provider in PROVIDERS else "an unknown provider"
    return (
        f"data key {row.uuid} was wrapped by {known}, but KEY_MANAGEMENT_BACKEND is {configured}: "
        "set it back, or migrate the keys"
    )
