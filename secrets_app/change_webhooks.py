"""Change webhooks: `secret.changed` when a secret has a new current version, without its value.

Messages are signed as Standard Webhooks ask.

A worker follows the audit log, so a write costs nothing and no changed secret is left out, whatever was
killed. Of versions that follow each other before their message is sent, the newest is told. Each message is a
row of the outbox of notifications. A receiver that does not answer is tried again for as long as the webhook
exists: its messages wait, one for each secret, and an alert is raised.

    webhook-id:        the message's id, the same when it is sent again
    webhook-timestamp: seconds since 1970
    webhook-signature: v1,BASE64(HMAC-SHA256(key, id "." timestamp "." body)); the key is `whsec_` and base64
"""

import base64
import binascii
import hmac
import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.row_authentication import verified_rows
from audit_app.models import AuditEvent, ReadManifestItem
from audit_app.queries.stream_follower import StreamFollower
from core.canonical_json import parsed_details, utc_text
from environments_app.models import Delivery, DeliveryState, Environment
from environments_app.notifications.service import AlertNotice, Undeliverable, raise_alert, resolve_alert
from secrets_app.models import ChangePosition, Secret, Webhook, WebhookStyle
from secrets_app.webhooks import open_webhook, post

KIND: Final = "secret.changed"
_EVENTS_PER_STEP: Final = 2_000
_STOPPED: Final = "webhook.stopped"
_OK: Final = range(200, 300)
# What makes no version current: a staged one is served later, by an event of its own.
_NOT_SERVED: Final = (Action.SECRET_STAGE, Action.SECRET_UNSTAGE)


class Change(NamedTuple):
    """A new current version of a secret, as its event names it."""

    secret: UUID
    name: str
    number: int
    at: datetime
    by: str


def queue_changes() -> int:
    """Queue a message for each change since the last call, and return how many events were passed.

    None in an installation that is not the active one: a copy tells nobody.
    """
    return FOLLOWER.fill() if is_active() else 0


def _write(stream: str, after: int, until: int) -> None:
    hooks = _hooks_of(stream)
    if not hooks:
        return
    changes = list(_changes(stream, after, until))
    rows = Secret.objects.filter(uuid__in={change.secret for change in changes})
    ids = dict(rows.values_list("uuid", "pk"))
    # Nobody learns from a webhook when a guarded value, or that of a decoy, is new.
    guarded = set(rows.filter(Q(guarded=True) | Q(decoy=True)).values_list("uuid"))
    changes = [change for change in changes if (change.secret,) not in guarded]
    for hook in hooks:
        # Of several changes of a secret the newest is sent; what happened before the webhook is not.
        newest = {change.secret: change for change in changes if change.at >= hook.created_at}
        links = [_link(ids.get(uuid), uuid) for uuid in newest]
        # One that is being sent at this moment arrives as well: the receiver compares versions.
        waiting = Delivery.objects.filter(addressee=hook.uuid, kind=KIND, state=DeliveryState.WAITING)
        waiting.filter(link__in=links).delete()
        Delivery.objects.bulk_create(
            _delivery(hook, change, ids.get(uuid)) for uuid, change in newest.items()
        )


def _hooks_of(stream: str) -> list[Webhook]:
    try:
        environment = UUID(stream.partition(":")[2])
    except ValueError:
        return []
    rows = Webhook.objects.filter(
        style=WebhookStyle.CHANGES, environment__uuid=environment, environment__deleted_at__isnull=True
    )
    return verified_rows(list(rows.select_related("environment").defer("sealed")))


def _changes(stream: str, after: int, until: int) -> Iterator[Change]:
    events = AuditEvent.objects.filter(
        Q(object_kind="secret") | Q(manifest__isnull=False),
        stream=stream,
        sequence__gt=after,
        sequence__lte=until,
        outcome=Outcome.ALLOWED,
    ).exclude(action__in=_NOT_SERVED)
    columns = ("at", "action", "actor_kind", "object_uuid", "object_name", "details", "manifest_id")
    for at, action, kind, uuid, name, text, manifest in events.order_by("sequence").values_list(*columns):
        if manifest is not None:
            created = ReadManifestItem.objects.filter(manifest_id=manifest, version_digest__isnull=False)
            for secret, number, item in created.values_list("secret_uuid", "number", "name"):
                yield Change(secret, item, number, at, kind)
            continue
        details = parsed_details(text)
        written: object = details.get("number")
        # The event of a write holds the digest of its version; a rotation names the one that it serves.
        if isinstance(written, int) and ("digest" in details or action == Action.SECRET_ROTATE):
            by = "rotation" if action == Action.SECRET_ROTATE else kind
            yield Change(uuid, name, written, at, by)


