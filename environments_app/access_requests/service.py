"""Use cases of access requests: a user requests a role, a manager of the environment answers.

The answer to the requester is the same whether or not the environment exists. A grant is an ordinary
membership, which ends automatically if the request has a duration.
"""

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind, system
from audit_app.integrity.row_authentication import verified_rows
from environments_app.access_requests.decisions import (
    answers,
    checked_minutes,
    checked_text,
    is_own,
    record_step,
    require_open,
    settled,
    tell_managers,
)
from environments_app.approvals.approvers import possible_managers
from environments_app.approvals.service import REJECTION_SHOWN_FOR
from environments_app.authorization.policy import (
    Principal,
    environments_for,
    grants_allow,
    record_denial,
    require,
)
from environments_app.authorization.principals import user_principal
from environments_app.authorization.rows import lock_authentic
from environments_app.environments import memberships
from environments_app.errors import BadName, Conflict, Forbidden, InvalidField, Invisible
from environments_app.models import AccessRequest, Environment, RequestState, User
from environments_app.models.approval import in_time
from environments_app.names import validate_environment_name, validate_prefix

_MAX_OPEN: Final = 20
_BATCH: Final = 200


def submit(
    *,
    actor: Principal,
    environment: str,
    role: str,
    prefix: str = "",
    minutes: int | None = None,
    reason: str = "",
) -> AccessRequest:
    """Request a role in the environment of this name, and notify those who may grant it.

    `minutes` counts from the grant; None requests a role without an end. An equal pending request is
    returned. The result does not reveal whether the environment exists. Raises Forbidden for a program,
    InvalidField, BadName, or Conflict if too many wait.
    """
    person = _person(actor)
    request = AccessRequest(
        environment=next(iter(verified_rows(Environment.objects.filter(name=environment))), None),
        environment_name=_environment_name(environment),
        requester=person,
        role=memberships.parse_role(role),
        prefix=validate_prefix(prefix),
        minutes=checked_minutes(minutes),
        reason=checked_text("reason", reason),
        expires_at=timezone.now() + timedelta(hours=settings.KEEPER_APPROVAL_HOURS),
    )
    return _equal(request) or _store(actor, request)


def visible_requests(actor: Principal) -> QuerySet[AccessRequest]:
    """Return the requests visible to the actor: their own, and those for environments they manage."""
    mine = Q(requester__uuid=actor.uuid) if actor.kind is ActorKind.USER else Q(pk__in=())
    places = environments_for(actor, Action.MEMBER_VIEW)
    managed = Q(environment__in=Environment.objects.filter(places)) if places is not None else Q(pk__in=())
    return _rows().filter(mine | managed)


def waiting_for(actor: Principal) -> list[AccessRequest]:
    """Return the requests that this person may answer now, the oldest first."""
    if actor.kind is not ActorKind.USER:
        return []
    rows = visible_requests(actor).filter(in_time(), state=RequestState.PENDING)
    rows = rows.filter(environment__isnull=False).exclude(requester__uuid=actor.uuid)
    return [row for row in verified_rows(rows.order_by("id")[:_BATCH]) if answers(actor, row)]


def own_requests(actor: Principal) -> QuerySet[AccessRequest]:
    """Return what this person asked for, the newest first."""
    return _rows().filter(requester__uuid=actor.uuid).order_by("-id")


def open_requests(actor: Principal) -> list[AccessRequest]:
    """Return the actor's own requests that wait for an answer, the newest first."""
    waiting = own_requests(actor).filter(in_time(), state=RequestState.PENDING)
    return verified_rows(waiting[:_MAX_OPEN])


def answered_for(actor: Principal) -> list[AccessRequest]:
    """Return what a person asked for and was granted or refused of late, the newest first."""
    if actor.kind is not ActorKind.USER:
        return []
    answered = Q(state__in=(RequestState.GRANTED, RequestState.REJECTED))
    rows = own_requests(actor).filter(answered, decided_at__gt=timezone.now() - REJECTION_SHOWN_FOR)
    return verified_rows(rows[:_MAX_OPEN])


def find_request(*, actor: Principal, id: int) -> AccessRequest:
    """Return a request. Raises Invisible if there is none that the actor may know; a denial is recorded."""
    request = _rows().filter(pk=id).first()
    if request is None:
        raise Invisible("There is no such request.")
    if not is_own(actor, request):
        if request.environment is None:
            raise Invisible("There is no such request.")
        require(
            actor=actor,
            action=Action.MEMBER_VIEW,
            environment=request.environment,
            object=request.audit_object,
        )
    return request


