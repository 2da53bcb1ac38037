"""Use cases of access requests: granting, refusing and ending them, each with its event and notification."""

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry, state_digest
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.approvals.access_proposals import duration_words, granting_asked, widens_request
from environments_app.approvals.gate import approval_for_request
from environments_app.authorization.break_glass import confirm_grant
from environments_app.authorization.policy import Principal, allows, grants_allow, record_denial, require
from environments_app.authorization.principals import system_principal
from environments_app.authorization.rows import lock_authentic
from environments_app.environments import memberships
from environments_app.errors import Conflict, Forbidden, InvalidField, Invisible, Tampered
from environments_app.models import AccessRequest, Environment, Membership, RequestState, Role, Source, User
from environments_app.names import validate_prefix
from environments_app.notifications.service import message_users, raise_alert, resolve_alert
from environments_app.sessions.service import lock_row

KIND: Final = "access-request"
MAX_TEXT: Final = 500


def record_step(
    actor: Actor, action: Action, request: AccessRequest, details: dict[str, Json] | None = None
) -> None:
    """Record a step in the stream of the environment, if there is one of the name, in its transaction."""
    environment = request.environment
    record(
        actor=actor,
        action=action,
        stream=streams.environment_stream(environment.uuid) if environment else streams.SYSTEM,
        object=request.audit_object,
        details={
            "requester": request.requester.username,
            "role": str(request.role),
            "prefix": request.prefix,
            "minutes": request.minutes,
            "reason": request.reason,
            **(details or {}),
            **row_digest_entry(request),
        },
    )


def settled(request: AccessRequest, sentence: str) -> None:
    """Notify the recipients of a request that it is over."""
    resolve_alert(
        kinds={KIND},
        about=request.uuid,
        subject=f"{sentence} ({request.environment_name})"[:200],
        link=reverse("access-request-detail", args=[request.pk]),
    )


def tell_managers(request: AccessRequest, environment: Environment, people: list[User]) -> None:
    """Notify those who may answer a request, and the environment's recipients."""
    name = request.requester.username
    lasting = "with no expiry" if request.minutes is None else f"for {duration_words(request.minutes)}"
    raise_alert(
        kind=KIND,
        about=request.uuid,
        environment=environment,
        subject=f"{name} asks for access as {request.get_role_display()} ({environment.name})"[:200],
        lines=[
            (f"To {request.prefix}/" if request.prefix else "To all secrets") + f", {lasting}.",
            *([f"Reason: {request.reason}"] if request.reason else []),
        ],
        link=reverse("access-request-detail", args=[request.pk]),
        people=[person.uuid for person in people if person.email],
    )


def tell_requester(request: AccessRequest, sentence: str) -> None:
    """Notify the requester of the outcome, if they have an address."""
    if request.requester.email:
        message_users(
            people=[request.requester.uuid],
            environment=request.environment,
            kind=KIND,
            subject=f"{sentence} ({request.environment_name})"[:200],
            lines=[f"Comment: {request.comment}"] if request.comment else [],
            link=reverse("access-request-detail", args=[request.pk]),
        )


def until_words(membership: Membership) -> str:
    """Return until when access lasts, in words."""
    moment = membership.expires_at
    return f"until {moment:%Y-%m-%d %H:%M} UTC" if moment else "with no expiry"


def checked_text(field: str, text: str) -> str:
    """Return a reason or comment without surrounding space. Raises InvalidField for a long one."""
    if len(text) > MAX_TEXT:
        raise InvalidField(field, f"Use at most {MAX_TEXT} characters.")
    return text.strip()


MIN_MINUTES: Final = 5
_BATCH: Final = 200


def may_answer(actor: Principal, request: AccessRequest) -> bool:
    """Return whether the actor may grant or refuse a request in its present state."""
    return request.is_open and request.is_authentic() and answers(actor, request)


def answers(actor: Principal, request: AccessRequest) -> bool:
    """Return whether the actor may answer a request in any state: never their own, and never with a token."""
    environment = request.environment
    if environment is None or actor.kind is not ActorKind.USER or is_own(actor, request):
        return False
    if grants_allow(actor, Action.MEMBER_GRANT, environment_id=environment.pk):
        return True
    # An administrator makes accounts, and so could be both people.
    guarded = environment.protected or not environment.is_authentic()
    return not guarded and allows(actor, Action.MEMBER_GRANT, environment_id=environment.pk)


def is_own(actor: Principal, request: AccessRequest) -> bool:
    """Return whether this is who asked."""
    return actor.kind is ActorKind.USER and actor.uuid == request.requester.uuid


