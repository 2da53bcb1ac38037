"""Webhooks of secrets: configuration, and signed delivery over HTTP to where Keeper may connect.

A request follows no redirects. It carries these headers:

    Keeper-Timestamp: seconds since 1970
    Keeper-Signature: v1=hex HMAC-SHA256(key, timestamp "." body)
    Keeper-Delivery:  the message's id, the same when it is sent again

A receiver computes the signature over the body as it came, compares in constant time, refuses timestamps
older than some minutes, and may drop an id that it has seen.
"""

import base64
import hmac
import json
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import requests
from django.db.models import QuerySet

from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.events.actors import NIL
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.errors import BadEndpoint, EndpointRefused, OutboundError
from core.network.outbound import normalised_endpoint, require_permitted_literal, session
from environments_app.authorization.policy import Principal, require
from environments_app.errors import InvalidField
from environments_app.models import Delivery, Environment, Recipient, User
from environments_app.notifications.recipients import add_addressee
from environments_app.notifications.service import AlertNotice, Undeliverable
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import Webhook, WebhookStyle

MAX_URL: Final = 2000
MAX_NAME: Final = 100
_KEY_BYTES: Final = 32
_A_PERSON: Final = "a person"


def add_webhook(
    *, actor: Principal, environment: Environment, name: str, url: str, style: str = WebhookStyle.SLACK
) -> tuple[Webhook, str]:
    """Add a webhook to an environment; return it and its signing key. An empty name stands for the host.

    The key is shown this once. Raises Invisible, Forbidden, InvalidField, Conflict if the name is
    taken, and KeyUnavailable or KeyRefused if nothing can be sealed.
    """
    require(actor=actor, action=Action.NOTIFICATION_CREATE, environment=environment)
    endpoint = _endpoint_of(url)
    name = name.strip() or (urlsplit(endpoint).hostname or "")[:MAX_NAME]
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidField("name", f"Use one line of 1 to {MAX_NAME} characters.")
    webhook = Webhook(
        environment=environment,
        name=name,
        endpoint=endpoint,
        style=_style(style),
        created_by=actor.name,
    )
    key = _new_key(webhook.style)
    data_key = active_key(environment)
    content = json.dumps({"url": url.strip(), "key": key}).encode()
    webhook.sealed = Sealed.of(content, data_key=data_key, context=webhook.sealing_context())
    webhook.data_key_id = data_key.id
    add_addressee(actor=actor, addressee=webhook, taken="A webhook with this name already exists.")
    return webhook, key


def _new_key(style: str) -> str:
    if style == WebhookStyle.CHANGES:
        # The form of Standard Webhooks, as their libraries take it.
        return f"whsec_{base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}"
    return secrets.token_urlsafe(_KEY_BYTES)


def _style(style: str) -> WebhookStyle:
    try:
        return WebhookStyle(style)
    except ValueError as error:
        raise InvalidField("style", "Choose slack, json or changes.") from error


def _endpoint_of(url: str) -> str:
    """Return scheme, host and port of an address, which alone are shown later."""
    # The address is a credential: no message, and no cause, repeats it.
    refusal = InvalidField("url", "Enter an address such as https://hooks.example.com/…, without user or #.")
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


_OK: Final = range(200, 300)
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500


def names_of_addressees(deliveries: Iterable[Delivery], *, among: QuerySet[User]) -> dict[UUID, str]:
    """Return what the addressees of messages are called, by UUID; a removed one is left out.

    An account that is not `among` those whose names the reader may know is "a person".
    """
    uuids = {row.addressee for row in deliveries}
    recipients = Recipient.objects.filter(uuid__in=uuids)
    webhooks = Webhook.objects.filter(uuid__in=uuids).defer("sealed")
    accounts = dict.fromkeys(User.objects.filter(uuid__in=uuids).values_list("uuid", flat=True), _A_PERSON)
    return {
        NIL: "the addresses of KEEPER_ALERT_EMAILS",
        **accounts,
        **dict(among.filter(uuid__in=uuids).values_list("uuid", "username")),
        **{row.uuid: str(row) for row in (*recipients, *webhooks)},
    }


class WebhookTransport:
    """Delivers to an environment's webhooks."""

    name = "webhook"
    reaches_people = False

    def addressees(self, environment: Environment | None) -> Sequence[UUID]:
        rows = Webhook.objects.filter(environment=environment).exclude(style=WebhookStyle.CHANGES)
        rows = rows.select_related("environment")
        return [row.uuid for row in verified_rows(rows)]

    def send(self, *, addressee: UUID, notice: AlertNotice) -> None:
        """Post a message. Raises Undeliverable."""
        webhook, url, key = open_webhook(addressee, notice)
        body = json.dumps(_document(webhook, notice)).encode()
        status = post(url, body, signed_headers(key=key, body=body, notice=notice))
        if status not in _OK:
            passing = status in _TRY_AGAIN or status >= _SERVER_ERROR
            raise Undeliverable(f"the receiver answered {status}", permanent=not passing)


def signed_headers(*, key: str, body: bytes, notice: AlertNotice) -> dict[str, str]:
    """Return the headers that prove to the receiver that Keeper sent this body just now."""
    timestamp = str(int(time.time()))
    signature = hmac.digest(key.encode(), timestamp.encode() + b"." + body, "sha256").hex()
    return {
        "Content-Type": "application/json",
        "Keeper-Timestamp": timestamp,
        "Keeper-Signature": f"v1={signature}",
        "Keeper-Delivery": str(notice.uuid),
    }


def _document(webhook: Webhook, notice: AlertNotice) -> dict[str, Any]:
    if webhook.style == WebhookStyle.SLACK:
        return {"text": notice.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
    return {
        "id": str(notice.uuid),
        "kind": notice.kind,
        "environment": notice.environment,
        "subject": notice.subject,
        "lines": list(notice.lines),
        "link": notice.link,
        "at": notice.at.isoformat(),
        "text": notice.text,
    }


def open_webhook(addressee: UUID, notice: AlertNotice) -> tuple[Webhook, str, str]:
    """Return a webhook with its address and key, after their event is committed. Raises Undeliverable."""
    rows = verified_rows(Webhook.objects.filter(uuid=addressee).select_related("environment"))
    if not rows:
        raise Undeliverable("the webhook was removed, or its row was changed outside Keeper", permanent=True)
    webhook = rows[0]
    receipt = commit_record(
        actor=actors.system(),
        action=Action.NOTIFICATION_SEND,
        **stream_and_object(webhook),
        details={"kind": notice.kind, "message": str(notice.uuid)},
        covers=frozenset({webhook.uuid.bytes}),
    )
    if webhook.sealed is None:
        raise Undeliverable("the webhook has no address", permanent=True)
    try:
        content = json.loads(webhook.sealed.open(receipt))
    except KeyUnavailable as error:
        raise Undeliverable("the environment's key is not available now", permanent=False) from error
    except (EnvelopeError, KeyRefused) as error:
        raise Undeliverable("the webhook's sealed address does not open", permanent=True) from error
    return webhook, content["url"], content["key"]


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Return the status of the receiver's answer. Raises Undeliverable."""
    # No exception of the client is a cause here: each of them quotes the address.
    try:
        with session() as client:
            return client.post(url, data=body, headers=headers).status_code
    except EndpointRefused as error:
        raise Undeliverable(str(error), permanent=True) from None
    except OutboundError as error:
        raise Undeliverable(str(error), permanent=False) from None
    except requests.RequestException as error:
        raise Undeliverable(_why(error), permanent=False) from None


def _why(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "the TLS connection failed"
    return "no answer in time" if isinstance(error, requests.Timeout) else "no answer"
