"""Use cases of webhooks: notifications of an environment over HTTP."""

import json
import secrets
from typing import Final
from urllib.parse import urlsplit

from audit_app.events.actions import Action
from audit_app.network.outbound import normalised_endpoint, require_permitted_literal
from core.errors import BadEndpoint
from environments_app.authorization.policy import Principal, require
from environments_app.errors import InvalidField
from environments_app.models import Environment
from environments_app.notifications.addressees import add_addressee
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import Webhook, WebhookStyle

MAX_URL: Final = 2000
MAX_NAME: Final = 100
_KEY_BYTES: Final = 32


def add_webhook(
    *, actor: Principal, environment: Environment, name: str, url: str, style: str = WebhookStyle.SLACK
) -> tuple[Webhook, str]:
    """Add a webhook to an environment; return it and its signing key.

    The key is shown this once. Raises Invisible, Forbidden, InvalidField, Conflict if the name is
    taken, and KeyUnavailable or KeyRefused if nothing can be sealed.
    """
    require(actor=actor, action=Action.NOTIFICATION_CREATE, environment=environment)
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidField("name", f"A name has 1 to {MAX_NAME} characters.")
    webhook = Webhook(
        environment=environment,
        name=name,
        endpoint=_endpoint_of(url),
        style=_style(style),
        created_by=actor.name,
    )
    key = secrets.token_urlsafe(_KEY_BYTES)
    data_key = active_key(environment)
    content = json.dumps({"url": url.strip(), "key": key}).encode()
    webhook.sealed = Sealed.of(content, data_key=data_key, context=webhook.sealing_context())
    webhook.data_key_id = data_key.id
    add_addressee(actor=actor, addressee=webhook, taken="A webhook with this name already exists.")
    return webhook, key


def _style(style: str) -> WebhookStyle:
    try:
        return WebhookStyle(style)
    except ValueError as error:
        raise InvalidField("style", "Choose slack or json.") from error


def _endpoint_of(url: str) -> str:
    """Return scheme, host and port of an address, which alone are shown later."""
    # The address is a credential: no message, and no cause, repeats it.
    refusal = InvalidField("url", "Write the address as https://hooks.example.com/…, without user or #.")
    try:
        parts = urlsplit(url.strip())
        endpoint = normalised_endpoint(f"{parts.scheme}://{parts.netloc}")
    except (ValueError, BadEndpoint):
        raise refusal from None
    if parts.fragment or len(url) > MAX_URL:
        raise refusal
    try:
        require_permitted_literal(endpoint)
    except BadEndpoint as error:
        # Its host alone is in the message, which is shown of each webhook.
        raise InvalidField("url", f"{error}.") from None
    return endpoint
