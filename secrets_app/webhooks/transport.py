"""Notifications by webhook: signed, without redirects, and only to where Keeper may connect.

    Keeper-Timestamp: seconds since 1970
    Keeper-Signature: v1=hex HMAC-SHA256(key, timestamp "." body)
    Keeper-Delivery:  the message's id, the same when it is sent again

A receiver computes the signature over the body as it came, compares in constant time, refuses
timestamps older than some minutes, and may drop an id that it has seen.
"""

import hmac
import json
import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import requests

from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.network.outbound import session
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.errors import EndpointRefused, OutboundError
from environments_app.models import Environment
from environments_app.notifications.service import AlertNotice, Undeliverable
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable
from secrets_app.models import Webhook, WebhookStyle

_OK: Final = range(200, 300)
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500


class WebhookTransport:
    """Delivers to an environment's webhooks."""

    name = "webhook"
    reaches_people = False

    def addressees(self, environment: Environment | None) -> Sequence[UUID]:
        rows = Webhook.objects.filter(environment=environment).select_related("environment")
        return [row.uuid for row in verified_rows(rows)]

    def send(self, *, addressee: UUID, notice: AlertNotice) -> None:
        """Post a message. Raises Undeliverable."""
        rows = verified_rows(Webhook.objects.filter(uuid=addressee).select_related("environment"))
        if not rows:
            raise Undeliverable(
                "the webhook was removed, or its row was changed outside Keeper", permanent=True
            )
        url, key = _opened(rows[0], notice)
        body = json.dumps(_document(rows[0], notice)).encode()
        status = _post(url, body, signed_headers(key=key, body=body, notice=notice))
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


def _opened(webhook: Webhook, notice: AlertNotice) -> tuple[str, str]:
    """Return address and key, after their event is committed."""
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
    return content["url"], content["key"]


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
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
