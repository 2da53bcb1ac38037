"""What a request to `auth/token/create` asks of a child, in the terms of Keeper."""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, TypedDict

from environments_app.models import Role, ServiceToken, TokenRole, TrustRole
from environments_app.tokens.children import DEFAULT_LIFETIME
from gateway_app.kv2.answers import Kv2Error
from gateway_app.kv2.durations import duration_of
from gateway_app.kv2.mounts import name_of

# Every token has it in Vault; here it gives nothing.
_DEFAULT: Final = "default"
_ROLES: Final = frozenset(TrustRole)
_META: Final = ("environment", "prefix")
# What Vault knows and Keeper does not; a value that asks for nothing is taken.
_NOT_KNOWN: Final = ("id", "num_uses", "period", "no_parent", "entity_alias")
_NOTHING_ASKED: Final = (None, False, 0, "", "0", "0s")
_NOT_A_SUBSET: Final = "child policies must be subset of parent"
_OTHER_META: Final = "meta has prefix and environment alone: Keeper keeps no others. Nothing was issued."


class AskedChild(TypedDict):
    """A child as a request wants it: see `issue_child`."""

    name: str
    lifetime: timedelta
    longest: timedelta | None
    less: dict[str, Any]


def asked_of_child(body: Mapping[str, Any], parent: ServiceToken) -> AskedChild:
    """Return what a request asks of a child. Raises Kv2Error."""
    for name in _NOT_KNOWN:
        if body.get(name) not in _NOTHING_ASKED:
            raise _bad(f"Keeper does not know {name}: leave it out. Nothing was issued.")
    if body.get("type") not in (None, "", "service", "default"):
        raise _bad("Keeper issues tokens of the type service alone. Nothing was issued.")
    name = body.get("display_name") or ""
    if not isinstance(name, str):
        raise _bad("display_name is a text")
    is_renewable = body.get("renewable", True)
    if not isinstance(is_renewable, bool):
        raise _bad("renewable is true or false")
    less: dict[str, Any] = {**_role(body.get("policies"), parent), **_narrower(body.get("meta"), parent)}
    lifetime, longest = _times(body)
    return AskedChild(name=name, lifetime=lifetime, longest=longest if is_renewable else None, less=less)


def _role(policies: Any, parent: ServiceToken) -> dict[str, Any]:
    named = [policies] if isinstance(policies, str) else policies or []
    if not isinstance(named, list):
        raise _bad("policies is a list of texts")
    roles = {each for each in named if each != _DEFAULT} if all(isinstance(e, str) for e in named) else {""}
    if not roles:
        return {}
    if len(roles) > 1 or not roles <= _ROLES:
        raise _bad(f"{_NOT_A_SUBSET}: a policy is a role, one of {', '.join(sorted(_ROLES))}")
    role = roles.pop()
    if TokenRole(role) != parent.role and _rank(role) > _rank(parent.role):
        raise _bad(_NOT_A_SUBSET)
    return {"role": role}


def _narrower(meta: Any, parent: ServiceToken) -> dict[str, Any]:
    if not meta:
        return {}
    if not isinstance(meta, dict) or not meta.keys() <= {*_META}:
        raise _bad(_OTHER_META)
    if not all(isinstance(text, str) for text in meta.values()):
        raise _bad("a value of meta is a text")
    environment = parent.environment.name if parent.environment else ""
    if meta.get("environment", environment) != environment:
        raise _bad(f"environment: a child has that of its parent, {environment}. Nothing was issued.")
    return {"prefix": name_of(meta["prefix"])} if "prefix" in meta else {}


def _times(body: Mapping[str, Any]) -> tuple[timedelta, timedelta]:
    """Return how long a child lives, and how long it does if it is prolonged again and again."""
    given = body.get("ttl") or body.get("lease")
    longest = body.get("explicit_max_ttl")
    lifetime = duration_of(given, "ttl") if given else timedelta(0)
    limit = duration_of(longest, "explicit_max_ttl") if longest else timedelta(0)
    # 0 asks for the default.
    lifetime = min(filter(None, (lifetime or DEFAULT_LIFETIME, limit)))
    return lifetime, limit or max(lifetime, DEFAULT_LIFETIME)


def _rank(role: str) -> int:
    return Role(role).rank


def _bad(reason: str) -> Kv2Error:
    return Kv2Error(HTTPStatus.BAD_REQUEST, reason)
