"""Sections of reports on people: who may do what where, and what those still hold who have left."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.queries.reports import Row, Scope, Section
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.effective_access import (
    DISABLED_TRUST,
    NOT_READING,
    RESTORED,
    TOKEN,
    TRUST,
    AccessPath,
    held_accounts,
    ways_of_people,
)
from environments_app.authorization.policy import Principal, environments_for
from environments_app.environments.access_history import access_at, when_disabled
from environments_app.environments.program_history import PastProgram, programs_at
from environments_app.models import (
    Environment,
    GroupMember,
    Membership,
    ServiceToken,
    Session,
    Trust,
    TrustPreset,
    User,
)

_BATCH: Final = 500
# PCI DSS 8.2.6 asks that accounts which nobody used so long are removed or disabled.
INACTIVE_DAYS: Final = 90
INACTIVE: Final = timedelta(days=INACTIVE_DAYS)


def environments_of(scope: Scope, action: Action = Action.MEMBER_VIEW) -> QuerySet[Environment]:
    """Return the environments whose members, tokens and secrets the viewer of a report may list."""
    viewer = scope.viewer
    places = environments_for(viewer, action) if isinstance(viewer, Principal) else None
    return Environment.objects.none() if places is None else Environment.objects.filter(places)


def is_operator(scope: Scope) -> bool:
    """Return whether the viewer of a report sees the installation: an administrator or an auditor."""
    return isinstance(scope.viewer, Principal) and scope.viewer.sees_installation


def batched(rows: QuerySet[Any]) -> Iterator[Any]:
    """Yield rows by their ids, some hundred at a time."""
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk")[:_BATCH]):
        yield from batch
        last = batch[-1].pk


def _access(scope: Scope) -> Iterator[Row]:
    if scope.as_of is not None:
        yield from _access_at(scope, scope.as_of)
        return
    for environment in environments_of(scope).order_by("position", "name"):
        for way in sorted(ways_of_people(environment), key=lambda way: (way.who, way.prefix, way.via)):
            yield (
                environment.name,
                way.who,
                _account_state(way.user),
                _second_factor(way.user),
                way.role,
                way.prefix or "all",
                way.via,
                way.granted_by,
                way.granted_at,
                way.expires_at,
                _access_state(way),
                way.user.last_login if way.user else None,
            )
        for group in _groups_without_members(environment):
            yield (environment.name, "", "", "", group.role, group.prefix or "all", f"group {group.group}",
                   group.granted_by.username if group.granted_by else "", group.created_at, group.expires_at,
                   "the group has no members", None)  # fmt: skip


def _access_at(scope: Scope, moment: datetime) -> Iterator[Row]:
    # Second factors and sign-ins of that time are in no event of a grant.
    for environment in environments_of(scope).order_by("position", "name"):
        for way in access_at(environment, moment):
            yield (
                environment.name,
                way.who,
                "active" if way.active else "disabled",
                "",
                way.role,
                way.prefix or "all",
                way.via,
                way.granted_by,
                way.granted_at,
                way.expires_at,
                "; ".join(way.hindrances) or "in force",
                None,
            )


def _access_state(way: AccessPath) -> str:
    """Return why a way is void or held back; a role that sees names alone is in force."""
    return "; ".join(why for why in way.hindrances if why != NOT_READING) or "in force"


def _account_state(user: User | None) -> str:
    if user is None or not user.is_active:
        return "disabled"
    if user.suspended_at:
        return "suspended"
    last_sign_in = user.last_login or user.date_joined
    return f"no sign-in for {INACTIVE_DAYS} days" if last_sign_in < timezone.now() - INACTIVE else "active"


def _second_factor(user: User | None) -> str:
    if user is None or not user.saml_issuer:
        return "yes" if user and user.second_factor else "no"
    return "by single sign-on"


def _groups_without_members(environment: Environment) -> QuerySet[Membership]:
    rows = Membership.objects.filter(environment=environment, group__isnull=False)
    empty = rows.exclude(group__in=GroupMember.objects.values("group"))
    return empty.select_related("group", "granted_by").order_by("pk")


def _tokens(scope: Scope) -> Iterator[Row]:
    if scope.as_of is not None:
        yield from _tokens_at(scope, scope.as_of)
        return
    mine = Q(environment__in=environments_of(scope, Action.TOKEN_VIEW))
    if is_operator(scope):
        mine |= Q(environment__isnull=True)
    # Those of workloads live for minutes: their trusts have a section of their own.
    rows = ServiceToken.objects.filter(mine, trust_uuid=None, parent_uuid=None)
    for row in batched(rows.select_related("environment", "created_by")):
        yield (
            row.environment.name if row.environment else "the installation",
            row.name,
            row.role,
            row.prefix or "all",
            ", ".join(row.networks) or "anywhere",
            row.created_by.username if row.created_by else "",
            row.created_at,
            row.expires_at,
            row.last_used_at,
            _token_state(row),
        )


def _tokens_at(scope: Scope, moment: datetime) -> Iterator[Row]:
    # Retention removes events of their use.
    places = [*environments_of(scope, Action.TOKEN_VIEW).order_by("position", "name")]
    for place in [*places, *([None] if is_operator(scope) else [])]:
        for each in programs_at(place, moment):
            if each.kind == TOKEN:
                yield (
                    place.name if place else "the installation",
                    each.name,
                    *_past_rights(each),
                    each.made_by,
                    each.made_at,
                    each.expires_at,
                    None,
                    _past_state(each, moment),
                )


def _past_rights(program: PastProgram) -> Row:
    facts = program.facts
    networks = ", ".join(map(str, facts.get("cidrs") or ())) or "anywhere"
    return str(facts.get("role", "")), str(facts.get("prefix") or "all"), networks


def _past_state(program: PastProgram, moment: datetime) -> str:
    if program.revoked:
        return "revoked"
    words = {DISABLED_TRUST: "disabled", RESTORED: "suspended"}
    return "; ".join(words.get(why, why) for why in program.hindrances(moment)) or "in force"


def _token_state(row: ServiceToken) -> str:
    if row.revoked_at:
        return "revoked"
    if not row.is_authentic():
        return "not written by Keeper: opens nothing"
    if row.suspended_at:
        return "suspended"
    return "in force" if row.is_live else "expired"


def _trusts(scope: Scope) -> Iterator[Row]:
    if scope.as_of is not None:
        yield from _trusts_at(scope, scope.as_of)
        return
    rows = Trust.objects.filter(environment__in=environments_of(scope, Action.TRUST_VIEW))
    for row in batched(rows.select_related("environment", "created_by")):
        yield (
            row.environment.name,
            row.name,
            row.get_preset_display(),
            row.issuer,
            ", ".join(f"{name} = {value}" for name, value in row.demands),
            row.role,
            row.prefix or "all",
            ", ".join(row.networks) or "anywhere",
            row.created_by.username if row.created_by else "",
            row.created_at,
            row.expires_at,
            row.last_used_at,
            _trust_state(row),
        )


def _trusts_at(scope: Scope, moment: datetime) -> Iterator[Row]:
    presets = dict(TrustPreset.choices)
    for place in environments_of(scope, Action.TRUST_VIEW).order_by("position", "name"):
        for each in programs_at(place, moment):
            if each.kind == TRUST:
                preset, claims = str(each.facts.get("preset", "")), each.facts.get("claims") or {}
                yield (
                    place.name,
                    each.name,
                    presets.get(preset, preset),
                    str(each.facts.get("issuer", "")),
                    ", ".join(f"{name} = {value}" for name, value in sorted(claims.items())),
                    *_past_rights(each),
                    each.made_by,
                    each.made_at,
                    each.expires_at,
                    None,
                    _past_state(each, moment),
                )


def _trust_state(row: Trust) -> str:
    if not row.is_authentic():
        return "not written by Keeper: lets nobody in"
    if row.disabled_at:
        return "disabled"
    if row.suspended_at:
        return "suspended"
    return "in force" if row.is_live else "expired"


def _offboarding(scope: Scope) -> Iterator[Row]:
    if not is_operator(scope):
        return
    disabled = User.objects.filter(is_active=False).annotate(
        held=Count("memberships", distinct=True), placed=Count("group_memberships", distinct=True)
    )
    for user in batched(disabled):
        disabled_at, disabled_by = when_disabled([user]).get(user.uuid, (None, ""))
        yield (
            user.username,
            user.email,
            user.last_login,
            disabled_at,
            disabled_by,
            user.held,
            user.placed,
            Session.objects.filter(user=user).count(),
            ServiceToken.objects.filter(created_by=user, revoked_at__isnull=True).count(),
            Trust.objects.filter(created_by=user, disabled_at__isnull=True).count(),
        )


def _hands(scope: Scope) -> Iterator[Row]:
    custody = CustodyGraph()
    for environment in environments_of(scope):
        for account in held_accounts(environment):
            yield environment.name, "person", account.user.username, ", ".join(account.by)
        kinds: tuple[tuple[str, QuerySet[Any]], ...] = (
            ("token", ServiceToken.objects.filter(trust_uuid=None, parent_uuid=None, revoked_at=None)),
            ("trust", Trust.objects.filter(disabled_at=None)),
        )
        for kind, rows in kinds:
            for row in batched(rows.filter(environment=environment)):
                by = custody.others_behind(row.uuid, environment=environment)
                yield environment.name, kind, row.name, ", ".join(by)


def _people(scope: Scope) -> Iterator[Row]:
    if not is_operator(scope):
        return
    for user in batched(User.objects.all()):
        yield (
            user.username,
            user.email,
            user.get_role_display().lower(),
            "single sign-on" if user.saml_issuer else "password",
            user.is_active,
            _account_state(user),
            _second_factor(user),
            user.date_joined,
            user.last_login,
        )


SECTIONS: Final = (
    Section(
        key="access",
        title="Access review",
        about="All people with access to each environment, members of groups one by one: by which grant, who "
        "granted it, and whether it is in force. Tokens, trusts and roles of the installation are in other "
        "sections.",
        columns=(
            "Environment", "Person", "Account", "Two-factor", "Role", "Path prefix", "Via", "Granted by",
            "Granted", "Expires", "State", "Last sign-in",
        ),
        rows=_access,
    ),
    Section(
        key="tokens",
        title="Service tokens",
        about="All service tokens, their permissions and last use.",
        columns=(
            "Environment", "Name", "Role", "Path prefix", "Allowed IP ranges", "Issued by", "Issued",
            "Expires", "Last used", "State",
        ),
        rows=_tokens,
    ),
    Section(
        key="trusts",
        title="Trusts",
        about="All trusts: whose workloads sign in without a secret, and what they may do.",
        columns=(
            "Environment", "Name", "Platform", "Issuer", "Claims", "Role", "Path prefix", "Allowed IP ranges",
            "Created by", "Created", "Expires", "Last sign-in", "State",
        ),
        rows=_trusts,
    ),
    Section(
        key="hands",
        title="Who could act as whom",
        about="Accounts that write or decide, tokens and trusts, and the people who could use them as well.",
        columns=("Environment", "Type", "Name", "Could also be used by"),
        rows=_hands,
    ),
    Section(
        key="people",
        title="People",
        about="All accounts, how they sign in, whether with a second factor, and their last sign-in.",
        columns=(
            "Username", "E-mail", "Role", "Sign-in method", "Active", "Account", "Two-factor", "Created",
            "Last sign-in",
        ),
        rows=_people,
        operators=True,
    ),
    Section(
        key="offboarding",
        title="Offboarding",
        about="Disabled accounts, when and by whom each was disabled, and the access it still has. All "
        "counts should be zero.",
        columns=(
            "Username", "E-mail", "Last sign-in", "Disabled", "Disabled by", "Memberships", "Groups",
            "Active sessions", "Active tokens issued", "Active trusts created",
        ),
        rows=_offboarding,
        operators=True,
    ),
)  # fmt: skip
