"""Who would be changed by a mapping of a group of the identity provider, or by its end.

Keeper stores no groups of people: it learns them at each sign-in. Whom a group has is concluded from the
access that its mappings gave at their last sign-in.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, require
from environments_app.models import (
    INSTALLATION_ROLES,
    Environment,
    Membership,
    Role,
    SamlGroupMapping,
    Source,
    User,
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A person, the role that single sign-on gives them now, and the one after their next sign-in."""

    username: str
    before: str
    after: str
    # Other groups that give access there as well, so that the person may have it by one of those.
    by_others: tuple[str, ...] = ()


def changed_by_mapping(
    *, actor: Principal, group: str, environment: Environment | None, role: str, prefix: str = ""
) -> list[Change]:
    """Return whose role a new mapping would change, of those whom other mappings of the group gave access.

    Raises Forbidden.
    """
    require(actor=actor, action=Action.SAML_MAPPING_CHANGE, environment=None)
    known: set[str] = set()
    for mapping in SamlGroupMapping.objects.filter(group=group).select_related("environment"):
        known |= _holders(mapping.environment, mapping.prefix, mapping.role).keys()
    now = _holders(environment, prefix, role)
    changes = [Change(username=name, before=now.get(name, ""), after=role) for name in sorted(known)]
    return [each for each in changes if not each.before or _rank(each.before) < _rank(role)]


def changed_by_removal(*, actor: Principal, mapping: SamlGroupMapping) -> list[Change]:
    """Return whose role the end of a mapping would change. Raises Forbidden."""
    require(actor=actor, action=Action.SAML_MAPPING_CHANGE, environment=None)
    same = SamlGroupMapping.objects.filter(environment=mapping.environment, prefix=mapping.prefix)
    in_environment = mapping.environment_id is not None
    others = [each for each in same.exclude(pk=mapping.pk) if in_environment or each.role == mapping.role]
    left = max((each.role for each in others), key=_rank, default="")
    holders = _holders(mapping.environment, mapping.prefix, mapping.role)
    by_others = tuple(sorted({each.group for each in others}))
    return [
        Change(username=name, before=role, after=left if by_others else "", by_others=by_others)
        for name, role in sorted(holders.items())
        if role == mapping.role
    ]


def _holders(environment: Environment | None, prefix: str, role: str) -> dict[str, str]:
    """Return the people with access by single sign-on at one place, and their roles."""
    if environment is None:
        users = User.objects.filter(role=role, role_source=Source.SAML)
        return dict(users.values_list("username", "role"))
    rows: Iterable[Membership] = Membership.objects.filter(
        environment=environment, prefix=prefix, source=Source.SAML
    ).select_related("user")
    return {row.user.username: row.role for row in rows if row.user}


def _rank(role: str) -> int:
    """Return how much a role is; those of the installation are of one rank."""
    return 0 if role in INSTALLATION_ROLES else Role(role).rank
