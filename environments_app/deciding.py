"""Who may be the second person: somebody else, who manages the environment, and never a token."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q

from audit_app.actions import Action
from audit_app.actors import NIL, Actor, ActorKind
from environments_app.models import Approval, Environment, Role, ServiceToken, User, UserRole
from environments_app.policy import ADMIN_ACTIONS, Principal, grants_allow
from environments_app.principals import user_principal


def may_decide(
    actor: Principal, *, environment: Environment, action: str, behind: Iterable[UUID | None]
) -> bool:
    """Say whether somebody may be the second person: a manager there, never a token, never oneself.

    `behind` is who stands behind the request. Administrators may where they might act themselves, so
    that an environment is never without.
    """
    if actor.kind is not ActorKind.USER or actor.uuid in behind:
        return False
    if grants_allow(actor, Action.APPROVAL_DECIDE, environment_id=environment.pk):
        return True
    trusted = not actor.suspended or environment.pk in actor.trusted_in
    return actor.is_admin and trusted and action in ADMIN_ACTIONS


def decides(actor: Principal, approval: Approval, makers: dict[UUID, UUID | None] | None = None) -> bool:
    """Say whether somebody may decide about this request, whatever state it is in.

    `makers` (`makers_of`) saves a look for each request of a token.
    """
    if makers is None:
        makers = makers_of([approval.requester])
    return may_decide(
        actor,
        environment=approval.environment,
        action=approval.action,
        behind=_behind(approval, makers),
    )


def makers_of(requesters: Iterable[Actor]) -> dict[UUID, UUID | None]:
    """Return who made the tokens among those who ask, by the token's uuid, in one query at most."""
    tokens = {requester.uuid for requester in requesters if requester.kind is ActorKind.TOKEN}
    if not tokens:
        return {}
    return dict(ServiceToken.objects.filter(uuid__in=tokens).values_list("uuid", "created_by__uuid"))


def approver_stands(approval: Approval) -> bool:
    """Say whether whoever approved might do so now as well; the host's operator always might."""
    if approval.decided_by_uuid is None:
        return False
    if approval.decided_by_uuid == NIL:
        return True
    person = User.objects.filter(uuid=approval.decided_by_uuid).first()
    return person is not None and decides(user_principal(person), approval)


def people_who_decide(approval: Approval) -> list[User]:
    """Return all who may decide about a request now, by name."""
    makers = makers_of([approval.requester])
    return [
        user
        for user in possible_managers(approval.environment)
        if decides(user_principal(user), approval, makers)
    ]


def people_to_tell(approval: Approval) -> list[User]:
    """Return whom to tell that a request waits: managers, and administrators where no manager may decide."""
    people = people_who_decide(approval)
    environment_id = approval.environment.pk
    managers = [
        user
        for user in people
        if grants_allow(user_principal(user), Action.APPROVAL_DECIDE, environment_id=environment_id)
    ]
    return managers or people


def possible_managers(environment: Environment) -> Iterable[User]:
    """Return whom a row makes a manager of an environment or an administrator, by name.

    Whether it does so now, the policy says: a row may be forged, suspended or past its time.
    """
    manages = Q(memberships__environment=environment, memberships__role=Role.MANAGER)
    through = Q(groups__memberships__environment=environment, groups__memberships__role=Role.MANAGER)
    people = User.objects.filter(manages | through | Q(role=UserRole.ADMIN), is_active=True)
    return people.distinct().order_by("username")


def _behind(approval: Approval, makers: dict[UUID, UUID | None]) -> set[UUID | None]:
    """Return who asks: a person, or a token along with whoever made it, and whom the access is for."""
    behind: set[UUID | None] = {approval.requester_uuid, makers.get(approval.requester_uuid)}
    asked_by = approval.arguments.get("asked_by") if isinstance(approval.arguments, dict) else None
    return behind | ({UUID(str(asked_by))} if asked_by else set())