def approve(
    *,
    actor: Principal,
    request: AccessRequest,
    role: str | None = None,
    prefix: str | None = None,
    minutes: int | None = None,
    comment: str = "",
) -> AccessRequest:
    """Let in who asked, by what they asked for or less; return the request as stored.

    `minutes` None is the time that was asked for. An earlier grant of this kind gives way.
    Raises Invisible; Forbidden for a program, for oneself, and for who manages by administration alone
    where the environment is protected; ConfirmationNeeded; Suspended (to break the glass);
    InvalidField; Conflict if it was answered or is over, the person was disabled, or they have more by
    an earlier request; ApprovalNeeded for a role that writes in a protected environment; Tampered.
    """
    environment = _require_answer(actor, request)
    granted_role = memberships.parse_role(role or request.role)
    under = request.prefix if prefix is None else validate_prefix(prefix)
    lasting = request.minutes if minutes is None else checked_minutes(minutes)
    if widens_request(request, role=granted_role, prefix=under, minutes=lasting):
        raise InvalidField("role", "You can't grant more than was requested.")
    note = checked_text("comment", comment)
    confirm_grant(actor, Action.MEMBER_GRANT, environment=environment, role=granted_role)
    approval = approval_for_request(
        actor=actor,
        proposal=granting_asked(request, environment, role=granted_role, prefix=under, minutes=lasting),
        asked_by=request.requester.uuid,
        role=granted_role,
    )
    people = [request.requester]
    with lock_row(actor, request, Action.MEMBER_GRANT, environment, people=people) as stored:
        require_open(stored)
        if not stored.requester.is_active or not verified_rows([stored.requester]):
            raise Conflict("The requester's account is disabled.")
        membership = Membership(
            environment=environment,
            user=stored.requester,
            role=granted_role,
            prefix=under,
            expires_at=timezone.now() + timedelta(minutes=lasting) if lasting is not None else None,
            source=Source.REQUEST,
            granted_by=memberships.acting_user(actor),
        )
        state = state_digest(stored)
        _make_room(actor, membership)
        details: dict[str, Json] = {"request": str(stored.uuid)}
        memberships.store(actor=actor, membership=membership, approval=approval, state=state, details=details)
        stored.membership_uuid = membership.uuid
        _answer(actor, stored, RequestState.GRANTED, note)
        given = f"gave you the {granted_role.label} role {until_words(membership)}"
        tell_requester(stored, f"{actor.name} {given}")
    return stored


def reject(*, actor: Principal, request: AccessRequest, comment: str = "") -> AccessRequest:
    """Refuse a request; return it as stored.

    Raises Invisible, Forbidden (as `grant`), InvalidField, Conflict if it is answered already, Tampered.
    """
    environment = _require_answer(actor, request)
    note = checked_text("comment", comment)
    with lock_row(actor, request, Action.MEMBER_GRANT, environment) as stored:
        require_open(stored)
        _answer(actor, stored, RequestState.REJECTED, note)
        tell_requester(stored, f"{actor.name} rejected your request for access")
    return stored


def end_expired() -> int:
    """Take away memberships that were asked for and have come to their end; return how many.

    They grant nothing from that second on; this notes it, and makes room on the page.
    """
    over = Q(source=Source.REQUEST, expires_at__lte=timezone.now())
    due = Membership.objects.filter(over).select_related("environment", "user", "group")
    rows = verified_rows(due.order_by("id")[:_BATCH])
    for row in rows:
        with lock_authentic(row) as stored:
            if stored.is_expired:
                memberships.withdraw(actor=system_principal(), membership=stored, action=Action.MEMBER_EXPIRE)
    return len(rows)


def require_open(request: AccessRequest) -> None:
    """Raise Conflict for a request that was answered or whose time is over."""
    if not request.is_open:
        raise Conflict(f"The request is already {request.shown_state}.")


def checked_minutes(minutes: int | None) -> int | None:
    """Return how long access may last. Raises InvalidField for more than the installation allows."""
    most = settings.KEEPER_ACCESS_MAX_HOURS * 60
    if minutes is not None and not MIN_MINUTES <= minutes <= most:
        raise InvalidField("minutes", f"Enter {MIN_MINUTES} to {most} minutes.")
    return minutes


def _require_answer(actor: Principal, request: AccessRequest) -> Environment:
    environment = request.environment
    if environment is None:
        raise Invisible("There is no such request.")
    require(actor=actor, action=Action.MEMBER_GRANT, environment=environment, object=request.audit_object)
    if not verified_rows([request]):
        raise Tampered("The stored request was changed outside Keeper; it can't be used.")
    if not answers(actor, request):
        record_denial(
            actor=actor, action=Action.MEMBER_GRANT, environment=environment, object=request.audit_object
        )
        raise Forbidden("Another manager of the environment must review this request.")
    return environment


def _make_room(actor: Principal, membership: Membership) -> None:
    """Take away what an earlier request granted for the same names, in the caller's transaction.

    Raises Conflict if it allows more than what would be granted now, or lasts longer.
    """
    rows = Membership.objects.select_for_update().filter(
        environment=membership.environment,
        user=membership.user,
        prefix=membership.prefix,
        source=Source.REQUEST,
    )
    for row in rows.select_related("environment", "user", "group"):
        if row.is_expired and row.is_authentic():
            memberships.withdraw(actor=actor, membership=row, action=Action.MEMBER_EXPIRE)
            continue
        ends, existing_end = membership.expires_at, row.expires_at
        shorter = ends is not None and (existing_end is None or existing_end > ends)
        if shorter or Role(row.role).rank > Role(membership.role).rank or not row.is_authentic():
            raise Conflict("They have more access from an earlier request. Revoke it first.")
        memberships.withdraw(actor=actor, membership=row)


def _answer(actor: Principal, stored: AccessRequest, state: RequestState, comment: str) -> None:
    now = timezone.now()
    stored.state, stored.comment = state, comment
    stored.decided_by, stored.decided_at, stored.finished_at = memberships.acting_user(actor), now, now
    stored.save()
    record_step(actor, Action.ACCESS_DECIDE, stored, {"decision": str(state), "comment": comment})
    word = "granted" if state == RequestState.GRANTED else "rejected"
    settled(stored, f"{actor.name} {word} {stored.requester.username}'s request for access")
