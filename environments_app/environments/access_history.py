"""Who and what had access at an earlier time, and since when accounts are disabled, by the audit log.

Retention removes no event of grants, groups and accounts. Whether they are genuine is for
`keeper verify-audit` to say.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent
from audit_app.queries.access_log import record_view
from core.canonical_json import parsed_details
from core.errors import BadQuery
from environments_app.authorization.break_glass import reads_values
from environments_app.authorization.effective_access import (
    AUDITING,
    BREAKS_GLASS,
    DISABLED,
    EXPIRED,
    NOT_COVERED,
    NOT_READING,
    PERSON,
    SUSPENDED,
    TOKEN,
)
from environments_app.authorization.policy import Grant, Principal, require
from environments_app.environments.program_history import NO_EVENT, programs_at
from environments_app.models import Environment, Membership, Role, ServiceToken, User, UserRole

_ENDS: Final = frozenset({Action.MEMBER_REVOKE, Action.MEMBER_EXPIRE})
_GROUP: Final = "group "


@dataclass(frozen=True, kw_only=True)
class PastAccess:
    """One way into an environment at a time; `hindrances` are the reasons why it was void."""

    who: str
    role: str
    prefix: str
    via: str
    granted_by: str
    granted_at: datetime | None
    expires_at: datetime | None
    active: bool = True
    hindrances: tuple[str, ...] = ()
    kind: str = PERSON

    @property
    def reads(self) -> bool:
        """Whether it led to values. One without an event counts: nothing shows that it did not."""
        return all(why == NO_EVENT for why in self.hindrances)


@dataclass(frozen=True)
class _Accounts:
    """What the installation's events tell of people: who was in which group, disabled, with which role."""

    groups: dict[str, set[str]]
    disabled: set[str]
    roles: dict[str, str]


def end_of_day(day: date) -> datetime:
    """Return the end of a day in UTC, or now. Raises BadQuery for a day that the log does not cover."""
    now = timezone.now()
    if day > now.astimezone(UTC).date():
        raise BadQuery("as_of", "This day is in the future. Choose today or an earlier day.")
    begin = AuditEvent.objects.order_by("at").values_list("at", flat=True).first() or now
    if day < begin.astimezone(UTC).date():
        raise BadQuery("as_of", f"The audit log begins on {begin:%Y-%m-%d}. Choose that day or a later one.")
    return min(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1), now)


def explain_past_access(
    *,
    actor: Principal,
    environment: Environment,
    day: date,
    name: str = "",
    person: str = "",
    token: str = "",
) -> list[PastAccess]:
    """Return every way into an environment at the end of a day, as `explain_access` does of now.

    It is recorded as a view of the audit log. Raises Invisible, Forbidden, or BadQuery for the day.
    """
    require(actor=actor, action=Action.MEMBER_VIEW, environment=environment)
    moment = end_of_day(day)
    filters = {"environment": environment.name, "period": day.isoformat()}
    record_view(viewer=actor, face="access", filters=filters)
    ways = [
        replace(way, hindrances=(*way.hindrances, *_not_reading(way, name)))
        for way in (*access_at(environment, moment), *_programs(environment, moment))
    ]
    ways += _of_the_installation(moment)
    if person or token:
        ways = [way for way in ways if way.who == (person if way.kind == PERSON else token)]
    return sorted(ways, key=lambda way: (not way.reads, way.kind, way.who, way.prefix))


def _programs(environment: Environment, moment: datetime) -> Iterator[PastAccess]:
    """Yield the ways of tokens and trusts; a token's beginning is that of its row, which no event has."""
    programs = [each for each in programs_at(environment, moment) if not each.revoked]
    tokens = ServiceToken.objects.filter(uuid__in=[each.uuid for each in programs if each.kind == TOKEN])
    beginnings = {uuid: f"token kpr_{text[:8]}…" for uuid, text in tokens.values_list("uuid", "public_id")}
    for each in programs:
        via = beginnings.get(each.uuid, "token")
        yield PastAccess(
            kind=each.kind,
            who=each.name,
            role=str(each.facts.get("role", "")),
            prefix=str(each.facts.get("prefix", "")),
            via=via if each.kind == TOKEN else f"workload of {each.facts.get('issuer', '')}",
            granted_by=each.made_by,
            granted_at=each.made_at,
            expires_at=each.expires_at,
            hindrances=each.hindrances(moment),
        )


def _of_the_installation(moment: datetime) -> Iterator[PastAccess]:
    """Yield administrators and auditors of that time."""
    accounts, why = _accounts_at(moment), {UserRole.ADMIN: BREAKS_GLASS, UserRole.AUDITOR: AUDITING}
    # Whose first event of a role came later was a user before.
    recorded = _accounts_at(timezone.now()).roles
    unrecorded = User.objects.filter(date_joined__lte=moment).exclude(username__in=recorded)
    roles = accounts.roles | dict(unrecorded.values_list("username", "role"))
    for who, role in sorted(roles.items()):
        if role in why and who not in accounts.disabled:
            yield PastAccess(
                who=who,
                role=role,
                prefix="",
                via=f"{UserRole(role).label.lower()} role",
                granted_by="",
                granted_at=None,
                expires_at=None,
                hindrances=(why[UserRole(role)], *([] if who in accounts.roles else [NO_EVENT])),
            )


def _not_reading(way: PastAccess, name: str) -> Iterator[str]:
    if not reads_values(way.role):
        yield NOT_READING
    if name and not Grant.reaches(way.prefix, name):
        yield NOT_COVERED


class Disabled(NamedTuple):
    """When the account of a person was disabled, and by whom."""

    at: datetime
    by: str


