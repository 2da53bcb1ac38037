"""Emergency reads of guarded secrets: shown at once to a person who gives a reason, and reviewed afterwards.

The setting of the environment allows them. Each is a break-glass event and an alert to managers and auditors,
both committed before the value is opened. The alert stays open until one of them marks the read as reviewed:
not the reader, and nobody who could act as the reader. The event is what a review goes by, not the alert.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent
from audit_app.queries.access_log import record_view
from audit_app.recording import event_store
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from audit_app.verification.stream_walker import has_valid_mac
from core.canonical_json import parsed_details
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import (
    Principal,
    allows,
    environments_for,
    record_denial,
    require,
    require_confirmed,
)
from environments_app.authorization.principals import refresh_principal
from environments_app.errors import Conflict, Forbidden, Invisible
from environments_app.models import Alert, Environment
from environments_app.notifications.service import EMERGENCY as KIND
from environments_app.notifications.service import one_line, raise_alert, resolve_alert
from environments_app.tokens.decoys import watchers
from secrets_app.errors import InvalidInput, StaleVersion
from secrets_app.keys import data_keys
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import require_authentic, require_not_deleted, require_on
from secrets_app.services.guarded import checked_reason
from secrets_app.services.read import RevealedValue, current_version_of, open_version, refuse_guarded

_OBJECT: Final = "emergency-read"
MIN_REASON: Final = 20
MAX_COMMENT: Final = 500
_OFF: Final = "Emergency reads are turned off in this environment. Request a read instead."
_OWN: Final = "Someone else reviews this read: not its reader, and nobody who could act as its reader."


class EmergencyRead(NamedTuple):
    """One emergency read, as the audit log has it; `review` is the event that reviewed it."""

    uuid: UUID
    environment: Environment
    name: str
    reader: UUID
    reader_name: str
    address: str
    at: datetime
    details: Mapping[str, Any]
    review: AuditEvent | None

    @property
    def comment(self) -> str:
        """What the reviewer wrote."""
        return str(parsed_details(self.review.details).get("comment", "")) if self.review else ""


def read_in_emergency(*, actor: Principal, secret: Secret, reason: str) -> RevealedValue:
    """Show the current version of a guarded secret at once, with an alert; nobody has to agree.

    Raises Conflict if it is not guarded, GuardedValue for a token, Forbidden where the environment allows no
    emergency reads, ConfirmationNeeded, InvalidInput, StaleVersion if it was changed meanwhile, and what
    `reveal` raises. A key that is away is found out before anybody is alerted.
    """
    require_on(actor=actor, action=Action.SECRET_REVEAL, secret=secret)
    require_not_deleted(secret)
    require_authentic(secret)
    if not secret.guarded:
        raise Conflict("This secret is not guarded. Reveal it; nobody was alerted.")
    if actor.kind is not ActorKind.USER or actor.scope is not None:
        refuse_guarded(actor, Action.SECRET_REVEAL, secret)
    if not secret.environment.emergency_reads:
        _refuse(actor, secret, _OFF)
    require_confirmed(actor)
    reason = checked_reason(reason, MIN_REASON)
    version = current_version_of(secret)
    if version.data_key_id:
        data_keys.prefetch({version.data_key_id})
    read = uuid4()
    _announce(actor, secret, version, reason, read)
    details = {"emergency": str(read), "reason": reason}
    value = open_version(
        actor=actor, version=version, action=Action.SECRET_REVEAL, details=details, released=True
    )
    return RevealedValue(version=version, value=value)


def _announce(actor: Principal, secret: Secret, version: SecretVersion, reason: str, read: UUID) -> None:
    """Raise the alert and record the break-glass event, if the read is still allowed."""
    refused = ""
    with transaction.atomic(durable=True):
        place = Environment.objects.select_for_update().filter(pk=secret.environment_id).first()
        locked = Secret.objects.select_for_update().filter(pk=secret.pk).first()
        if place is None or locked is None or not locked.live or locked.current_number != version.number:
            raise StaleVersion("The secret was changed meanwhile. Nothing was shown. Reload the page.")
        locked.environment = place
        require_authentic(locked)
        now = refresh_principal(actor)
        if not (place.is_authentic() and place.emergency_reads):
            refused = _OFF
        elif not allows(now, Action.SECRET_REVEAL, environment_id=place.pk, name=locked.name):
            refused = "You may no longer read this secret."
        else:
            raise_alert(
                kind=KIND,
                about=read,
                environment=place,
                subject=f"Emergency read: {place.name}/{locked.name}"[:200],
                lines=[
                    f"{actor.name} read v{version.number} alone, from {actor.address or 'this host'}.",
                    f"Reason: {one_line(reason)}",
                    "Find out whether that was right, then mark it as reviewed.",
                ],
                link=reverse("emergency-read", args=[read]),
                people=watchers(place),
            )
            record(
                actor=actor,
                action=Action.BREAK_GLASS,
                stream=environment_stream(place.uuid),
                object=AuditObject(_OBJECT, read, locked.name),
                details={"secret": str(locked.uuid), "number": version.number, "reason": reason},
            )
    if refused:
        _refuse(actor, secret, refused)


def visible_reads(
    *, actor: Principal, environment: Environment | None = None, reviewed: bool | None = None
) -> QuerySet[AuditEvent]:
    """Return the events of emergency reads whose environments' audit log the actor may read, newest first.

    That is recorded as a view of the log. `described` says what each was.
    """
    if environment is not None:
        require(actor=actor, action=Action.TRAIL_VIEW, environment=environment)
    places = environments_for(actor, Action.TRAIL_VIEW)
    if places is None:
        return AuditEvent.objects.none()
    name = environment.name if environment else ""
    record_view(viewer=actor, face="emergency reads", filters={"environment": name})
    readable = Environment.objects.filter(places)
    if environment is not None:
        readable = readable.filter(pk=environment.pk)
    names = [environment_stream(uuid) for uuid in readable.values_list("uuid", flat=True)]
    rows = _events(Action.BREAK_GLASS).filter(stream__in=names)
    if reviewed is not None:
        reviews = filter(_is_genuine, _events(Action.SECRET_REVIEW_EMERGENCY).filter(stream__in=names))
        uuids = [event.object_uuid for event in reviews]
        rows = rows.filter(object_uuid__in=uuids) if reviewed else rows.exclude(object_uuid__in=uuids)
    return rows.order_by("-pk")


def described(events: Iterable[AuditEvent]) -> list[EmergencyRead]:
    """Return the emergency reads of genuine events, with their reviews; asks no right."""
    reads = [event for event in events if _is_genuine(event)]
    uuids = [event.object_uuid for event in reads]
    rows = _events(Action.SECRET_REVIEW_EMERGENCY).filter(object_uuid__in=uuids).order_by("-pk")
    reviews = {event.object_uuid: event for event in rows if _is_genuine(event)}
    owners = Environment.objects.filter(uuid__in={read.stream.partition(":")[2] for read in reads})
    places = {environment_stream(place.uuid): place for place in owners}
    return [
        EmergencyRead(
            uuid=read.object_uuid,
            environment=places[read.stream],
            name=read.object_name,
            reader=read.actor_uuid,
            reader_name=read.actor_name,
            address=read.address,
            at=read.at,
            details=parsed_details(read.details),
            review=reviews.get(read.object_uuid),
        )
        for read in reads
        if read.stream in places
    ]


def find_read(*, actor: Principal, uuid: UUID) -> EmergencyRead:
    """Return an emergency read for who may read the audit log of its environment. Raises Invisible."""
    read = next(iter(described(_events(Action.BREAK_GLASS).filter(object_uuid=uuid).order_by("pk"))), None)
    if read is None:
        raise Invisible("There is no such emergency read.")
    require(actor=actor, action=Action.TRAIL_VIEW, environment=read.environment)
    return read


def may_review(actor: Principal, read: EmergencyRead) -> bool:
    """Return whether the actor is a person who may look at it, other than those who could have read."""
    place = read.environment.pk
    if actor.kind is not ActorKind.USER or actor.scope is not None:
        return False
    if (actor.suspended and place not in actor.trusted_in) or not allows(
        actor, Action.TRAIL_VIEW, environment_id=place
    ):
        return False
    return not CustodyGraph().are_one(actor.uuid, [read.reader], environment=read.environment)


def review(*, actor: Principal, uuid: UUID, comment: str = "") -> EmergencyRead:
    """Mark an emergency read as reviewed, and close its alert.

    Raises Invisible, Conflict if another did already, Forbidden for its reader, for who could act as the
    reader, and for a token.
    """
    read = find_read(actor=actor, uuid=uuid)
    comment = comment.strip()
    if len(comment) > MAX_COMMENT:
        raise InvalidInput("comment", f"Write {MAX_COMMENT} characters at most.")
    with transaction.atomic():
        # One after the other; the event is looked for once the alert is locked.
        list(Alert.objects.select_for_update().filter(kind=KIND, about=uuid))
        if find_read(actor=actor, uuid=uuid).review is not None:
            raise Conflict("This read was reviewed already. Nothing was changed.")
        is_independent = may_review(refresh_principal(actor), read)
        if is_independent:
            record(
                actor=actor,
                action=Action.SECRET_REVIEW_EMERGENCY,
                stream=environment_stream(read.environment.uuid),
                object=AuditObject(_OBJECT, uuid, read.name),
                details={"reader": read.reader_name, "comment": comment},
            )
            resolve_alert(
                kinds={KIND},
                about=uuid,
                subject=f"Emergency read reviewed: {read.environment.name}/{read.name}"[:200],
                lines=[f"{actor.name} reviewed the read by {read.reader_name}.", one_line(comment)][
                    : 1 + bool(comment)
                ],
                link=reverse("emergency-read", args=[uuid]),
            )
    if not is_independent:
        record_denial(
            actor=actor,
            action=Action.SECRET_REVIEW_EMERGENCY,
            environment=read.environment,
            reason="not independent",
        )
        raise Forbidden(_OWN)
    return find_read(actor=actor, uuid=uuid)


def _events(action: Action) -> QuerySet[AuditEvent]:
    return AuditEvent.objects.filter(action=action, object_kind=_OBJECT, outcome=Outcome.ALLOWED)


def _is_genuine(event: AuditEvent) -> bool:
    links = event_store.links(event.stream, after=event.sequence - 1, until=event.sequence, limit=1)
    return bool(links) and has_valid_mac(links[0])


def _refuse(actor: Principal, secret: Secret, why: str) -> None:
    record_denial(
        actor=actor,
        action=Action.SECRET_REVEAL,
        environment=secret.environment,
        name=secret.name,
        object=secret.audit_object,
        reason="emergency",
    )
    raise Forbidden(why)
