"""Finds out what an actor has been granted, counting genuine and unexpired rows only."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from django.db.models import BigIntegerField, DateTimeField, Q, QuerySet, UUIDField
from django.utils import timezone

from audit_app.events.actors import NIL, Actor, ActorKind
from audit_app.integrity.row_authentication import verified_rows
from core.clock import SLACK
from core.db.prepared import Argument, PreparedQuery
from core.network.client_address import are_within
from environments_app.authorization.policy import Grant, Principal, TokenScope
from environments_app.models import (
    AccessConfirmation,
    GroupMember,
    Membership,
    PersonalToken,
    Role,
    ServiceToken,
    TokenRole,
    Trust,
    TrustRole,
    User,
)


def user_principal(
    user: User, *, address: str = "", request_id: str = "", confirmed: bool = True
) -> Principal:
    """Return what a person may do now, in two queries, or three if the account was suspended.

    Someone inactive, with a temporary password, or whose row was not written by Keeper has no rights at all.
    """
    counts = _counts(user)
    trusted_in = _trusted_in(user, user.suspended_at) if counts and user.suspended_at else frozenset()
    return Principal(
        kind=ActorKind.USER,
        uuid=user.uuid,
        name=user.username,
        address=address,
        request_id=request_id,
        confirmed=confirmed,
        is_admin=counts and user.is_admin,
        is_auditor=counts and user.is_auditor,
        # Memberships of an auditor count for nothing: an auditor only looks.
        grants=_grants_of(user, trusted_in) if counts and not user.is_auditor else (),
        suspended=user.suspended_at is not None,
        trusted_in=trusted_in,
    )


def role_bearer(user: User) -> Principal:
    """Return a person with what the role in the installation permits, and no grants; it asks no query."""
    counts = _counts(user)
    return Principal(
        kind=ActorKind.USER,
        uuid=user.uuid,
        name=user.username,
        is_admin=counts and user.is_admin,
        is_auditor=counts and user.is_auditor,
    )


def _counts(user: User) -> bool:
    return user.is_active and user.temporary_since is None and bool(verified_rows([user]))


def personal_principal(token: PersonalToken, *, address: str = "", request_id: str = "") -> Principal:
    """Return what a person may do now by a genuine personal token, loaded along with its person."""
    scope = TokenScope(token=token.uuid, environment_id=token.environment_id, prefix=token.prefix)
    person = user_principal(token.user, address=address, request_id=request_id)
    return person.within(scope, via=f"kpr on {token.name}")


def token_principal(token: ServiceToken, *, address: str = "", request_id: str = "") -> Principal:
    """Return what a service token may do now; its environment must be loaded along with it.

    A revoked, expired or forged token has no rights at all.
    """
    counts = token.is_live and bool(verified_rows([token])) and not is_ended_by_origin(token)
    return (
        token_bearer(token, grants_on(token), address=address, request_id=request_id)
        if counts
        else Principal(
            kind=ActorKind.TOKEN, uuid=token.uuid, name=token.name, address=address, request_id=request_id
        )
    )


class DerivedToken(Protocol):
    """By which trust or of which token it was made, when and with what, of its row or of its columns."""

    @property
    def trust_uuid(self) -> Any: ...
    @property
    def parent_uuid(self) -> Any: ...
    @property
    def created_at(self) -> Any: ...
    @property
    def environment_id(self) -> Any: ...
    @property
    def role(self) -> Any: ...
    @property
    def prefix(self) -> Any: ...
    @property
    def cidrs(self) -> Any: ...


_TRUST_BY_UUID: Final = PreparedQuery(
    lambda: Trust.objects.select_related("environment").filter(uuid=Argument(0, UUIDField())).order_by()
)


def is_ended_by_origin(token: DerivedToken) -> bool:
    """Return whether a token opens nothing, because of what it was made by."""
    return is_ended_by_trust(token) or is_ended_by_parent(token)


def is_ended_by_parent(token: DerivedToken) -> bool:
    """Return whether a child opens nothing, because of its parent; never for a token without one.

    The parent ended, was edited outside Keeper, or has less than the child by now; or the child has a role
    that no child has.
    """
    if token.parent_uuid is None:
        return False
    if token.role not in TrustRole.values:
        return True
    parent = _TOKEN_BY_UUID.first(token.parent_uuid)
    return (
        parent is None
        or not parent.is_live
        or not _has_all_of(parent, token)
        or not verified_rows([parent])
        or is_ended_by_origin(parent)
    )


def _has_all_of(parent: DerivedToken, token: DerivedToken) -> bool:
    inside = not parent.prefix or f"{token.prefix}/".startswith(f"{parent.prefix}/")
    has_role = parent.role == token.role or Role(parent.role).rank > Role(token.role).rank
    place = parent.environment_id == token.environment_id
    return place and inside and has_role and are_within(token.cidrs, parent.cidrs)


def is_ended_by_trust(token: DerivedToken) -> bool:
    """Return whether a workload's token opens nothing, because of its trust; never for a token without one.

    The trust was deleted, disabled or edited outside Keeper, or changed after the token was issued.
    """
    if token.trust_uuid is None:
        return False
    trust = _TRUST_BY_UUID.first(token.trust_uuid)
    return (
        trust is None
        or not trust.is_live
        or token.created_at < trust.valid_from
        or not verified_rows([trust])
    )


class TokenIdentity(Protocol):
    """Who a token is, of its row or of its columns."""

    @property
    def uuid(self) -> Any: ...
    @property
    def name(self) -> Any: ...
    @property
    def role(self) -> Any: ...
    @property
    def environment_id(self) -> Any: ...


def token_bearer(
    token: TokenIdentity, grants: tuple[Grant, ...], *, address: str = "", request_id: str = ""
) -> Principal:
    """Return whom a token that is live and genuine stands for; `grants` are what `grants_on` it gave."""
    return Principal(
        kind=ActorKind.TOKEN,
        uuid=token.uuid,
        name=token.name,
        address=address,
        request_id=request_id,
        is_admin=token.role == TokenRole.ADMIN and token.environment_id is None,
        provisions=token.role == TokenRole.PROVISIONER and token.environment_id is None,
        grants=grants,
    )


def system_principal(
    *, grants: tuple[Grant, ...] = (), is_admin: bool = False, request_id: str = ""
) -> Principal:
    """Return Keeper itself, within the grants stored on a target or policy.

    `is_admin` is for management commands: their user has a shell on the host and operates Keeper.
    """
    return Principal(
        kind=ActorKind.SYSTEM,
        uuid=NIL,
        name="system",
        request_id=request_id,
        is_admin=is_admin,
        grants=grants,
    )


def anonymous_principal(address: str, request_id: str = "") -> Principal:
    """Return the unauthenticated principal, with no rights."""
    return Principal(
        kind=ActorKind.ANONYMOUS, uuid=NIL, name="anonymous", address=address, request_id=request_id
    )


_TOKEN_BY_UUID: Final = PreparedQuery(
    lambda: (
        ServiceToken.objects.select_related("environment").filter(uuid=Argument(0, UUIDField())).order_by()
    )
)
_USER_BY_UUID: Final = PreparedQuery(lambda: User.objects.filter(uuid=Argument(0, UUIDField())).order_by())


def load_principal(actor: Actor) -> Principal:
    """Ask again what an actor may do, when its queued job runs.

    An actor that no longer exists has no rights; the system has none but what its job stored.
    """
    principal: Principal | None = None
    if actor.kind is ActorKind.USER:
        user = _USER_BY_UUID.first(actor.uuid)
        principal = user_principal(user, address=actor.address, request_id=actor.request_id) if user else None
    elif actor.kind is ActorKind.TOKEN:
        token = _TOKEN_BY_UUID.first(actor.uuid)
        principal = (
            token_principal(token, address=actor.address, request_id=actor.request_id) if token else None
        )
    return principal or Principal(
        kind=actor.kind, uuid=actor.uuid, name=actor.name, address=actor.address, request_id=actor.request_id
    )


def refresh_principal(actor: Principal, user: User | None = None) -> Principal:
    """Return the actor with their present rights: long work checks these again before it continues.

    Keeper itself keeps the grants of its job. `user` is the actor's account, where it was read just now.
    """
    if actor.kind not in {ActorKind.USER, ActorKind.TOKEN}:
        return actor
    present = (
        user_principal(user, address=actor.address, request_id=actor.request_id)
        if user
        else load_principal(actor)
    )
    if actor.scope is not None:
        present = present.within(actor.scope, via=actor.via)
    return replace(present, confirmed=actor.confirmed, approval=actor.approval, session=actor.session)


def grants_ignoring_status(user: User) -> Principal:
    """Return what a person's rows grant, whatever state the account is in: for who looks at it.

    Disabled, suspended or not, this is what the person can have read until a moment ago.
    """
    grants = (
        replace(grant, role=grant.held or grant.role, held=None) for grant in _grants_of(user, frozenset())
    )
    return Principal(kind=ActorKind.USER, uuid=user.uuid, name=user.username, grants=tuple(grants))


_PLACES_OF: Final = PreparedQuery(
    lambda: (
        GroupMember.objects.filter(user_id=Argument(0, BigIntegerField()))
        .select_related("user", "group")
        .order_by()
    )
)


def _memberships(whose: Q, now: Any, latest: Any) -> "QuerySet[Membership]":
    """Return memberships that have not ended; one that ends must have been made by `latest`."""
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=now, created_at__lte=latest)
    related = ("environment", "user", "group")
    return Membership.objects.filter(whose, unexpired).select_related(*related).order_by("id")


_OWN_MEMBERSHIPS: Final = PreparedQuery(
    lambda: _memberships(
        Q(user_id=Argument(0, BigIntegerField())), Argument(1, DateTimeField()), Argument(2, DateTimeField())
    )
)


def _memberships_of(user: User) -> Iterable[Membership]:
    """Return a person's memberships, and those of the groups that a genuine row puts the person in."""
    groups = [place.group_id for place in verified_rows(_PLACES_OF.all(user.pk))]
    now = timezone.now()
    if not groups:
        return _OWN_MEMBERSHIPS.all(user.pk, now, now + SLACK)
    return _memberships(Q(user=user) | Q(group_id__in=groups), now, now + SLACK)


