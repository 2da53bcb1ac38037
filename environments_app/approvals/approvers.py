"""Who may approve: another person, who manages the environment; never a token."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import NIL, ActorKind
from audit_app.integrity.row_authentication import verified_rows
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.permissions import ADMIN_ACTIONS
from environments_app.authorization.policy import Principal, grants_allow
from environments_app.authorization.principals import user_principal
from environments_app.models import Approval, ApprovalEntry, EntryKind, Environment, Role, User, UserRole

ONE_PERSON: Final = "one person"


def why_not_approver(actor: Principal, approval: Approval, custody: CustodyGraph) -> str:
    """Return why the actor may not decide about this request, in any state, as a word; "" if they may.

    A manager there may, and an administrator what they could do themselves. No account may
    that could have made the request as well, by another account, a token or a trust.
    """
    if actor.kind is not ActorKind.USER:
        return "program"
    environment = approval.environment
    manages = grants_allow(actor, Action.APPROVAL_DECIDE, environment_id=environment.pk)
    trusted = not actor.suspended or environment.pk in actor.trusted_in
    administers = actor.is_admin and trusted and approval.action in ADMIN_ACTIONS
    if not manages and not administers:
        return "no approver"
    behind = behind_request(approval, custody)
    if actor.uuid in _askers(approval):
        return "requester"
    mine = custody.behind(actor.uuid, environment=environment)
    return ONE_PERSON if mine & behind else ""


def can_approve(actor: Principal, approval: Approval, custody: CustodyGraph) -> bool:
    """Return whether the actor may decide about this request, in any state."""
    return not why_not_approver(actor, approval, custody)


def behind_request(approval: Approval, custody: CustodyGraph) -> set[UUID]:
    """Return all who are behind a request: behind its requester and its beneficiary, when it was made."""
    approval_uuid = approval.uuid if approval.pk else None
    return {
        uuid
        for asker in _askers(approval)
        for uuid in custody.behind(asker, environment=approval.environment, asked=approval_uuid)
    }


def custody_of(actor: Principal, approvals: Collection[Approval]) -> CustodyGraph:
    """Return what the audit log has about the requesters and an approver, looked up at once."""
    custody = CustodyGraph()
    if approvals:
        custody.learn({actor.uuid} | {uuid for row in approvals for uuid in (row.uuid, row.requester_uuid)})
    return custody


def approver_still_eligible(approval: Approval) -> bool:
    """Return whether as many people as needed could still approve now; the host's operator always could."""
    if approval.decided_by_uuid is None:
        return False
    if approval.decided_by_uuid == NIL:
        return True
    needed = approval.environment.approvals_needed
    given = approvals_given(approval) if needed > 1 else {}
    if not lapsed(approval, [(approval.decided_by_uuid, approval.decided_at)]):
        given[approval.decided_by_uuid] = approval.decided_by_name
    return needed <= len(_who_count(approval, given))


def lapsed(approval: Approval, given: Collection[tuple[UUID, datetime | None]]) -> set[UUID]:
    """Return whose approvals of a request, given with their times, count no more: their accounts ended since.

    Also those of people who are back. After the request is over, nothing lapses.
    """
    times = [at for _, at in given if at is not None]
    if not times:
        return set()
    events = AuditEvent.objects.filter(
        object_uuid__in={uuid for uuid, _ in given},
        action__unindexed__in=[Action.USER_CHANGE],
        outcome=Outcome.ALLOWED,
        at__gte=min(times),
    )
    if approval.finished_at is not None:
        events = events.filter(at__lte=approval.finished_at)
    ended: dict[UUID, datetime] = {}
    for event in events.order_by("id"):
        details = parsed_details(event.details)
        # The last administrator is suspended in place of an end.
        if details.get("is_active") is False or details.get("suspended") is True:
            ended[event.object_uuid] = event.at
    return {uuid for uuid, at in given if at is not None and uuid in ended and at <= ended[uuid]}


def approvals_given(approval: Approval) -> dict[UUID, str]:
    """Return who has approved a request so far and not left since, by uuid, where several people must."""
    rows = _latest_entries(approval)
    gone = lapsed(approval, [(row.author_uuid, row.at) for row in rows])
    return {row.author_uuid: row.author_name for row in rows if row.author_uuid not in gone}


def lapsed_names(approval: Approval) -> list[str]:
    """Return the names of those whose approvals of an open request count no more, as they left since."""
    given = {row.author_uuid: (row.author_name, row.at) for row in _latest_entries(approval)}
    if approval.decided_by_uuid is not None and approval.decided_at is not None:
        given[approval.decided_by_uuid] = (approval.decided_by_name, approval.decided_at)
    gone = lapsed(approval, [(uuid, at) for uuid, (_, at) in given.items()])
    return sorted(given[uuid][0] for uuid in gone)


def _latest_entries(approval: Approval) -> Iterable[ApprovalEntry]:
    """Return the last approval of each of several people; who came back may have given two."""
    if not approval.pk:
        return []
    rows = ApprovalEntry.objects.filter(approval=approval, kind=EntryKind.APPROVAL).order_by("id")
    return {row.author_uuid: row for row in verified_rows(rows.select_related("approval"))}.values()


def approvals_that_count(approval: Approval) -> dict[UUID, str]:
    """Return who of those who approved could still do so, by uuid; one account of each person."""
    given = approvals_given(approval)
    return {uuid: given[uuid] for uuid in _who_count(approval, given)}


def _who_count(approval: Approval, given: Collection[UUID]) -> list[UUID]:
    custody, counted = CustodyGraph(), list[UUID]()
    people = {person.uuid: person for person in User.objects.filter(uuid__in=given)}
    for uuid in given:
        person = people.get(uuid)
        if person is None or not can_approve(user_principal(person), approval, custody):
            continue
        if not custody.are_one(uuid, counted, environment=approval.environment):
            counted.append(uuid)
    return counted


def people_who_decide(approval: Approval) -> list[User]:
    """Return all who may decide about a request now, by name; not those who have approved it already."""
    approvals, people = approvals_given(approval), list(possible_managers(approval.environment))
    custody = CustodyGraph()
    custody.learn({approval.uuid, approval.requester_uuid, *(user.uuid for user in people)})
    return [
        user
        for user in people
        if user.uuid not in approvals and can_approve(user_principal(user), approval, custody)
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


def _askers(approval: Approval) -> set[UUID]:
    """Return the requester, and the account that asked for the access that the request grants."""
    asked_by = approval.arguments.get("asked_by") if isinstance(approval.arguments, dict) else None
    return {approval.requester_uuid} | ({UUID(str(asked_by))} if asked_by else set())
