"""The one place that decides who may do what, by a table of permissions that denies by default.

A grant for a prefix reaches the names under it and nothing that concerns the environment as a whole, save
seeing that it exists.
"""

from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from django.db.models import Q

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import NIL, Actor, ActorKind
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.db.conditions import any_of
from environments_app.authorization.permissions import (
    ADMIN_ACTIONS,
    ADMIN_TOKEN_ACTIONS,
    ANY_PREFIX,
    AUDITOR_ACTIONS,
    BY_SCOPE,
    OF_A_SECRET,
    ROLE_ACTIONS,
)
from environments_app.errors import AdministratorsOnly, ConfirmationNeeded, Forbidden, Invisible, Suspended
from environments_app.models import Environment, Role

_NOTHING: Final = Q(pk__in=())
_LIVING: Final = Q(deleted_at__isnull=True)
# All that may be done with an environment that is deleted.
_OF_DELETED: Final = frozenset({Action.ENVIRONMENT_RESTORE})
SUSPENDED: Final = (
    "This access is suspended: an administrator replaced what this account signs in with, or mapped "
    "the group that grants it. Names can be seen; a manager of the environment confirms the rest, on its "
    "page of access."
)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A role in an environment, for the names under `prefix` (empty: all)."""

    environment_id: int
    environment_uuid: UUID
    environment_name: str
    role: Role
    prefix: str
    # The original role of a suspended grant; `role` is then that of a viewer.
    held: Role | None = None

    def covers(self, name: str) -> bool:
        """Return whether a name lies under the prefix, by whole segments."""
        return self.reaches(self.prefix, name)

    @staticmethod
    def reaches(prefix: str, name: str) -> bool:
        """Return whether a name lies under a prefix, by whole segments."""
        return not prefix or name == prefix or name.startswith(f"{prefix}/")


# What a personal token permits at most: it neither grants access nor destroys, whatever its person may do.
_MOST_PERSONAL: Final = Role.EDITOR


@dataclass(frozen=True, kw_only=True)
class TokenScope:
    """What a personal token reaches of its person's rights: one environment (None: all), and a prefix."""

    token: UUID
    environment_id: int | None = None
    prefix: str = ""

    def narrowed(self, grant: Grant) -> Grant | None:
        if self.environment_id not in {None, grant.environment_id}:
            return None
        role = min(grant.role, _MOST_PERSONAL, key=lambda each: each.rank)
        if Grant.reaches(grant.prefix, self.prefix):
            return replace(grant, role=role, prefix=self.prefix)
        return replace(grant, role=role) if Grant.reaches(self.prefix, grant.prefix) else None


@dataclass(frozen=True, kw_only=True)
class Principal(Actor):
    """An actor together with everything it has been granted, as of now."""

    is_admin: bool = False
    is_auditor: bool = False
    provisions: bool = False
    grants: tuple[Grant, ...] = ()
    confirmed: bool = True  # False for a session without a fresh proof of identity.
    # Whether another person may be able to sign in as this user; `trusted_in` names the environments whose
    # managers have confirmed the account since.
    suspended: bool = False
    trusted_in: frozenset[int] = frozenset()
    # The approval that is being carried out, if any; the approval gate proves it.
    approval: UUID | None = None
    # The personal token by which a person acts, or the key of the row of their session, if any.
    scope: TokenScope | None = None
    session: str | None = None

    @property
    def sees_installation(self) -> bool:
        return self.is_admin or self.is_auditor

    def carrying(self, approval: UUID) -> "Principal":
        return replace(self, approval=approval)

    def within(self, scope: TokenScope, *, via: str) -> "Principal":
        """Return the same person by a personal token: never with more rights, and administering nothing."""
        grants = tuple(filter(None, map(scope.narrowed, self.grants)))
        return replace(self, is_admin=False, is_auditor=False, grants=grants, scope=scope, via=via)

    def proven(self) -> "Principal":
        """Return the same principal, whose person has just shown the password and the second factor."""
        return replace(self, confirmed=True)


def allows(principal: Principal, action: Action, *, environment_id: int | None, name: str = "") -> bool:
    """Decide whether a principal may do something; `environment_id` None means the installation.

    `name` is the secret's name, or a prefix such as the scope of a target; acts without a name
    concern all of the environment, so that a grant for a prefix does not suffice.
    """
    if action in installation_actions(principal):
        return True
    return grants_allow(principal, action, environment_id=environment_id, name=name)


