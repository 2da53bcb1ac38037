"""Explains access: every way into an environment, and whether it counts now."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import AuthenticatedRow, verified_rows
from environments_app.authorization.break_glass import reads_values
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Grant, Principal, require
from environments_app.models import (
    AccessConfirmation,
    Environment,
    GroupMember,
    Membership,
    ProgramRelease,
    Role,
    SamlGroupMapping,
    ServiceToken,
    Source,
    Trust,
    User,
    UserRole,
)

Row = TypeVar("Row", bound=AuthenticatedRow)
PERSON, TOKEN, TRUST = "person", "token", "trust"
DISABLED = "account disabled"
DISABLED_TRUST = "trust disabled"
EXPIRED = "expired"
FORGED = "modified outside Keeper"
TEMPORARY = "has a temporary password"
NOT_COVERED = "path does not include this secret"
NOT_READING = "role can see names only"
RESTORED = "suspended after a restore"
SUSPENDED = "suspended until a manager confirms"
AUDITING = "auditors see names only"
BREAKS_GLASS = "Administrators can see names only. Break-glass access is logged and alerts managers."


@dataclass(frozen=True, kw_only=True)
class AccessPath:
    """One way to the values of an environment; `hindrances` are the reasons why it is blocked now."""

    kind: str
    who: str
    via: str
    role: str
    prefix: str = ""
    expires_at: datetime | None = None
    granted_by: str = ""
    granted_at: datetime | None = None
    hindrances: tuple[str, ...] = ()
    # The account of a person.
    user: User | None = None
    # That of the account, token or trust.
    uuid: UUID | None = None
    # The row that grants it: a membership, a token, a trust, a release, or the account; of a group, the place
    # in it too.
    row: Membership | ServiceToken | Trust | ProgramRelease | User
    place: GroupMember | None = None

    @property
    def reads(self) -> bool:
        return not self.hindrances


def explain_access(
    *, actor: Principal, environment: Environment, name: str = "", person: str = "", token: str = ""
) -> list[AccessPath]:
    """Return every way into an environment: those that read first, then by who.

    `name` asks about one secret, `person` and `token` about one holder. Raises Invisible or Forbidden.
    """
    require(actor=actor, action=Action.MEMBER_VIEW, environment=environment)
    ways = [*ways_into(environment, name=name), *_of_the_installation()]
    if person or token:
        ways = [way for way in ways if way.who == (person if way.kind == PERSON else token)]
    return sorted(ways, key=lambda way: (not way.reads, way.kind, way.who, way.prefix))


def ways_into(
    environment: Environment | None, holders: Collection[UUID] | None = None, *, name: str = ""
) -> Iterator[AccessPath]:
    """Yield each way into an environment, or the roles and tokens of the installation; asks no right.

    With `holders`, only those of these accounts, tokens and trusts.
    """
    if environment is None:
        yield from _of_the_installation(holders)
    else:
        yield from ways_of_people(environment, name, holders)
        yield from _of_trusts(environment, name, holders)
    yield from _of_tokens(environment, name, holders)


def ways_of_people(
    environment: Environment, name: str = "", holders: Collection[UUID] | None = None
) -> Iterator[AccessPath]:
    """Yield each way of a person into an environment, those through groups for each member; asks no right."""
    places = GroupMember.objects.select_related("user", "group")
    rows = Membership.objects.filter(environment=environment)
    if holders is not None:
        places = places.filter(user__uuid__in=holders)
        held = Q(group_id__in=places.values("group_id"))
        rows = rows.filter(Q(user__uuid__in=holders) | held)
    members = Prefetch("group__group_members", places)
    mapped = _mapped_groups(environment)
    confirmed = confirmed_accounts(environment)
    for row in rows.select_related("environment", "user", "group", "granted_by").prefetch_related(members):
        if row.user:
            yield _way(row, row.user, _via(row, mapped), name, confirmed)
        elif row.group:
            for place in row.group.group_members.all():
                yield _way(row, place.user, f"group {row.group.name}", name, confirmed, place)


def confirmed_accounts(environment: Environment) -> dict[int, datetime]:
    """Return the accounts that a manager confirmed in an environment: which of their suspensions it was."""
    rows = AccessConfirmation.objects.filter(environment=environment).select_related("environment", "user")
    return {row.user_id: row.suspended_at for row in verified_rows(rows)}


class Held(NamedTuple):
    """An account of an environment that other people could use as well, with their names."""

    user: User
    by: list[str]


def held_accounts(environment: Environment) -> list[Held]:
    """Return the accounts that write or decide in an environment, administrators too, which others could use.

    A suspended account is not among them: it waits for its confirmation anyway.
    """
    roles = {"environment": environment, "role__in": (Role.EDITOR, Role.MANAGER)}
    rows = Membership.objects.filter(**roles)
    within = Q(pk__in=rows.values("user_id")) | Q(group_memberships__group_id__in=rows.values("group_id"))
    # They decide about access there, in approvals and reviews.
    within |= Q(role=UserRole.ADMIN)
    active_users = User.objects.filter(within, is_active=True, suspended_at=None).distinct()
    users = list(active_users.order_by("username"))
    custody = CustodyGraph()
    custody.learn(user.uuid for user in users)
    accounts = [Held(user, custody.others_behind(user.uuid, environment=environment)) for user in users]
    return [account for account in accounts if account.by]


def _way(
    row: Membership,
    user: User,
    via: str,
    name: str,
    confirmed: dict[int, datetime],
    place: GroupMember | None = None,
) -> AccessPath:
    genuine = all(each.is_authentic() for each in (row, user, row.environment, *([place] if place else [])))
    waits = user.suspended_at is not None and confirmed.get(user.pk) != user.suspended_at
    facts = {
        FORGED: not genuine,
        DISABLED: not user.is_active,
        TEMPORARY: user.temporary_since is not None,
        AUDITING: user.role == UserRole.AUDITOR,
        EXPIRED: row.is_expired,
        SUSPENDED: waits or row.suspended_at is not None,
        NOT_READING: not reads_values(row.role),
        NOT_COVERED: not _covers(row.prefix, name),
    }
    return AccessPath(
        kind=PERSON,
        who=user.username,
        via=via,
        role=row.role,
        prefix=row.prefix,
        expires_at=row.expires_at,
        granted_by=row.granted_by.username if row.granted_by else "",
        granted_at=row.created_at,
        hindrances=tuple(why for why, holds in facts.items() if holds),
        user=user,
        uuid=user.uuid,
        row=row,
        place=place,
    )


def _among(rows: QuerySet[Row], holders: Collection[UUID] | None) -> QuerySet[Row]:
    return rows if holders is None else rows.filter(uuid__in=holders)


def _of_tokens(
    environment: Environment | None, name: str, holders: Collection[UUID] | None
) -> Iterator[AccessPath]:
    # Those of workloads are ways of their trusts, and children of their parents.
    issued = ServiceToken.objects.filter(trust_uuid=None, parent_uuid=None)
    rows = _among(issued.filter(environment=environment, revoked_at=None), holders)
    for token in rows.select_related("environment", "created_by").order_by("pk"):
        yield _program(token, name, kind=TOKEN, via=f"token kpr_{token.public_id[:8]}…")


def _of_trusts(environment: Environment, name: str, holders: Collection[UUID] | None) -> Iterator[AccessPath]:
    rows = _among(Trust.objects.filter(environment=environment), holders)
    for trust in rows.select_related("environment", "created_by").order_by("pk"):
        disabled = trust.disabled_at is not None
        yield _program(trust, name, kind=TRUST, via=f"workload of {trust.issuer}", disabled=disabled)


def _program(
    row: ServiceToken | Trust, name: str, *, kind: str, via: str, disabled: bool = False
) -> AccessPath:
    facts = {
        FORGED: not row.is_authentic(),
        DISABLED_TRUST: disabled,
        EXPIRED: row.expires_at is not None and row.expires_at <= timezone.now(),
        RESTORED: row.suspended_at is not None,
        NOT_READING: not reads_values(row.role),
        NOT_COVERED: not _covers(row.prefix, name),
    }
    return AccessPath(
        kind=kind,
        who=row.name,
        via=via,
        role=row.role,
        prefix=row.prefix,
        expires_at=row.expires_at,
        granted_by=row.created_by.username if row.created_by else "",
        hindrances=tuple(why for why, holds in facts.items() if holds),
        uuid=row.uuid,
        row=row,
    )


def _of_the_installation(holders: Collection[UUID] | None = None) -> Iterator[AccessPath]:
    hindrances = {UserRole.ADMIN: BREAKS_GLASS, UserRole.AUDITOR: AUDITING}
    rows = _among(User.objects.filter(role__in=hindrances, is_active=True), holders)
    for user in verified_rows(rows):
        role = UserRole(user.role)
        yield AccessPath(
            kind=PERSON,
            who=user.username,
            via=f"{role.label.lower()} role",
            role=role,
            hindrances=(hindrances[role],),
            uuid=user.uuid,
            row=user,
        )


def _mapped_groups(environment: Environment) -> dict[tuple[str, str], list[str]]:
    """Return the groups of single sign-on that grant a role under a prefix."""
    groups: dict[tuple[str, str], list[str]] = {}
    for mapping in SamlGroupMapping.objects.filter(environment=environment).order_by("group"):
        groups.setdefault((mapping.role, mapping.prefix), []).append(mapping.group)
    return groups


def _via(row: Membership, mapped: dict[tuple[str, str], list[str]]) -> str:
    if row.source == Source.REQUEST:
        return "access request"
    if row.source != Source.SAML:
        return "direct grant"
    groups = mapped.get((row.role, row.prefix), [])
    return f"single sign-on ({', '.join(groups)})" if groups else "single sign-on, until next sign-in"


def _covers(prefix: str, name: str) -> bool:
    return not name or Grant.reaches(prefix, name)