def principal_among_deleted(actor: Principal) -> Principal:
    """Return the same person with what they may do in deleted environments, and nothing else."""
    nobody = Principal(kind=actor.kind, uuid=actor.uuid, name=actor.name, confirmed=actor.confirmed)
    user = _USER_BY_UUID.first(actor.uuid) if actor.kind is ActorKind.USER and actor.scope is None else None
    if user is None or user.is_auditor or not _counts(user):
        return nobody
    # Of a suspended account each grant is suspended: it restores nothing.
    return replace(nobody, grants=_grants_of(user, frozenset(), deleted=True))


def living_memberships(user: User, *, deleted: bool = False) -> list[Membership]:
    """Return a person's memberships, own and by groups, in environments that are live, or in deleted ones."""
    return [
        membership
        for membership in verified_rows(_memberships_of(user))
        if (membership.environment.deleted_at is not None) is deleted
        and verified_rows([membership.environment])
    ]


def _grants_of(user: User, trusted_in: frozenset[int], *, deleted: bool = False) -> tuple[Grant, ...]:
    return tuple(
        _grant(
            membership,
            suspended=membership.suspended_at is not None
            or (user.suspended_at is not None and membership.environment_id not in trusted_in),
        )
        for membership in living_memberships(user, deleted=deleted)
    )