def grants_allow(principal: Principal, action: Action, *, environment_id: int | None, name: str = "") -> bool:
    """Decide by the grants alone, leaving aside what administrators may do."""
    return any(
        _permits(grant, action, name) for grant in principal.grants if grant.environment_id == environment_id
    )


def installation_actions(principal: Principal) -> frozenset[Action]:
    """Return what the role in the installation permits, in every environment and outside of them."""
    if principal.is_admin:
        return ADMIN_TOKEN_ACTIONS if principal.kind is ActorKind.TOKEN else ADMIN_ACTIONS
    if principal.provisions:
        return frozenset({Action.USER_PROVISION})
    return AUDITOR_ACTIONS if principal.is_auditor else frozenset()


def require(
    *,
    actor: Principal,
    action: Action,
    environment: Environment | None,
    name: str = "",
    object: AuditObject | None = None,
) -> None:
    """Let an act pass, or record the denial in a transaction of its own and refuse.

    Call it outside `atomic()`: a denial must survive the request's rollback. `object` is what
    the audit log names, by default the environment.

    Raises Invisible if the actor may not even see what it asks for, Forbidden if it sees it
    (Suspended where only a suspension is in the way, AdministratorsOnly outside environments), and
    RuntimeError for a denial inside a transaction. A deleted environment is as one that does not exist.
    """
    environment_id = environment.pk if environment else None
    if environment and environment.deleted_at is not None and action not in _OF_DELETED:
        raise Invisible("Not found.")
    if allows(actor, action, environment_id=environment_id, name=name):
        return
    suspended = is_suspended(actor, action, environment_id, name)
    reason = "suspended" if suspended else ""
    record_denial(
        actor=actor, action=action, environment=environment, name=name, object=object, reason=reason
    )
    if suspended:
        raise Suspended(SUSPENDED)
    seeing = Action.SECRET_VIEW if name else Action.ENVIRONMENT_VIEW
    if environment and not allows(actor, seeing, environment_id=environment_id, name=name):
        raise Invisible("Not found.")
    if environment is None:
        raise AdministratorsOnly("Only administrators can do this.")
    raise Forbidden("You don't have permission to do this.")


def require_confirmed(actor: Principal) -> None:
    """Let pass sessions with a fresh proof of identity, and programs; raises ConfirmationNeeded.

    A browser that was left open, or a session that was stolen, shall not open many values at once.
    """
    if not actor.confirmed:
        raise ConfirmationNeeded("Confirm your password at /confirm, then try again.")


def require_verified_account(actor: Principal, action: Action, *, environment: Environment) -> None:
    """Refuse to break the glass by an account that may be in other hands than its person's.

    Raises Suspended, recorded, until a manager of the environment has confirmed it.
    """
    if actor.suspended and environment.pk not in actor.trusted_in:
        record_denial(actor=actor, action=action, environment=environment, reason="suspended")
        raise Suspended(SUSPENDED)


def require_unsuspended(actor: Principal, action: Action) -> None:
    """Refuse an act of an account that another person may control. Raises Suspended."""
    if actor.suspended:
        record_denial(actor=actor, action=action, environment=None, reason="suspended")
        raise Suspended(SUSPENDED)


def visible(actor: Principal, action: Action, column: str = "name") -> Q:
    """Return the condition on rows (environment_id, `column`) for which `allows` is true.

    A secret has a name; of a target, the scope counts as one.
    """
    if action in installation_actions(actor):
        return Q(environment__deleted_at__isnull=True)
    grants = [grant for grant in actor.grants if action in ROLE_ACTIONS[grant.role]]
    whole = {grant.environment_id for grant in grants if not grant.prefix}
    return any_of(
        Q(environment_id__in=sorted(whole)) if whole else _NOTHING,
        *(
            Q(environment_id=grant.environment_id) & _under(grant.prefix, column)
            for grant in grants
            if grant.environment_id not in whole
        ),
    )


def visible_environments(actor: Principal) -> Q:
    """Return the condition on environments that the actor may see."""
    if actor.sees_installation:
        return _LIVING
    return Q(pk__in=sorted({grant.environment_id for grant in actor.grants}))


def environments_for(actor: Principal, action: Action) -> Q | None:
    """Return the condition on environments for all of which `allows` is true; None if for none."""
    if action in installation_actions(actor):
        return _LIVING
    places = {grant.environment_id for grant in actor.grants if _permits(grant, action, "")}
    return Q(pk__in=sorted(places)) if places else None


