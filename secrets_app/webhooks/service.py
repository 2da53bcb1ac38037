"""Use cases of webhooks: notifications of an environment over HTTP."""

import json
import secrets
from typing import Final
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction

from audit_app.crypto.canonical_json import Json
from audit_app.errors import BadEndpoint
from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_state import row_digest_entry
from audit_app.network.outbound import normalised_endpoint
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal, require
from environments_app.errors import Conflict, InvalidField, Invisible
from environments_app.models import Environment
from environments_app.notifications.service import send_test
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
    webhook = Webhook(
        environment=environment,
        name=_checked_name(name),
        endpoint=_endpoint_of(url),
        style=_style(style),
        created_by=actor.name,
    )
    key = secrets.token_urlsafe(_KEY_BYTES)
    data_key = active_key(environment)
    content = json.dumps({"url": url.strip(), "key": key}).encode()
    webhook.sealed = Sealed.of(content, data_key=data_key, context=webhook.sealing_context())
    webhook.data_key_id = data_key.id
    try:
        with transaction.atomic():
            webhook.save()
            _record(actor, Action.NOTIFICATION_CREATE, webhook, row_digest_entry(webhook))
    except IntegrityError as error:
        raise Conflict("There is a webhook of this name already.") from error
    return webhook, key


def remove_webhook(*, actor: Principal, webhook: Webhook) -> None:
    """Remove a webhook; also a forged row, which must be removable. Raises Invisible, Forbidden."""
    require(actor=actor, action=Action.NOTIFICATION_REMOVE, environment=webhook.environment)
    with transaction.atomic():
        _record(actor, Action.NOTIFICATION_REMOVE, webhook, row_digest_entry(webhook, gone=True))
        webhook.delete()


def try_webhook(*, actor: Principal, webhook: Webhook) -> None:
    """Queue a test message to a webhook. Raises Invisible, Forbidden."""
    require(actor=actor, action=Action.NOTIFICATION_TEST, environment=webhook.environment)
    with transaction.atomic():
        _record(actor, Action.NOTIFICATION_TEST, webhook, {})
        send_test(transport="webhook", addressee=webhook.uuid, environment=webhook.environment)


def find_webhook(*, actor: Principal, environment: Environment, id: int) -> Webhook:
    """Return a webhook of an environment. Raises Forbidden, or Invisible if there is none."""
    require(actor=actor, action=Action.NOTIFICATION_VIEW, environment=environment)
    webhook = Webhook.objects.filter(environment=environment, pk=id).select_related("environment").first()
    if webhook is None:
        raise Invisible("There is no such webhook.")
    return webhook


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidField("name", f"A name has 1 to {MAX_NAME} characters.")
    return name


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
    return endpoint


def _record(actor: Principal, action: Action, webhook: Webhook, details: dict[str, Json]) -> None:
    record(
        actor=actor,
        action=action,
        stream=environment_stream(webhook.environment.uuid),
        object=webhook.audit_object,
        details=details,
    )
