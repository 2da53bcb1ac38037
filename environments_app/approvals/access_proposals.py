"""Approvals of wider access to a protected environment."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid5

from django.contrib.auth.models import Group

from audit_app.events.actions import Action
from audit_app.integrity.row_state import state_digest
from audit_app.recording.drafts import AuditObject
from core.canonical_json import Json
from environments_app.approvals.gate import Line, Proposal
from environments_app.approvals.group_members import ROLES, names_in, reach_of, roles_of
from environments_app.authorization.policy import Grant
from environments_app.authorization.rows import isoformat
from environments_app.models import (
    AccessRequest,
    Environment,
    Membership,
    Role,
    SamlGroupMapping,
    ServiceToken,
    User,
)

_ALL_NAMES = "All secrets"
_NO_END = "Never"


def granting(membership: Membership) -> Proposal:
    """Return the proposal to store a membership that is not stored yet."""
    environment = membership.environment
    arguments: dict[str, Json] = {
        "user": str(membership.user.uuid) if membership.user else None,
        "group": membership.group.name if membership.group else None,
        "role": str(membership.role),
        "prefix": membership.prefix,
        "expires_at": isoformat(membership.expires_at),
    }
    holder = membership.holder
    reach = reach_of(membership.group) if membership.group else {}
    return Proposal(
        action=Action.MEMBER_GRANT,
        environment=environment,
        object=AuditObject(
            "membership", uuid5(environment.uuid, f"member {holder} {membership.prefix}"), holder
        ),
        arguments=arguments | reach,
        summary=[
            Line("Person or group", "", holder),
            *_reach_lines(reach),
            Line("Role", "", str(membership.role)),
            Line("Path", "", membership.prefix or _ALL_NAMES),
            Line("Expires", "", _moment(membership.expires_at)),
        ],
    )


def granting_asked(
    request: AccessRequest, environment: Environment, *, role: Role, prefix: str, minutes: int | None
) -> Proposal:
    """Return the proposal to grant an access request, perhaps narrowed; its time starts with the grant."""
    return Proposal(
        action=Action.MEMBER_GRANT,
        environment=environment,
        object=AuditObject("access-request", request.uuid, request.requester.username),
        expected=state_digest(request),
        arguments={
            "request": request.pk,
            "asked_by": str(request.requester.uuid),
            "role": str(role),
            "prefix": prefix,
            "minutes": minutes,
        },
        summary=[
            Line("Requested by", "", request.requester.username),
            Line("Role", "", str(role)),
            Line("Path", "", prefix or _ALL_NAMES),
            Line("Duration", "", duration_words(minutes)),
            Line("Reason", "", request.reason),
        ],
    )


def duration_words(minutes: int | None) -> str:
    """Return how long access is to last, in words."""
    if minutes is None:
        return _NO_END
    for unit, size in (("day", 1440), ("hour", 60)):
        if minutes >= size and minutes % size == 0:
            return f"{minutes // size} {unit}{'s' if minutes > size else ''}"
    return f"{minutes} minutes"


def widens_request(request: AccessRequest, *, role: Role, prefix: str, minutes: int | None) -> bool:
    """Return whether this exceeds the access request."""
    longer = request.minutes is not None and (minutes is None or minutes > request.minutes)
    return longer or role.rank > Role(request.role).rank or not Grant.reaches(request.prefix, prefix)


def changing_membership(membership: Membership, changes: dict[str, Any]) -> Proposal:
    """Return the proposal to change a stored membership from its present state."""
    after = _after(membership, changes)
    reach = reach_of(membership.group) if membership.group else {}
    return Proposal(
        action=Action.MEMBER_CHANGE,
        environment=membership.environment,
        object=AuditObject("membership", membership.uuid, membership.holder),
        expected=state_digest(membership),
        arguments={"membership": membership.pk, **plain_values(changes), **reach},
        summary=[
            *_reach_lines(reach),
            Line("Role", str(membership.role), str(after["role"])),
            Line("Path", membership.prefix or _ALL_NAMES, after["prefix"] or _ALL_NAMES),
            Line("Expires", _moment(membership.expires_at), _moment(after["expires_at"])),
        ],
    )


def widens(membership: Membership, changes: dict[str, Any]) -> bool:
    """Return whether a change lets the holder do more, reach more names, or stay longer."""
    after = _after(membership, changes)
    ends, current_end = after["expires_at"], membership.expires_at
    return (
        Role(after["role"]).rank > Role(membership.role).rank
        or not Grant.reaches(membership.prefix, after["prefix"])
        or (current_end is not None and (ends is None or ends > current_end))
    )


def issuing(token: ServiceToken, environment: Environment, *, lasting: str | None) -> Proposal:
    """Return the proposal to issue a token that is not made yet.

    `lasting` is its end as it was asked for: "default" counts from when it is issued.
    """
    return Proposal(
        action=Action.TOKEN_ISSUE,
        environment=environment,
        object=AuditObject("token", uuid5(environment.uuid, f"token {token.name}"), token.name),
        arguments={
            "role": str(token.role),
            "name": token.name,
            "prefix": token.prefix,
            "cidrs": list(token.cidrs),
            "expires_at": lasting,
        },
        summary=[
            Line("Token", "", token.name),
            Line("Role", "", str(token.role)),
            Line("Path", "", token.prefix or _ALL_NAMES),
            Line("Allowed IP ranges", "", ", ".join(token.cidrs) or "Any"),
            Line("Expires", "", _moment(token.expires_at)),
        ],
    )


def rotating(token: ServiceToken, environment: Environment, *, overlap: timedelta) -> Proposal:
    """Return the proposal to issue the successor of a token."""
    seconds = int(overlap.total_seconds())
    return Proposal(
        action=Action.TOKEN_ISSUE,
        environment=environment,
        object=AuditObject("token", token.uuid, token.name),
        expected=state_digest(token),
        arguments={"rotates": token.pk, "overlap": seconds},
        summary=[
            Line("Token", token.name, "new token with the same permissions"),
            Line("Old token stays valid for", "", f"{seconds} seconds"),
        ],
    )


def weakening(environment: Environment, changes: dict[str, Any]) -> Proposal:
    """Return the proposal to change settings of an environment that end or weaken its protection."""
    return Proposal(
        action=Action.ENVIRONMENT_UPDATE,
        environment=environment,
        object=AuditObject("environment", environment.uuid, environment.name),
        expected=state_digest(environment),
        arguments=plain_values(changes),
        summary=[
            Line(name.replace("_", " ").capitalize(), _word(getattr(environment, name)), _word(value))
            for name, value in sorted(changes.items())
            if getattr(environment, name) != value
        ],
    )


def joining(user: User, *, group: Group, environment: Environment) -> Proposal:
    """Return the proposal to let a person take part in what a group may do in an environment."""
    name = f"{user.username} in group {group.name}"
    return Proposal(
        action=Action.GROUP_CHANGE,
        environment=environment,
        object=AuditObject("group", uuid5(environment.uuid, f"group {group.name} {user.uuid}"), name),
        arguments={
            "user": str(user.uuid),
            "group": group.name,
            "group_id": group.pk,
            ROLES: roles_of(group.pk, environment),
        },
        summary=[
            Line("Person", "", user.username),
            Line("Joins group", "", group.name),
            *(
                Line("Gets the role", "", f"{row.role}: {row.prefix or _ALL_NAMES}")
                for row in Membership.objects.filter(group=group, environment=environment).order_by("pk")
            ),
        ],
    )


def mapping(mapped: SamlGroupMapping, environment: Environment) -> Proposal:
    """Return the proposal to let a group of the identity provider grant a role."""
    provider = mapped.provider
    key = f"mapping {mapped.group} {mapped.prefix}" + (f" {provider.slug}" if provider else "")
    return Proposal(
        action=Action.SAML_MAPPING_CHANGE,
        environment=environment,
        object=AuditObject("saml-group", uuid5(environment.uuid, key), mapped.group),
        arguments={
            "group": mapped.group,
            "role": str(mapped.role),
            "prefix": mapped.prefix,
            **({"provider": provider.slug} if provider else {}),
        },
        summary=[
            Line("Single sign-on group", "", mapped.group),
            *([Line("Provider", "", provider.label)] if provider else []),
            Line("Role", "", str(mapped.role)),
            Line("Path", "", mapped.prefix or _ALL_NAMES),
        ],
    )


def _after(membership: Membership, changes: dict[str, Any]) -> dict[str, Any]:
    now = {name: getattr(membership, name) for name in ("role", "prefix", "expires_at")}
    return now | changes


def plain_values(changes: Mapping[str, Any]) -> dict[str, Json]:
    """Return what is asked for as it is stored with a request: times as texts, choices as their names."""
    values: dict[str, Json] = {}
    for name, value in changes.items():
        if isinstance(value, datetime):
            values[name] = isoformat(value)
        else:
            values[name] = str(value) if isinstance(value, str) else value
    return values


def _reach_lines(reach: Mapping[str, Json]) -> list[Line]:
    return [Line("Members of the group", "", names_in(reach))] if reach else []


def _moment(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC") if moment else _NO_END


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')}: {_word(each)}" for name, each in sorted(value.items()))
    return "" if value is None else str(value)
