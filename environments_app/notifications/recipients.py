"""Use cases of recipients: who gets e-mail about an environment."""

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from audit_app.crypto.canonical_json import Json
from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal, require
from environments_app.errors import Conflict, InvalidField, Invisible
from environments_app.models import Environment, Recipient
from environments_app.notifications.service import send_test


def add_recipient(*, actor: Principal, environment: Environment, email: str) -> Recipient:
    """Add an e-mail recipient to an environment.

    Raises Invisible, Forbidden, InvalidField, or Conflict if it is a recipient already.
    """
    require(actor=actor, action=Action.NOTIFICATION_CREATE, environment=environment)
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidField("email", "This is no e-mail address.") from error
    recipient = Recipient(environment=environment, email=email, created_by=actor.name)
    try:
        with transaction.atomic():
            recipient.save()
            _record(actor, Action.NOTIFICATION_CREATE, recipient, row_digest_entry(recipient))
    except IntegrityError as error:
        raise Conflict("This address is told already.") from error
    return recipient


def remove_recipient(*, actor: Principal, recipient: Recipient) -> None:
    """Remove a recipient; also a forged row, which must be removable. Raises Invisible, Forbidden."""
    require(actor=actor, action=Action.NOTIFICATION_REMOVE, environment=recipient.environment)
    with transaction.atomic():
        _record(actor, Action.NOTIFICATION_REMOVE, recipient, row_digest_entry(recipient, gone=True))
        recipient.delete()


def try_recipient(*, actor: Principal, recipient: Recipient) -> None:
    """Queue a test message to an address. Raises Invisible, Forbidden."""
    require(actor=actor, action=Action.NOTIFICATION_TEST, environment=recipient.environment)
    with transaction.atomic():
        _record(actor, Action.NOTIFICATION_TEST, recipient, {})
        send_test(transport="email", addressee=recipient.uuid, environment=recipient.environment)


def find_recipient(*, actor: Principal, environment: Environment, id: int) -> Recipient:
    """Return a recipient of an environment. Raises Forbidden, or Invisible if there is none."""
    require(actor=actor, action=Action.NOTIFICATION_VIEW, environment=environment)
    recipient = Recipient.objects.filter(environment=environment, pk=id).select_related("environment").first()
    if recipient is None:
        raise Invisible("There is no such recipient.")
    return recipient


def _record(actor: Principal, action: Action, recipient: Recipient, details: dict[str, Json]) -> None:
    record(
        actor=actor,
        action=action,
        stream=environment_stream(recipient.environment.uuid),
        object=recipient.audit_object,
        details=details,
    )
