"""Who may approve: another user, who manages the environment; never a token."""

from collections.abc import Collection, Iterable
from uuid import UUID

from django.db.models import Q, QuerySet

from audit_app.events.actions import Action
from audit_app.events.actors import NIL, Actor, ActorKind
from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import ADMIN_ACTIONS, Principal, grants_allow
from environments_app.authorization.principals import user_principal
from environments_app.models import Approval, ApprovalEntry, EntryKind, Environment, Role, User, UserRole


def approvers_among(
    actor: Principal, *, environment: Environment, action: str, behind: Collection[UUID], hands: CustodyGraph
) -> bool:
    """Return whether the actor may approve: a manager there, never a token, never the requester.

    `behind` are the people behind the request. Administrators may approve what they could do themselves, so
    an environment is never without an approver, unless one person could be both: administrators create
    accounts.
    """
    if actor.kind is not ActorKind.USER or actor.uuid in behind:
        return False
    if grants_allow(actor, Action.APPROVAL_DECIDE, environment_id=environment.pk):
        return True
    trusted = not actor.suspended or environment.pk in actor.trusted_in
    administers = actor.is_admin and trusted and action in ADMIN_ACTIONS
    return administers and not hands.are_one(actor.uuid, behind)


def can_approve(actor: Principal, approval: Approval, hands: CustodyGraph) -> bool:
    """Return whether the actor may decide about this request, in any state."""
    return approvers_among(
        actor,
        environment=approval.environment,
        action=approval.action,
        behind=_behind(approval, hands),
        hands=hands,
    )


def hands_of(requesters: Iterable[Actor]) -> CustodyGraph:
    """Return who is behind the tokens among those who ask, looked up by one statement at most."""
    hands = CustodyGraph()
    hands.learn(requester.uuid for requester in requesters if requester.kind is ActorKind.TOKEN)
    return hands


def approver_still_eligible(approval: Approval) -> bool:
    """Return whether as many people as needed could still approve now; the host's operator always could."""
    if approval.decided_by_uuid is None:
        return False
    if approval.decided_by_uuid == NIL:
        return True
    needed, hands = approval.environment.approvals_needed, CustodyGraph()
    given = {approval.decided_by_uuid} | (approvals_given(approval).keys() if needed > 1 else set())
    people = User.objects.filter(uuid__in=given)
    return needed <= sum(can_approve(user_principal(person), approval, hands) for person in people)


def approvals_given(approval: Approval) -> dict[UUID, str]:
    """Return who has approved a request so far, by uuid, where several people must."""
    if not approval.pk:
        return {}
    rows = ApprovalEntry.objects.filter(approval=approval, kind=EntryKind.APPROVAL).select_related("approval")
    return {row.author_uuid: row.author_name for row in verified_rows(rows)}


def people_who_decide(approval: Approval) -> list[User]:
    """Return all who may decide about a request now, by name; not those who have approved it already."""
    hands, given = CustodyGraph(), approvals_given(approval)
    return [
        user
        for user in possible_managers(approval.environment)
        if user.uuid not in given and can_approve(user_principal(user), approval, hands)
    ]


def people_to_tell(approval: Approval) -> list[User]:
    """Return whom to notify of a pending request: managers, or administrators if no manager may decide."""
    people = people_who_decide(approval)
    environment_id = approval.environment.pk
    managers = [
        user
        for user in people
        if grants_allow(user_principal(user), Action.APPROVAL_DECIDE, environment_id=environment_id)
    ]
    return managers or people


def possible_managers(environment: Environment) -> QuerySet[User]:
    """Return the users that a row makes managers of an environment or administrators, by name.

    The policy decides whether the row counts now: it may be forged, suspended or expired.
    """
    manages = Q(memberships__environment=environment, memberships__role=Role.MANAGER)
    through = Q(groups__memberships__environment=environment, groups__memberships__role=Role.MANAGER)
    people = User.objects.filter(manages | through | Q(role=UserRole.ADMIN), is_active=True)
    return people.distinct().order_by("username")


def _behind(approval: Approval, hands: CustodyGraph) -> set[UUID]:
    """Return the people behind a request: its user, or its token and the issuers, and the beneficiary."""
    of_a_token = approval.requester.kind is ActorKind.TOKEN
    behind = hands.who_asks(approval.requester_uuid) if of_a_token else {approval.requester_uuid}
    asked_by = approval.arguments.get("asked_by") if isinstance(approval.arguments, dict) else None
    return behind | ({UUID(str(asked_by))} if asked_by else set())
