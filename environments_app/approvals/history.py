"""The history of a request: comments of both sides, and the approvals of several people."""

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import verified_rows
from environments_app.approvals.approvers import lapsed, people_to_tell
from environments_app.approvals.gate import record_act
from environments_app.authorization.policy import Principal, allows, environments_for, record_denial, require
from environments_app.authorization.principals import user_principal
from environments_app.errors import ApprovalVoid, Forbidden, InvalidField
from environments_app.models import Approval, ApprovalEntry, EntryKind, Environment, User
from environments_app.models.approval import OPEN_STATES, in_time
from environments_app.notifications.service import message_users

MAX_TEXT: Final = 1000
_MOST_ENTRIES: Final = 200


def entries_of(approval: Approval) -> list[ApprovalEntry]:
    """Return the genuine entries of a request, the oldest first."""
    return verified_rows(entry_rows(approval).order_by("id")[:_MOST_ENTRIES])


def entry_rows(approval: Approval) -> QuerySet[ApprovalEntry]:
    """Return the entries of a request as they are stored."""
    return ApprovalEntry.objects.filter(approval=approval).select_related("approval")


def comments_for(actor: Principal, waiting: Collection[Approval]) -> QuerySet[ApprovalEntry]:
    """Return others' comments on the open requests that concern a person, newest first, as they are stored.

    These are their own requests, those that wait for them (`waiting`), and those that they have written on
    and can still see.
    """
    own = Q(approval__requester_uuid=actor.uuid, approval__requester_kind=actor.kind)
    concerns = own | Q(approval__in=[row.pk for row in waiting])
    places = environments_for(actor, Action.APPROVAL_VIEW)
    if places is not None:
        written_on = ApprovalEntry.objects.filter(author_uuid=actor.uuid).values("approval")
        environments = Environment.objects.filter(places)
        concerns |= Q(approval__in=written_on, approval__environment__in=environments)
    rows = ApprovalEntry.objects.filter(
        concerns, in_time("approval__expires_at"), kind=EntryKind.COMMENT, approval__state__in=OPEN_STATES
    )
    return rows.exclude(author_uuid=actor.uuid).order_by("-id")


def approved_by(actor: Principal, approvals: Iterable[Approval]) -> set[int]:
    """Return the ids of those requests that this person has approved, as one of several, and counts for."""
    rows = ApprovalEntry.objects.filter(
        approval__in=list(approvals), kind=EntryKind.APPROVAL, author_uuid=actor.uuid
    )
    return {
        row.approval_id
        for row in verified_rows(rows.select_related("approval"))
        if not lapsed(row.approval, [(row.author_uuid, row.at)])
    }


def comment(*, actor: Principal, approval: Approval, text: str) -> ApprovalEntry:
    """Add a comment to an open request, and notify its requester, its approvers and all who wrote on it.

    Its event has no text: a secret that is pasted by mistake must not stay in the audit log.

    Raises Forbidden unless the actor is the requester or may decide about requests there, InvalidField,
    ApprovalVoid if the request is closed.
    """
    is_own = approval.requester_uuid == actor.uuid
    if not is_own:
        require(
            actor=actor,
            action=Action.APPROVAL_DECIDE,
            environment=approval.environment,
            object=approval.audit_object,
        )
    if actor.kind is not ActorKind.USER:
        record_denial(
            actor=actor,
            action=Action.APPROVAL_COMMENT,
            environment=approval.environment,
            object=approval.audit_object,
        )
        raise Forbidden("Only people comment.")
    text = text.strip()
    if not text or len(text) > MAX_TEXT:
        raise InvalidField("text", f"Enter 1 to {MAX_TEXT} characters.")
    if not approval.is_live or ApprovalEntry.objects.filter(approval=approval).count() >= _MOST_ENTRIES:
        raise ApprovalVoid("This request takes no more comments.")
    with transaction.atomic():
        entry = add(approval, actor, EntryKind.COMMENT, text)
        record_act(
            actor=actor,
            action=Action.APPROVAL_COMMENT,
            approval=approval,
            details={"entry": str(entry.uuid), "characters": len(text)},
        )
        _notify(
            _concerned(approval) - {actor.uuid}, approval, f"{actor.name} commented on the request", [text]
        )
    return entry


def add(approval: Approval, actor: Principal, kind: EntryKind, text: str) -> ApprovalEntry:
    """Store an entry, in the transaction of its event."""
    entry = ApprovalEntry(
        approval=approval, kind=kind, author_uuid=actor.uuid, author_name=actor.name, text=text
    )
    entry.save()
    return entry


def sentence(approval: Approval, what: str) -> str:
    """Return what happened with a request, for the subject of a message: "erin approved your request …"."""
    return f"{what} to {approval.asked_act_and_place}"[:200]


def notify_requester(approval: Approval, what: str, lines: list[str]) -> None:
    """Send the requester a message about their request, if they are a user with an address."""
    if approval.requester.kind is ActorKind.USER:
        _notify({approval.requester_uuid}, approval, what, lines)


def _concerned(approval: Approval) -> set[UUID]:
    """Return whom a comment is for: requester, approvers, and writers who can still see the request."""
    wrote = User.objects.filter(uuid__in={entry.author_uuid for entry in entries_of(approval)})
    place = approval.environment.pk
    see = {
        person.uuid
        for person in wrote
        if allows(user_principal(person), Action.APPROVAL_VIEW, environment_id=place)
    }
    return see | {person.uuid for person in people_to_tell(approval)} | {approval.requester_uuid}


def _notify(people: set[UUID], approval: Approval, what: str, lines: list[str]) -> None:
    reached = User.objects.filter(uuid__in=people, is_active=True).exclude(email="")
    message_users(
        people=list(reached.values_list("uuid", flat=True)),
        environment=approval.environment,
        kind="approval",
        subject=sentence(approval, what),
        lines=lines,
        link=reverse("approval-detail", args=[approval.pk]),
    )
