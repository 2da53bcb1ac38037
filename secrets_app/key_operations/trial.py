"""Tries keys before they are relied on: configured ones, and one that an environment is to name.

A trial makes a data key, opens it, and proves that another context refuses it.
settings.KEEPER_ENVIRONMENT_KEY_CHECK names `check_reference` for the use cases of environments, which call
it before the reference is stored.
"""

import hmac
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid4

from django.conf import settings

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from environments_app.authorization.policy import Principal, require
from environments_app.errors import InvalidField
from environments_app.models import Environment
from secrets_app.envelope import NO_ENVIRONMENT
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, WrongContext
from secrets_app.keys.models import DataKey
from secrets_app.keys.providers.base import KeyProvider
from secrets_app.keys.providers.registry import provider, provider_named
from secrets_app.keys.wrapping import encryption_context, refuse_in_transaction

SYSTEM: Final = "(system)"
_PURPOSE: Final = "connection-test"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How the key of some environments fared; `step` and `problem` are empty where all went well.

    `permission` names what the installation's AWS identity may not do, if that is why.
    """

    used_by: list[str]
    provider: str
    key_uri: str = ""
    step: str = ""
    problem: str = ""
    permission: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem

    def text(self) -> str:
        result = "ok" if self.ok else f"FAILED to {self.step}: {self.problem}"
        missing = f"\n  missing permission: {self.permission}" if self.permission else ""
        return f"{', '.join(self.used_by)}: {self.key_uri or self.provider}: {result}{missing}"


def trials(environment: str | None = None) -> Iterator[Trial]:
    """Try each configured key once, or that of one environment; nothing is stored.

    Data keys are made under the context that real ones get, so that key policies with
    conditions on it are tried too. The system keys need not open, since they may be what an
    operator looks into: what a row names is tried as it is, and only if it is allowed.
    """
    used_by: dict[str, dict[UUID, str]] = {} if environment else {"": {NO_ENVIRONMENT: SYSTEM}}
    rows = Environment.every.order_by("name")
    for row in rows.filter(name=environment) if environment else rows:
        used_by.setdefault(row.kms_key_alias, {})[row.uuid] = row.name
    for reference, scopes in used_by.items():
        trial = try_key(provider(), reference, [*scopes.values()])
        stored = DataKey.objects.filter(scope__in=scopes).values_list("provider", "key_uri")
        lost = why_lost(stored.order_by().distinct()) if trial.ok else ""
        yield replace(trial, step="open what is stored", problem=lost) if lost else trial


def why_lost(wrapped_by: Iterable[tuple[str, str]]) -> str:
    """Return why data keys do not open that are under keys of which this machine has no file; else ""."""
    for name, key_uri in wrapped_by:
        try:
            keeper = provider_named(name)
            if not keeper.remote:
                keeper.describe(key_uri)
        except (KeyUnavailable, KeyRefused) as error:
            return str(error)
    return ""


def test_key(*, actor: Principal, environment: Environment) -> list[Trial]:
    """Try the key of an environment for an operator; the result is recorded.

    Raises Forbidden, NetworkInTransaction.
    """
    require(actor=actor, action=Action.DATA_KEY_CHECK, environment=None)
    refuse_in_transaction("the key of an environment is tested")
    results = list(trials(environment.name))
    commit_record(
        actor=actor,
        action=Action.DATA_KEY_CHECK,
        stream=streams.SYSTEM,
        object=AuditObject("environment", environment.uuid, environment.name),
        outcome=Outcome.ALLOWED if all(trial.ok for trial in results) else Outcome.FAILED,
        details={"tested": [trial.key_uri or trial.provider for trial in results]},
    )
    return results


def try_key(keeper: KeyProvider, reference: str, names: list[str]) -> Trial:
    """Try the key of a provider that `reference` names; it is used by what `names` lists."""
    key_uri, step = "", "resolve"
    context = encryption_context(
        uuid=uuid4(), scope=NO_ENVIRONMENT, purpose=_PURPOSE, frozen=settings.KMS_ENCRYPTION_CONTEXT
    )
    try:
        key_uri = keeper.resolve(reference)
        step = "generate"
        made = keeper.generate(key_uri=key_uri, context=context)
        step = "unwrap"
        opened = keeper.unwrap(key_uri=key_uri, wrapped=made.wrapped, context=context)
        if not hmac.compare_digest(opened, made.plain):
            raise WrongContext("another data key came back than was made")
        step = "refuse another context"
        _require_refusal(keeper, key_uri, made.wrapped, {**context, "keeper:purpose": "another"})
    except (KeyUnavailable, KeyRefused, EnvelopeError) as error:
        return Trial(
            used_by=names,
            provider=keeper.name,
            key_uri=key_uri,
            step=step,
            problem=str(error),
            permission=getattr(error, "permission", ""),
        )
    return Trial(used_by=names, provider=keeper.name, key_uri=key_uri)


def _require_refusal(keeper: KeyProvider, key_uri: str, wrapped: bytes, context: Mapping[str, str]) -> None:
    try:
        keeper.unwrap(key_uri=key_uri, wrapped=wrapped, context=context)
    except WrongContext:
        return
    raise KeyRefused("a data key was opened under another encryption context than it was made for")


_log = logging.getLogger(__name__)

_NOT_ALLOWED: Final = (
    "Keeper may not use this key. Name a key that KMS_ALLOWED_KEYS allows; while that is empty, a key of the "
    "account and region of Keeper's own key."
)
_NOT_SHOWN: Final = (
    "Keeper may not look at this key. Allow kms:DescribeKey on it to Keeper's AWS identity, or name another."
)
_NOT_YET: Final = (
    "This installation uses a local key file. The KMS key is used once its keys have moved to KMS. "
    "Leave the KMS key blank if that is not planned."
)
_UNCHECKED: Final = (
    "The key could not be checked, since KMS did not answer as expected. The page Health says whether it can "
    "be used; until it can, secrets cannot be written here."
)


def check_reference(reference: str) -> str:
    """Return a warning if the key that `reference` names is not used, or KMS could not be asked about it.

    A key file has no other name: such a key is used once the keys have moved to KMS. Raises InvalidField if
    the key cannot wrap data keys or is not allowed, and NetworkInTransaction.
    """
    try:
        keeper = provider()
        if not keeper.remote:
            return _NOT_YET
        refuse_in_transaction("the key of an environment is checked")
        keeper.require_usable(reference)
    except KeyRefused as error:
        raise InvalidField("kms_key_alias", _NOT_ALLOWED) from error
    except KeyUnavailable as error:
        # The ARN of a key is used without DescribeKey.
        unseen = _NOT_SHOWN if error.permission and ":key/" not in reference else ""
        if advice := error.advice or unseen:
            raise InvalidField("kms_key_alias", advice) from error
        _log.warning("the key of an environment was not checked: %s", error)
        return _UNCHECKED
    return ""