class AuditLogPolicy:
    """Decides who may read which streams of the audit log (settings.KEEPER_AUDIT_ACCESS_POLICY)."""

    def readable_streams(self, actor: Actor) -> list[str] | None:
        """Return the names of the streams that an actor may read; None means all of them."""
        if not isinstance(actor, Principal):
            return []
        if actor.sees_installation:
            return None
        managed = (grant for grant in actor.grants if _permits(grant, Action.TRAIL_VIEW, ""))
        names = (streams.environment_stream(grant.environment_uuid) for grant in managed)
        return list(dict.fromkeys(names))

    def own_events(self, actor: Actor) -> Q:
        """Return the condition on what an actor did themselves: what they may read of it.

        A denied act is recorded with what it found. It is theirs to read if they may know the object: else
        the log would answer what the denial did not. A personal token reads what lies in its scope.
        """
        if not isinstance(actor, Principal):
            return _NOTHING
        if actor.sees_installation:
            return Q()
        scoped = actor.scope is not None and bool(actor.scope.environment_id or actor.scope.prefix)
        each = []
        for grant in actor.grants:
            known = Q(object_kind="secret")
            if grant.prefix:
                known &= _under(grant.prefix, "object_name")
            if not (scoped and grant.prefix):
                # Of the environment, or of a name as it was typed.
                known |= Q(object_kind="environment")
            each.append(known & Q(stream__unindexed=streams.environment_stream(grant.environment_uuid)))
        reached = any_of(_NOTHING, *each)
        if scoped:
            return reached
        reached |= Q(object_uuid=actor.uuid) | Q(object_kind__in=["deployment", "report", "trail"])
        reached |= Q(stream__unindexed__in=self.readable_streams(actor) or [])
        return ~Q(outcome=Outcome.DENIED) | reached

    def named_streams(self, actor: Actor) -> dict[str, str]:
        """Return the streams of the environments that the actor may read, by the environment's name.

        Who reads the whole log finds those of a deleted environment too: its name is taken while it is kept.
        """
        if not isinstance(actor, Principal):
            return {}
        places = environments_for(actor, Action.TRAIL_VIEW)
        rows = Environment.objects.filter(places) if places is not None else Environment.objects.none()
        if Action.TRAIL_VIEW in installation_actions(actor):
            rows = Environment.every.all()
        return {
            name: streams.environment_stream(uuid)
            for name, uuid in rows.order_by("position", "name").values_list("name", "uuid")
        }


def _permits(grant: Grant, action: Action, name: str) -> bool:
    if action not in ROLE_ACTIONS[grant.role]:
        return False
    if action in ANY_PREFIX:
        return True
    # Only acts on secrets, and the use of targets by their scope, know names; whatever else is
    # asked concerns the environment as a whole.
    return grant.covers(name if action.startswith(OF_A_SECRET) or action in BY_SCOPE else "")


def _under(prefix: str, column: str) -> Q:
    """Return the condition on names under a prefix: a range, not LIKE, which ignores case on SQLite."""
    # "0" follows "/".
    return Q((column, prefix)) | Q((f"{column}__gte", f"{prefix}/"), (f"{column}__lt", f"{prefix}0"))


def is_suspended(actor: Principal, action: Action, environment_id: int | None, name: str) -> bool:
    """Return whether the act is one that a grant allowed before it was suspended."""
    return any(
        _permits(replace(grant, role=grant.held), action, name)
        for grant in actor.grants
        if grant.held and grant.environment_id == environment_id
    )


def record_denial(
    *,
    actor: Principal,
    action: Action,
    environment: Environment | None,
    name: str = "",
    object: AuditObject | None = None,
    reason: str = "",
) -> None:
    """Record that an act was refused, for those whose refusal depends on more than the table.

    Committed when this returns: call it outside `atomic()`. `reason` is a word of ours.
    """
    if environment is None:
        stream, default = streams.SYSTEM, AuditObject("deployment", NIL, "")
    else:
        stream = streams.environment_stream(environment.uuid)
        default = AuditObject("environment", environment.uuid, environment.name)
    commit_record(
        actor=actor,
        action=action,
        stream=stream,
        object=object or default,
        outcome=Outcome.DENIED,
        details={**({"name": name} if name else {}), **({"reason": reason} if reason else {})},
    )