def when_disabled(users: Iterable[User]) -> dict[UUID, Disabled]:
    """Return when and by whom each disabled account was disabled last, from the audit log."""
    uuids = [user.uuid for user in users if not user.is_active]
    found: dict[UUID, Disabled] = {}
    acts = [Action.USER_CREATE, Action.USER_CHANGE]
    events = AuditEvent.objects.filter(object_uuid__in=uuids, action__in=acts, outcome=Outcome.ALLOWED)
    for event in events.order_by("id"):
        details = parsed_details(event.details)
        if details.get("is_active") is False:
            # One that is disabled again while it is disabled was disabled before.
            found.setdefault(event.object_uuid, Disabled(event.at, event.actor_name))
        elif details.get("is_active") or details.get("restored"):
            found.pop(event.object_uuid, None)
    return found


def access_at(environment: Environment, moment: datetime) -> list[PastAccess]:
    """Return each way of a person into an environment at a time, those through groups for each member."""
    accounts = _accounts_at(moment)
    ways = [way for grant in _grants_at(environment, moment) for way in _ways(grant, accounts, moment)]
    return sorted(ways, key=lambda way: (way.who, way.prefix, way.via))


def _grants_at(environment: Environment, moment: datetime) -> list[PastAccess]:
    grants: dict[object, PastAccess] = {}
    seen = set()
    stream = streams.environment_stream(environment.uuid)
    kinds = {"object_kind__in": ["membership", "environment"], "action__unindexed__in": _ACTS}
    for event in _events(stream, moment, **kinds):
        details = parsed_details(event.details)
        if event.action == Action.ENVIRONMENT_CREATE:
            if manager := details.get("manager"):
                grants[manager] = _grant(event, manager, {"role": Role.MANAGER})
            continue
        seen.add(event.object_uuid)
        # The first manager has no event of a grant: later ones name the same person.
        former = grants.pop(event.object_uuid, None) or grants.pop(_first_manager(event), None)
        if event.action not in _ENDS:
            grant = _grant(event, event.object_name, details)
            if former:
                grant = replace(grant, granted_by=former.granted_by, granted_at=former.granted_at)
            grants[event.object_uuid] = grant
    rows = Membership.objects.filter(environment=environment, created_at__lte=moment).exclude(uuid__in=seen)
    for row in rows.select_related("user", "group", "granted_by"):
        grants.setdefault(
            row.holder,
            PastAccess(
                who=row.holder,
                role=row.role,
                prefix=row.prefix,
                via="direct grant",
                granted_by=row.granted_by.username if row.granted_by else "",
                granted_at=row.created_at,
                expires_at=row.expires_at,
                hindrances=(NO_EVENT,),
            ),
        )
    return list(grants.values())


_ACTS: Final = sorted(
    {Action.ENVIRONMENT_CREATE, Action.MEMBER_GRANT, Action.MEMBER_CHANGE, Action.BREAK_GLASS, *_ENDS}
)


def _first_manager(event: AuditEvent) -> str | None:
    return None if event.action == Action.MEMBER_GRANT else event.object_name


def _grant(event: AuditEvent, holder: str, details: dict[str, Any]) -> PastAccess:
    expires = details.get("expires_at")
    return PastAccess(
        who=holder,
        role=str(details.get("role", "")),
        prefix=str(details.get("prefix", "")),
        via={"saml": "single sign-on", "request": "access request"}.get(
            str(details.get("source", "")), "direct grant"
        ),
        granted_by=event.actor_name,
        granted_at=event.at,
        expires_at=datetime.fromisoformat(expires) if isinstance(expires, str) else None,
        hindrances=(SUSPENDED,) if details.get("suspended") else (),
    )


def _ways(grant: PastAccess, accounts: _Accounts, moment: datetime) -> Iterator[PastAccess]:
    people = [grant.who]
    if grant.who.startswith(_GROUP):
        people = sorted(accounts.groups[grant.who.removeprefix(_GROUP)])
    for who in people:
        facts = {
            DISABLED: who in accounts.disabled,
            AUDITING: accounts.roles.get(who) == UserRole.AUDITOR,
            EXPIRED: grant.expires_at is not None and grant.expires_at <= moment,
        }
        hindrances = (*grant.hindrances, *(why for why, holds in facts.items() if holds))
        yield replace(
            grant,
            who=who,
            via=grant.who if grant.who.startswith(_GROUP) else grant.via,
            active=who not in accounts.disabled,
            hindrances=hindrances,
        )


def _accounts_at(moment: datetime) -> _Accounts:
    groups: dict[str, set[str]] = defaultdict(set)
    disabled: set[str] = set()
    roles: dict[str, str] = {}
    acts = sorted({Action.GROUP_CHANGE, Action.USER_CREATE, Action.USER_CHANGE})
    for event in _events(streams.SYSTEM, moment, action__in=acts):
        details = parsed_details(event.details)
        if event.action == Action.GROUP_CHANGE:
            members = groups[event.object_name]
            if details.get("change") == "added":
                members.add(str(details.get("user", "")))
            elif details.get("change") == "removed":
                members.discard(str(details.get("user", "")))
            continue
        if "is_active" in details:
            (disabled.discard if details["is_active"] else disabled.add)(event.object_name)
        if "restored" in details:
            disabled.discard(event.object_name)
        if "role" in details:
            roles[event.object_name] = str(details["role"])
    return _Accounts(groups, disabled, roles)


def _events(stream: str, moment: datetime, **which: Any) -> Iterator[AuditEvent]:
    events = AuditEvent.objects.filter(stream=stream, at__lte=moment, outcome=Outcome.ALLOWED, **which)
    return events.order_by("sequence").iterator(chunk_size=1_000)
