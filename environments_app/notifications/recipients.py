"""Use cases of recipients: the rows of an environment that a channel sends to, such as e-mail addresses."""

from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject, stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.authorization.policy import Principal, require
from environments_app.errors import Conflict, InvalidField, Invisible
from environments_app.models import Addressee, Delivery, DeliveryState, Environment, Recipient
from environments_app.notifications.service import send_test
from environments_app.sessions.service import lock_actor

Row = TypeVar("Row", bound=Addressee)


def add_addressee(*, actor: Principal, addressee: Addressee, taken: str) -> None:
    """Store a checked new row, for which the caller has asked the policy.

    Raises Conflict, with the message `taken`, if there is one like it.
    """
    try:
        with lock_actor(actor, Action.NOTIFICATION_CREATE, addressee.environment):
            addressee.save()
            _record(actor, Action.NOTIFICATION_CREATE, addressee, row_digest_entry(addressee))
    except IntegrityError as error:
        raise Conflict(taken) from error


def remove_addressee(*, actor: Principal, addressee: Addressee) -> None:
    """Remove a recipient or webhook, also a forged row. Raises Invisible, Forbidden."""
    require(actor=actor, action=Action.NOTIFICATION_REMOVE, environment=addressee.environment)
    with lock_actor(actor, Action.NOTIFICATION_REMOVE, addressee.environment):
        _record(actor, Action.NOTIFICATION_REMOVE, addressee, row_digest_entry(addressee, gone=True))
        addressee.delete()


def try_addressee(*, actor: Principal, addressee: Addressee) -> None:
    """Queue a test message. Raises Invisible, Forbidden."""
    require(actor=actor, action=Action.NOTIFICATION_TEST, environment=addressee.environment)
    with transaction.atomic():
        _record(actor, Action.NOTIFICATION_TEST, addressee, {})
        send_test(transport=addressee.transport, addressee=addressee.uuid, environment=addressee.environment)


def retry_delivery(*, actor: Principal, delivery: Delivery) -> None:
    """Have a failed message sent again, from the first attempt on. Raises Forbidden, or Conflict."""
    require(actor=actor, action=Action.NOTIFICATION_RETRY, environment=delivery.environment)
    place = delivery.environment
    with transaction.atomic():
        failed = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.FAILED)
        now = timezone.now()
        if not failed.update(state=DeliveryState.WAITING, attempts=0, error="", due_at=now, finished_at=None):
            raise Conflict("This message has not failed.")
        record(
            actor=actor,
            action=Action.NOTIFICATION_RETRY,
            stream=streams.environment_stream(place.uuid) if place else streams.SYSTEM,
            object=AuditObject(kind="message", uuid=delivery.uuid, name=delivery.subject),
        )


def find_addressee(*, actor: Principal, model: type[Row], environment: Environment, id: int) -> Row:
    """Return a recipient or webhook of an environment. Raises Forbidden, or Invisible if there is none."""
    require(actor=actor, action=Action.NOTIFICATION_VIEW, environment=environment)
    rows: QuerySet[Any] = QuerySet(model).select_related("environment")
    row: Row | None = rows.filter(environment=environment, pk=id).first()
    if row is None:
        raise Invisible(f"There is no such {model.MAC_LABEL}.")
    return row


def _record(actor: Principal, action: Action, addressee: Addressee, details: dict[str, Json]) -> None:
    record(actor=actor, action=action, **stream_and_object(addressee), details=details)


def add_recipient(*, actor: Principal, environment: Environment, email: str) -> Recipient:
    """Add an e-mail recipient to an environment.

    Raises Invisible, Forbidden, InvalidField, or Conflict if it is a recipient already.
    """
    require(actor=actor, action=Action.NOTIFICATION_CREATE, environment=environment)
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidField("email", "Enter a valid email address.") from error
    recipient = Recipient(environment=environment, email=email, created_by=actor.name)
    add_addressee(actor=actor, addressee=recipient, taken="This address already receives alerts.")
    return recipient