def _grant(membership: Membership, *, suspended: bool) -> Grant:
    role = Role(membership.role)
    return Grant(
        environment_id=membership.environment_id,
        environment_uuid=membership.environment.uuid,
        environment_name=membership.environment.name,
        role=Role.VIEWER if suspended else role,
        prefix=membership.prefix,
        held=role if suspended else None,
    )


def _trusted_in(user: User, since: datetime) -> frozenset[int]:
    """Return the environments whose managers have confirmed an account since it was suspended."""
    rows = AccessConfirmation.objects.filter(user=user, suspended_at=since)
    return frozenset(row.environment_id for row in verified_rows(rows.select_related("environment", "user")))


def grants_on(token: ServiceToken) -> tuple[Grant, ...]:
    """Return what is written on a genuine token; nothing of a decoy, or in a deleted or edited place."""
    environment = token.environment
    if environment is None or token.role == TokenRole.ADMIN or token.decoy or environment.deleted_at:
        return ()
    if not verified_rows([environment]):
        return ()
    return (
        grant_in(
            role=token.role, prefix=token.prefix,
            id=environment.pk, uuid=environment.uuid, name=environment.name,
        ),
    )  # fmt: skip


def grant_in(*, role: str, prefix: str, id: int, uuid: UUID, name: str) -> Grant:
    """Return what a token grants in its environment, which has an id, a uuid and a name."""
    return Grant(
        environment_id=id, environment_uuid=uuid, environment_name=name, role=Role(role), prefix=prefix
    )
