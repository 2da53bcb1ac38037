"""What groups of the identity provider grant: mapping them, applying that at sign-in, and whom it changes.

Keeper stores no groups of people: it learns them at each sign-in. Whom a group has is concluded from the
access that its mappings gave at their last sign-in.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject, EventDraft
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json
from environments_app.approvals.access_proposals import mapping as proposed
from environments_app.approvals.broken_glass import record_breaking
from environments_app.approvals.gate import require_approval
from environments_app.authorization.break_glass import confirm_grant, opens_values
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.authorization.rows import clean_fields, lock_authentic
from environments_app.environments import memberships
from environments_app.errors import Conflict, InvalidField
from environments_app.models import (
    INSTALLATION_ROLES,
    OIDC_ISSUER,
    Environment,
    Membership,
    OidcProvider,
    Role,
    SamlGroupMapping,
    Source,
    User,
    UserRole,
)
from environments_app.names import validate_prefix
from environments_app.sessions.service import lock_actor
from environments_app.users import accounts, suspensions

_MAX_MAPPINGS: Final = 1000


def map_group(
    *,
    actor: Principal,
    group: str,
    environment: Environment | None,
    role: str,
    prefix: str = "",
    provider: OidcProvider | None = None,
) -> SamlGroupMapping:
    """Let a group of the identity provider grant a role from each member's next sign-in on.

    A role in the installation goes with no environment, every other role with one. An administrator who
    thereby grants access to values performs a break-glass act, and the group's members see names alone until
    a manager of the environment confirms it (`suspensions`). Raises Forbidden, ConfirmationNeeded, Suspended
    (to break the glass), InvalidField, BadName, Conflict if the group grants this already, or ApprovalNeeded.
    """
    require(actor=actor, action=Action.SAML_MAPPING_CHANGE, environment=None)
    require_confirmed(actor)
    if (role in INSTALLATION_ROLES) != (environment is None):
        raise InvalidField(
            "role", "Administrators and auditors have no environment; every other role has one."
        )
    if prefix and environment is None:
        raise InvalidField("prefix", "Administrators and auditors have no prefix.")
    if not group.isprintable() or group != group.strip():
        raise InvalidField("group", "Use printable characters, without spaces at the ends.")
    mapping = SamlGroupMapping(
        group=group, environment=environment, role=role, prefix=validate_prefix(prefix), provider=provider
    )
    clean_fields(mapping, ["group", "role"])
    confirm_grant(actor, Action.MEMBER_GRANT, environment=environment, role=role)
    if _opens_values(actor, mapping):
        mapping.suspended_at = timezone.now()
    approval = require_approval(actor=actor, proposal=proposed(mapping, environment)) if environment else None
    with lock_actor(actor, Action.SAML_MAPPING_CHANGE):
        approved = approval.consume(environment, actor=actor) if approval and environment else {}
        same = SamlGroupMapping.objects.filter(
            group=group, environment=environment, prefix=mapping.prefix, provider=provider
        )
        if same.exists():
            raise Conflict("This group is already mapped to this environment. Remove that mapping first.")
        if SamlGroupMapping.objects.count() >= _MAX_MAPPINGS:
            raise Conflict(f"There are {_MAX_MAPPINGS} mappings already.")
        mapping.save()
        suspensions.tell_mapped(actor, mapping)
        _record_mapping(actor, mapping, "mapped", approved)
    return mapping


def unmap_group(*, actor: Principal, mapping: SamlGroupMapping) -> None:
    """Remove a mapping, also a forged one; what it granted goes at each member's next sign-in.

    Raises Forbidden.
    """
    require(actor=actor, action=Action.SAML_MAPPING_CHANGE, environment=None)
    with lock_actor(actor, Action.SAML_MAPPING_CHANGE):
        _record_mapping(actor, mapping, "removed")
        mapping.delete()


def apply_groups(
    *, actor: Principal, user: User, groups: Collection[str], provider: OidcProvider | None = None
) -> User:
    """Give a person what their groups grant now, and take away what they do not grant any more.

    Groups count only with the provider that sent them (None: SAML's). Grants that people made are left alone.
    `actor` is Keeper itself. Raises Tampered.
    """
    mappings = verified_rows(
        mapping
        for mapping in SamlGroupMapping.objects.select_related("environment", "provider")
        if mapping.group in groups and mapping.provider_id == (provider.pk if provider else None)
    )
    with lock_authentic(user) as stored:
        _apply_memberships(actor, stored, _wanted(mappings))
    try:
        return accounts.follow_groups(actor=actor, user=stored, role=_installation_role(mappings))
    except Conflict as error:
        # Keeper would have no administrator. The grant stays visible, and is removed at the next sign-in.
        commit_record(
            actor=actor,
            action=Action.USER_CHANGE,
            stream=streams.SYSTEM,
            object=AuditObject("user", stored.uuid, stored.username),
            outcome=Outcome.FAILED,
            details={"role": str(UserRole.USER), "source": "saml", "reason": str(error)},
        )
        return stored


def _installation_role(mappings: Iterable[SamlGroupMapping]) -> UserRole:
    """Return what the groups make of a person in the installation: administering comes first."""
    granted = {mapping.role for mapping in mappings}
    return next((UserRole(role) for role in INSTALLATION_ROLES if role in granted), UserRole.USER)


class _Wanted(NamedTuple):
    """What a person's groups grant for one environment and prefix."""

    environment: Environment
    role: Role
    suspended_at: datetime | None

    @property
    def weight(self) -> tuple[bool, int]:
        """What decides between two: what a manager has confirmed, then the higher role."""
        return self.suspended_at is None, self.role.rank

    def is_held_by(self, row: Membership) -> bool:
        same = (row.role, row.suspended_at, row.expires_at) == (self.role, self.suspended_at, None)
        return same and row.is_authentic()


def _wanted(mappings: Iterable[SamlGroupMapping]) -> dict[tuple[int, str], _Wanted]:
    """Return what is granted for each environment and prefix."""
    granted: dict[tuple[int, str], _Wanted] = {}
    for mapping in mappings:
        place = mapping.environment
        if place is None or not place.is_authentic():
            continue
        grant, key = _Wanted(place, Role(mapping.role), mapping.suspended_at), (place.pk, mapping.prefix)
        if key not in granted or granted[key].weight < grant.weight:
            granted[key] = grant
    return granted


def _apply_memberships(actor: Principal, user: User, wanted: dict[tuple[int, str], _Wanted]) -> None:
    rows = Membership.objects.filter(user=user, source=Source.SAML).select_related("environment", "user")
    existing = {(row.environment_id, row.prefix): row for row in rows}
    # In the order of the environments, whose streams are locked one after the other.
    for key in sorted(existing.keys() | wanted.keys()):
        row, grant = existing.get(key), wanted.get(key)
        if row and grant and grant.is_held_by(row):
            continue
        if row:
            memberships.withdraw(actor=actor, membership=row)
            memberships.note_move(actor=actor, user=user)
        if grant:
            memberships.grant_from_sso(
                actor=actor,
                environment=grant.environment,
                user=user,
                role=grant.role,
                prefix=key[1],
                suspended_at=grant.suspended_at,
            )


def _record_mapping(
    actor: Principal, mapping: SamlGroupMapping, change: str, approved: dict[str, Json] | None = None
) -> None:
    place = mapping.environment
    details: dict[str, Any] = {
        "change": change,
        **({"provider": mapping.provider.slug} if mapping.provider else {}),
        "environment": place.name if place else None,
        "role": mapping.role,
        "prefix": mapping.prefix,
        **({"suspended": True} if mapping.suspended_at else {}),
        **(approved or {}),
        **row_digest_entry(mapping, gone=change == "removed"),
    }
    draft = EventDraft(
        actor=actor,
        action=Action.SAML_MAPPING_CHANGE,
        stream=streams.SYSTEM,
        object=AuditObject("saml-group", mapping.uuid, mapping.group),
        details=details,
    )
    breaks_glass = change == "mapped" and _opens_values(actor, mapping)
    record_breaking(
        draft, breaks_glass=breaks_glass, places=[mapping.environment] if mapping.environment else []
    )


def _opens_values(actor: Principal, mapping: SamlGroupMapping) -> bool:
    place = mapping.environment_id
    return opens_values(actor, Action.MEMBER_GRANT, environment_id=place, role=mapping.role)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A person, the role that single sign-on gives them now, and the one after their next sign-in."""

    username: str
    before: str
    after: str
    # Other groups that give access there as well, so that the person may have it by one of those.
    by_others: tuple[str, ...] = ()


def changed_by_mapping(
    *,
    actor: Principal,
    group: str,
    environment: Environment | None,
    role: str,
    prefix: str = "",
    provider: OidcProvider | None = None,
) -> list[Change]:
    """Return whose role a new mapping would change, of those whom other mappings of the group gave access.

    Raises Forbidden.
    """
    require(actor=actor, action=Action.SAML_MAPPING_CHANGE, environment=None)
    names: set[str] = set()
    rows = SamlGroupMapping.objects.filter(group=group, provider=provider)
    for mapping in rows.select_related("environment"):
        names |= _holders(mapping.environment, mapping.prefix, mapping.role, provider).keys()
    now = _holders(environment, prefix, role, provider)
    changes = [Change(username=name, before=now.get(name, ""), after=role) for name in sorted(names)]
    return [change for change in changes if not change.before or _rank(change.before) < _rank(role)]


def changed_by_removal(*, actor: Principal, mapping: SamlGroupMapping) -> list[Change]:
    """Return whose role the end of a mapping would change. Raises Forbidden."""
    require(actor=actor, action=Action.SAML_MAPPING_CHANGE, environment=None)
    same = SamlGroupMapping.objects.filter(
        environment=mapping.environment, prefix=mapping.prefix, provider=mapping.provider
    )
    others = [
        other
        for other in same.exclude(pk=mapping.pk)
        if mapping.environment_id is not None or other.role == mapping.role
    ]
    next_role = max((other.role for other in others), key=_rank, default="")
    holders = _holders(mapping.environment, mapping.prefix, mapping.role, mapping.provider)
    by_others = tuple(sorted({other.group for other in others}))
    return [
        Change(username=name, before=role, after=next_role if by_others else "", by_others=by_others)
        for name, role in sorted(holders.items())
        if role == mapping.role
    ]


def _holders(
    environment: Environment | None, prefix: str, role: str, provider: OidcProvider | None
) -> dict[str, str]:
    """Return the people with access at one place by single sign-on through a provider, and their roles."""
    users = User.objects.exclude(saml_issuer__startswith=OIDC_ISSUER)
    if provider is not None:
        users = User.objects.filter(saml_issuer=provider.subject_issuer)
    if environment is None:
        return dict(users.filter(role=role, role_source=Source.SAML).values_list("username", "role"))
    rows: Iterable[Membership] = Membership.objects.filter(
        environment=environment, prefix=prefix, source=Source.SAML, user__in=users
    ).select_related("user")
    return {row.user.username: row.role for row in rows if row.user}


def _rank(role: str) -> int:
    """Return how much a role is; those of the installation are of one rank."""
    return 0 if role in INSTALLATION_ROLES else Role(role).rank
