"""Change webhooks: each new current version once, signed for any library of Standard Webhooks, without a value."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from environments_app.environments.deletion import delete_environment
from environments_app.models import Alert, Delivery, DeliveryState, User
from environments_app.notifications.recipients import remove_addressee, try_addressee
from environments_app.notifications.service import ATTEMPTS, deliver_due, raise_alert
from environments_app.tests.cast import Cast
from secrets_app import change_webhooks
from secrets_app.change_webhooks import queue_changes
from secrets_app.models import ChangePosition, Secret, Webhook
from secrets_app.services import lifecycle, write
from secrets_app.services.bulk_create import NewSecret, create_many
from secrets_app.services.guarded import guard
from secrets_app.tests.kept import VALUE, change, keep
from secrets_app.tests.services.test_version_stages import promote, stage
from secrets_app.tests.webhooks.test_service import Receiver, made, receiver
from secrets_app.types.registry import SecretType
from secrets_app.webhooks import add_webhook

pytestmark = pytest.mark.every_database
__all__ = ["receiver"]


def hooked(cast: Cast, url: str) -> tuple[Webhook, str]:
    return made(cast, url, style="changes")


def send() -> list[dict[str, Any]]:
    """Queue and send what is due, and return the bodies that arrived since the last time."""
    Receiver.got.clear()
    queue_changes()
    deliver_due()
    return [json.loads(body) for _, _, body in Receiver.got]


def later(**span: float) -> None:
    Delivery.objects.filter(state=DeliveryState.WAITING).update(due_at=timezone.now() - timedelta(**span))


def test_each_new_current_version_is_sent_once_without_its_value(cast: Cast, receiver: str) -> None:
    keep(cast, "before", "told-to-nobody")
    hooked(cast, receiver)
    secret = keep(cast, "shop/db")
    (body,) = send()
    assert (body["type"], body["timestamp"][-1]) == ("secret.changed", "Z")
    assert body["data"] == {
        "environment": "development",
        "name": "shop/db",
        "id": secret.pk,
        "uuid": str(secret.uuid),
        "version": 1,
        "by": "user",
    }
    change(cast, secret, "another value")
    alice, stored = cast.principal(cast.alice), Secret.objects.select_related("environment").get(pk=secret.pk)
    write.rollback(actor=alice, secret=stored, number=1)
    assert [body["data"]["version"] for body in send()] == [3]
    assert send() == []
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    write.update(actor=alice, secret=stored, description="only words")
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    lifecycle.rename(actor=alice, secret=stored, name="shop/renamed")
    keep(cast, "elsewhere", environment=cast.production)
    assert send() == []
    assert VALUE not in str(list(Delivery.objects.values_list("lines", "subject")))


def test_a_guarded_secret_is_told_to_nobody(cast: Cast, receiver: str) -> None:
    hooked(cast, receiver)
    secret = keep(cast, "shop/root")
    keep(cast, "shop/db")
    guard(
        actor=cast.principal(cast.alice),
        secret=Secret.objects.select_related("environment").get(pk=secret.pk),
    )
    change(cast, secret, "another value")
    assert [body["data"]["name"] for body in send()] == ["shop/db"]


def test_a_staged_version_is_told_when_it_is_served(cast: Cast, receiver: str) -> None:
    secret = keep(cast, "shop/db")
    hooked(cast, receiver)
    stage(cast, secret)
    assert send() == []
    promote(cast, secret)
    assert [(body["data"]["version"], body["data"]["by"]) for body in send()] == [(2, "rotation")]


def test_a_deleted_environment_tells_nobody(cast: Cast, receiver: str) -> None:
    hooked(cast, receiver)
    keep(cast, "shop/db")
    delete_environment(actor=cast.principal(cast.alice), environment=cast.development)
    assert send() == []
    assert not Delivery.objects.filter(kind="secret.changed").exists()


def test_creations_of_many_are_sent_one_by_one(cast: Cast, receiver: str) -> None:
    hooked(cast, receiver)
    items = [
        NewSecret(environment=cast.development, name=f"m/{n}", secret_type=SecretType.TEXT, value=VALUE)
        for n in range(3)
    ]
    create_many(actor=cast.principal(cast.alice), items=items)
    assert sorted(body["data"]["name"] for body in send()) == ["m/0", "m/1", "m/2"]


def test_a_foreign_verifier_accepts_the_signature_and_no_other_body(cast: Cast, receiver: str) -> None:
    """As the specification of Standard Webhooks computes it; the library `standardwebhooks` agrees."""
    _, key = hooked(cast, receiver)
    keep(cast)
    send()
    ((_, headers, body),) = Receiver.got
    names = {name.lower(): text for name, text in headers.items()}
    assert key.startswith("whsec_")
    signed = f"{names['webhook-id']}.{names['webhook-timestamp']}.".encode()
    digest = hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed + body, hashlib.sha256).digest()
    assert names["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert names["webhook-id"].startswith("msg_")


def test_it_gets_no_alerts_and_alert_webhooks_get_no_changes(cast: Cast, receiver: str) -> None:
    hook, _ = hooked(cast, receiver)
    add_webhook(actor=cast.principal(cast.alice), environment=cast.development, name="b", url=receiver)
    keep(cast)
    raise_alert(kind="x", about=hook.uuid, environment=cast.development, subject="drift")
    bodies = send()
    assert sorted("text" in body for body in bodies) == [False, True]


def test_a_receiver_that_is_down_gets_the_newest_of_each_secret_and_an_alert_is_raised(
    cast: Cast, receiver: str
) -> None:
    hooked(cast, receiver)
    one, two = keep(cast, "one"), keep(cast, "two")
    Receiver.answer = 503
    send()
    assert not Alert.objects.filter(kind="webhook.stopped").exists()
    for _ in range(ATTEMPTS):
        later(hours=1)
        deliver_due()
    alert = Alert.objects.get(kind="webhook.stopped", open=True)
    assert "does not receive" in alert.subject
    waiting = Delivery.objects.filter(kind="secret.changed")
    assert set(waiting.values_list("state", flat=True)) == {DeliveryState.WAITING}
    change(cast, one, "v2")
    change(cast, Secret.objects.select_related("environment").get(pk=one.pk), "v3")
    queue_changes()
    assert waiting.filter(state=DeliveryState.WAITING).count() == 2
    Receiver.answer = 200
    later(hours=1)
    assert sorted((b["data"]["name"], b["data"]["version"]) for b in send()) == [("one", 3), ("two", 1)]
    assert not Alert.objects.filter(kind="webhook.stopped", open=True).exists()
    assert two.pk


def test_the_message_keeps_its_id_when_it_is_sent_again(cast: Cast, receiver: str) -> None:
    hooked(cast, receiver)
    keep(cast)
    Receiver.answer = 500
    ids = []
    for _ in range(2):
        send()
        later(hours=1)
        ids += [headers.get("Webhook-Id") or headers["webhook-id"] for _, headers, _ in Receiver.got]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_a_receiver_that_becomes_forbidden_waits_too(cast: Cast, receiver: str, settings: Settings) -> None:
    hooked(cast, receiver)
    keep(cast)
    settings.KEEPER_OUTBOUND_ALLOWED = []
    assert send() == []
    assert Delivery.objects.get(kind="secret.changed").state == DeliveryState.WAITING
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    later(hours=1)
    assert len(send()) == 1


@pytest.mark.parametrize("url", ["http://169.254.169.254/x", "http://[::1]:8080/", "ftp://hooks.example/"])
def test_it_goes_only_where_alerts_may_go(cast: Cast, url: str) -> None:
    with pytest.raises(Exception, match=r"(?i)url|address|allowed|write"):
        hooked(cast, url)


@pytest.mark.parametrize("statement", ["INSERT INTO", "UPDATE"])
def test_a_kill_between_any_two_statements_loses_and_repeats_nothing(
    cast: Cast, receiver: str, statement: str
) -> None:
    hooked(cast, receiver)
    keep(cast, "one")
    keep(cast, "two")

    def crash(execute: Any, text: str, parameters: Any, many: bool, context: Any) -> Any:
        result = execute(text, parameters, many, context)
        if text.startswith(statement):
            raise RuntimeError("the worker died")
        return result

    for _ in range(2):
        with pytest.raises(RuntimeError), connection.execute_wrapper(crash):
            queue_changes()
    assert sorted(body["data"]["name"] for body in send()) == ["one", "two"]
    assert send() == []


def test_a_copy_that_is_not_active_queues_none(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_webhooks, "is_active", lambda: False)
    assert queue_changes() == 0
    assert not ChangePosition.objects.exists()


def test_what_was_removed_or_edited_is_sent_nothing(cast: Cast, receiver: str) -> None:
    hook, _ = hooked(cast, receiver)
    keep(cast)
    queue_changes()
    Webhook.objects.filter(pk=hook.pk).update(name=F("endpoint"))
    deliver_due()
    assert Receiver.got == []
    assert Delivery.objects.get(kind="secret.changed").state == DeliveryState.FAILED
    remove_addressee(actor=cast.principal(cast.alice), addressee=hook)


def test_a_test_message_is_signed_the_same_way(cast: Cast, receiver: str) -> None:
    hook, _ = hooked(cast, receiver)
    try_addressee(actor=cast.principal(cast.alice), addressee=hook)
    (body,) = send()
    assert body["type"] == "test"


def test_the_page_and_the_api_make_one(cast: Cast, receiver: str, signed_in: Any) -> None:
    client: Client = signed_in(User.objects.get(pk=cast.alice.pk))
    form = {"name": "ops", "url": receiver, "style": "changes"}
    page = client.post("/environments/development/webhooks", form).content.decode()
    assert "whsec_" in page
    assert "webhook-signature" in page
    assert "changes of secrets" in client.get("/environments/development/notifications").content.decode()
    body = {"name": "api", "url": receiver, "style": "changes"}
    answer = client.post(
        "/api/environments/development/webhooks", body, content_type="application/json"
    ).json()
    assert answer["key"].startswith("whsec_")
