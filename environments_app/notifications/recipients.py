"""Use cases of recipients: who gets e-mail about an environment."""

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, require
from environments_app.errors import InvalidField
from environments_app.models import Environment, Recipient
from environments_app.notifications.addressees import add_addressee


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
