"""Who reviews which access: the people who could end it, and are not behind it.

Who could sign in as a holder, or is held by the same people, does not review the holder's access: the same
rule as for approvals (`CustodyGraph`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from environments_app.approvals.approvers import possible_managers
from environments_app.approvals.one_person import named, way_apart, who_could_be_whom
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal, allows, grants_allow
from environments_app.authorization.principals import user_principal
from environments_app.models import AccessKind, Environment, ReviewItem, User, UserRole

# The right that ends access of each kind; who has it may review it.
ENDS_BY: Final[Mapping[str, Action]] = MappingProxyType(
    {
        AccessKind.DIRECT: Action.MEMBER_REVOKE,
        AccessKind.GROUP: Action.GROUP_CHANGE,
        AccessKind.TOKEN: Action.TOKEN_REVOKE,
        AccessKind.TRUST: Action.TRUST_DELETE,
        AccessKind.INSTALLATION: Action.USER_CHANGE,
        AccessKind.RELEASE: Action.SECRET_RELEASE_END,
    }
)
_OF_PEOPLE: Final = (AccessKind.DIRECT, AccessKind.GROUP, AccessKind.INSTALLATION)
_NOT_IN_GROUPS: Final = (
    "Only an administrator takes a person out of a group, and so reviews it. A manager can revoke the role "
    "of the whole group on the environment's page."
)
OWN: Final = "You can't decide on your own access."
GRANTED: Final = "You granted this access. Another reviewer decides."


class Candidate(NamedTuple):
    """A person who may review something in an environment."""

    user: User
    principal: Principal
    manages: bool


def candidates_in(environment: Environment | None) -> list[Candidate]:
    """Return the people whose rights there may end access, managers of the environment first."""
    people = (
        possible_managers(environment)
        if environment
        else User.objects.filter(role=UserRole.ADMIN, is_active=True).order_by("username")
    )
    found = []
    for user in people:
        principal = user_principal(user)
        manages = environment is not None and grants_allow(
            principal, Action.MEMBER_REVOKE, environment_id=environment.pk
        )
        if manages or principal.is_admin:
            found.append(Candidate(user, principal, manages))
    return sorted(found, key=lambda one: not one.manages)


def why_not_reviewer(
    actor: Principal,
    item: ReviewItem,
    environment: Environment | None,
    custody: CustodyGraph,
    candidates: Callable[[Environment | None], Sequence[Candidate]] = candidates_in,
) -> str:
    """Return why a person may not decide about an item, or nothing.

    A granter decides if nobody of the environment's `candidates` may.
    """
    place = environment.pk if environment else None
    trusted = not actor.suspended or place in actor.trusted_in
    if actor.kind is not ActorKind.USER or actor.scope is not None or not trusted:
        return "Only a person who is signed in to the pages, or by a session, reviews access."
    if not allows(actor, ENDS_BY[item.kind], environment_id=place):
        return (
            _NOT_IN_GROUPS if item.kind == AccessKind.GROUP else "Only who may end this access may review it."
        )
    if custody.are_one(actor.uuid, [item.subject_uuid], environment=environment):
        return _own(actor, item, environment, custody)
    granter = item.granted_by_uuid
    if granter and granter in custody.behind(actor.uuid, environment=environment):
        others = (one.principal for one in candidates(environment) if one.principal.uuid != actor.uuid)
        if any(_could(other, item, environment, custody) for other in others):
            return GRANTED
    return ""


def _own(actor: Principal, item: ReviewItem, environment: Environment | None, custody: CustodyGraph) -> str:
    """Return why access counts as an actor's own."""
    holder = item.subject_uuid
    if actor.uuid == holder:
        return OWN
    theirs = custody.behind(holder, environment=environment)
    if actor.uuid in theirs:
        made = "made or reset this account" if item.kind in _OF_PEOPLE else "issued, made or changed it"
        how = f"You could act as {item.subject_name}: you {made}, or could act as who did."
    else:
        shared = theirs & custody.behind(actor.uuid, environment=environment)
        who = named(custody.names_of(shared)) or "One program"
        both = "you" if holder in shared else f"you and as {item.subject_name}"
        how = f"{who} could act as {both}."
    return f"{OWN} {how} So this counts as yours."


def _could(
    other: Principal, item: ReviewItem, environment: Environment | None, custody: CustodyGraph
) -> bool:
    """Return whether a person may decide about an item, and did not grant it."""
    mine = custody.behind(other.uuid, environment=environment)
    return (
        allows(other, ENDS_BY[item.kind], environment_id=environment.pk if environment else None)
        and item.granted_by_uuid not in mine
        and not mine & custody.behind(item.subject_uuid, environment=environment)
    )


def assign(items: Iterable[ReviewItem], environment: Environment | None, load: Counter[UUID]) -> None:
    """Give each item of an environment a reviewer: the one with the least to do, a manager if there is one.

    An item that nobody may decide has none.
    """
    items = list(items)
    custody, candidates = CustodyGraph(), candidates_in(environment)
    custody.learn({item.subject_uuid for item in items} | {one.principal.uuid for one in candidates})
    behind = {
        uuid: custody.behind(uuid, environment=environment)
        for uuid in {*(item.subject_uuid for item in items), *(one.principal.uuid for one in candidates)}
    }
    place = environment.pk if environment else None
    for item in items:
        may = [
            one
            for one in candidates
            if allows(one.principal, ENDS_BY[item.kind], environment_id=place)
            and not behind[one.principal.uuid] & behind[item.subject_uuid]
            and (not one.principal.suspended or place in one.principal.trusted_in)
        ]
        may = [one for one in may if item.granted_by_uuid not in behind[one.principal.uuid]] or may
        may = [one for one in may if one.manages] or may
        if may:
            chosen = min(may, key=lambda one: load[one.user.uuid])
            load[chosen.user.uuid] += 1
            item.reviewer_uuid, item.reviewer_name = chosen.user.uuid, chosen.user.username


def why_nobody(items: Sequence[ReviewItem], environment: Environment | None) -> str:
    """Return why these items of an environment have no reviewer, and what to do, as sentences."""
    place = environment.pk if environment else None
    where = environment.name if environment else "the installation"
    needed = {ENDS_BY[item.kind] for item in items}
    people = [
        one.user
        for one in candidates_in(environment)
        if any(allows(one.principal, right, environment_id=place) for right in needed)
    ]
    if len(people) <= 1:
        only = f"only {people[0].username}" if people else "nobody"
        return (
            f"In {where} {only} could end this access, and nobody reviews their own. Give another person the "
            f"role {'Manager' if environment and Action.GROUP_CHANGE not in needed else 'Administrator'}."
        )
    uuids = {item.subject_uuid for item in items} | {user.uuid for user in people}
    holders = User.objects.filter(uuid__in=uuids).order_by("username")
    sentences = [
        f"In {where} nobody reviews their own access.",
        who_could_be_whom(holders, environment),
        way_apart(people, environment),
    ]
    return " ".join(filter(None, sentences))