def _link(pk: int | None, uuid: UUID) -> str:
    return reverse("secret-detail", args=[pk]) if pk else str(uuid)


def _delivery(hook: Webhook, change: Change, pk: int | None) -> Delivery:
    place = hook.environment.name
    data = {
        "environment": place,
        "name": change.name,
        "id": pk,
        "uuid": str(change.secret),
        "version": change.number,
        "by": change.by,
    }
    body = {"type": KIND, "timestamp": utc_text(change.at).replace("+00:00", "Z"), "data": data}
    return Delivery(
        environment=hook.environment,
        transport=ChangeTransport.name,
        addressee=hook.uuid,
        kind=KIND,
        subject=f"{place}/{change.name} v{change.number}"[:200],
        lines=[json.dumps(body, separators=(",", ":"))],
        link=_link(pk, change.secret),
    )


FOLLOWER: Final = StreamFollower(ChangePosition, "change_position", _write, lambda: _EVENTS_PER_STEP)


class ChangeTransport:
    """Sends the messages of change webhooks, for as long as it takes."""

    name = "change"
    reaches_people = False

    def addressees(self, environment: Environment | None) -> Sequence[UUID]:  # noqa: ARG002 - alerts go elsewhere
        return []

    def send(self, *, addressee: UUID, notice: AlertNotice) -> None:
        """Post a message. Raises Undeliverable."""
        hook, url, key = open_webhook(addressee, notice)
        body = _body(hook, notice)
        headers = signed_headers(key=key, body=body, uuid=notice.uuid)
        try:
            status = post(url, body, headers)
        except Undeliverable as error:
            # Also an address that is not allowed at this moment: the change is sent once it is.
            raise Undeliverable(str(error), permanent=False) from None
        if status not in _OK:
            raise Undeliverable(f"the receiver answered {status}", permanent=False)
        resolve_alert(
            kinds=[_STOPPED],
            about=hook.uuid,
            subject=f"{hook.environment.name}: {hook.name} receives changes again",
        )

    def note_stopped(self, *, addressee: UUID, error: str) -> None:
        """Raise the alert that messages wait for a receiver."""
        hook = Webhook.objects.filter(uuid=addressee).select_related("environment").first()
        if hook is None:
            return
        raise_alert(
            kind=_STOPPED,
            about=hook.uuid,
            environment=hook.environment,
            subject=f"{hook.environment.name}: the change webhook {hook.name} does not receive",
            lines=[
                f"{error}.",
                "Its messages wait, the newest of each secret. Check the receiver, or remove it.",
            ],
            link=reverse("notifications", args=[hook.environment.name]),
            signature="stopped",
        )


def _body(hook: Webhook, notice: AlertNotice) -> bytes:
    if notice.kind == KIND:
        return str(notice.lines[0]).encode()
    # A test: of no secret.
    data: dict[str, Any] = {"environment": hook.environment.name}
    return json.dumps({"type": "test", "timestamp": notice.at.isoformat(), "data": data}).encode()


def signed_headers(*, key: str, body: bytes, uuid: UUID) -> dict[str, str]:
    """Return the headers of a message, signed now (Standard Webhooks, version 1)."""
    identifier, timestamp = f"msg_{uuid.hex}", str(int(time.time()))
    try:
        secret = base64.b64decode(key.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise Undeliverable("the webhook's key is no key for signatures", permanent=True) from error
    signature = hmac.digest(secret, f"{identifier}.{timestamp}.".encode() + body, "sha256")
    return {
        "Content-Type": "application/json",
        "webhook-id": identifier,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