def withdraw(*, actor: Principal, request: AccessRequest) -> AccessRequest:
    """Withdraw the actor's own request; return it as stored. Raises Forbidden, Conflict, Tampered."""
    if not is_own(actor, request):
        record_denial(
            actor=actor,
            action=Action.ACCESS_WITHDRAW,
            environment=request.environment,
            object=request.audit_object,
        )
        raise Forbidden("Only the requester can cancel a request.")
    with lock_authentic(request) as stored:
        require_open(stored)
        _close(actor, stored, RequestState.WITHDRAWN, Action.ACCESS_WITHDRAW)
    return stored


def withdraw_all(*, actor: Actor, requester: User, environment: Environment | None, comment: str) -> int:
    """Withdraw what an ended account asked for in an environment, in the caller's transaction.

    Return how many. `environment` None: the requests that name no environment. A forged row stays.
    """
    rows = _rows().filter(state=RequestState.PENDING, requester=requester, environment=environment)
    count = 0
    for row in verified_rows(rows.order_by("id")):
        with lock_authentic(row) as stored:
            if stored.state == RequestState.PENDING:
                stored.comment = comment
                _close(actor, stored, RequestState.WITHDRAWN, Action.ACCESS_WITHDRAW)
                count += 1
    return count


def expire_due() -> int:
    """Expire unanswered requests; return how many."""
    due = _rows().filter(state=RequestState.PENDING).exclude(in_time())
    rows = verified_rows(due.order_by("id")[:_BATCH])
    for row in rows:
        with lock_authentic(row) as stored:
            if stored.state == RequestState.PENDING:
                _close(system(), stored, RequestState.EXPIRED, Action.ACCESS_EXPIRE)
    return len(rows)


def _rows() -> QuerySet[AccessRequest]:
    return AccessRequest.objects.select_related("environment", "requester", "decided_by")


def _person(actor: Principal) -> User:
    person = memberships.acting_user(actor)
    if actor.is_auditor:
        record_denial(actor=actor, action=Action.ACCESS_ASK, environment=None)
        raise Forbidden(
            "Auditors can't hold access to an environment. Ask an administrator for another role."
        )
    if person is None:
        record_denial(actor=actor, action=Action.ACCESS_ASK, environment=None)
        raise Forbidden("Tokens can't request access. Ask a manager to issue one.")
    return person


def _environment_name(name: str) -> str:
    try:
        return validate_environment_name(name)
    except BadName as error:
        raise InvalidField("environment", error.reason) from error


def _equal(request: AccessRequest) -> AccessRequest | None:
    same = _rows().filter(
        in_time(),
        requester=request.requester,
        environment_name=request.environment_name,
        role=request.role,
        prefix=request.prefix,
        minutes=request.minutes,
        state=RequestState.PENDING,
    )
    return next(iter(verified_rows(same)), None)


def _store(actor: Principal, request: AccessRequest) -> AccessRequest:
    open_now = in_time() & Q(requester=request.requester, state=RequestState.PENDING)
    if AccessRequest.objects.filter(open_now).count() >= _MAX_OPEN:
        raise Conflict(f"{_MAX_OPEN} of your requests are pending. Cancel some first.")
    environment = request.environment
    people = _people_who_answer(request, environment) if environment else []
    with transaction.atomic():
        request.save(force_insert=True)
        record_step(actor, Action.ACCESS_ASK, request)
        if environment:
            tell_managers(request, environment, people)
    return request


def _people_who_answer(request: AccessRequest, environment: Environment) -> list[User]:
    """Return whom to notify: managers, or administrators if no manager may answer."""
    able = [
        (user, principal)
        for user in possible_managers(environment)
        if answers(principal := user_principal(user), request)
    ]
    managers = [
        user
        for user, principal in able
        if grants_allow(principal, Action.MEMBER_GRANT, environment_id=environment.pk)
    ]
    return managers or [user for user, _ in able]


def _close(actor: Actor, stored: AccessRequest, state: RequestState, action: Action) -> None:
    stored.state, stored.finished_at = state, timezone.now()
    stored.save(update_fields=["state", "finished_at", "comment"])
    record_step(actor, action, stored)
    settled(stored, f"{state.label}: {stored.requester.username}'s request for access")
