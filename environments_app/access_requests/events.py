"""The events and notifications of an access request, for each step."""

from typing import Final

from django.urls import reverse

from audit_app.crypto.canonical_json import Json
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.recorder import record
from environments_app.approvals.access_proposals import duration_words
from environments_app.errors import InvalidField
from environments_app.models import AccessRequest, Environment, Membership, User
from environments_app.notifications.service import message_users, raise_alert, resolve_alert

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
    resolve_alert(kinds={KIND}, about=request.uuid, subject=f"{request.environment_name}: {sentence}"[:200])


def tell_managers(request: AccessRequest, environment: Environment, people: list[User]) -> None:
    """Notify those who may answer a request, and the environment's recipients."""
    name = request.requester.username
    lasting = "with no expiry" if request.minutes is None else f"for {duration_words(request.minutes)}"
    raise_alert(
        kind=KIND,
        about=request.uuid,
        environment=environment,
        subject=f"{environment.name}: {name} requests access"[:200],
        lines=[
            f"As {request.role}" + (f" of {request.prefix}/" if request.prefix else "") + f", {lasting}.",
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
            subject=f"{request.environment_name}: {sentence}",
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
