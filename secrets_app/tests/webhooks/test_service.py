"""Webhooks: signed, sealed, recorded before they are opened, and only to where Keeper may connect."""

import hashlib
import hmac
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.errors import Conflict, Forbidden, InvalidField
from environments_app.models import Delivery, User
from environments_app.notifications.recipients import remove_addressee, try_addressee
from environments_app.notifications.service import deliver_due, raise_alert
from environments_app.tests.cast import Cast
from secrets_app.models import Webhook
from secrets_app.webhooks import add_webhook

pytestmark = pytest.mark.every_database_weekly


class Receiver(BaseHTTPRequestHandler):
    answer = 200
    got: list[tuple[str, dict[str, str], bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, dict(self.headers), body))
        self.send_response(self.answer)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def receiver(settings: Settings) -> Iterator[str]:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    Receiver.got, Receiver.answer = [], 200
    with HTTPServer(("127.0.0.1", 0), Receiver) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/T0/s3cr3tpath?sig=s3cr3tsig"
        http.shutdown()


def made(cast: Cast, url: str, **options: str) -> tuple[Webhook, str]:
    return add_webhook(
        actor=cast.principal(cast.alice), environment=cast.development, url=url, **{"name": "ops", **options}
    )


def test_one_without_a_name_has_that_of_the_host(cast: Cast, receiver: str) -> None:
    assert made(cast, receiver, name=" ")[0].name == "127.0.0.1"


def alarm(cast: Cast, subject: str = "1 secret <drifted>") -> None:
    raise_alert(
        kind="sync.drifted", about=uuid4(), environment=cast.development, subject=subject, lines=["a/b"]
    )
    deliver_due()


def test_a_message_is_signed_over_timestamp_and_body(cast: Cast, receiver: str) -> None:
    _, key = made(cast, receiver)
    alarm(cast)
    ((path, headers, body),) = Receiver.got
    assert path == "/T0/s3cr3tpath?sig=s3cr3tsig"
    stamp = headers["Keeper-Timestamp"]
    expected = hmac.new(key.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["Keeper-Signature"] == f"v1={expected}"
    assert abs(int(stamp) - time.time()) < 60
    assert json.loads(body) == {"text": "1 secret &lt;drifted&gt;\n\na/b"}


def test_each_webhook_gets_its_own_message_at_its_own_address(cast: Cast, receiver: str) -> None:
    first, _ = made(cast, f"{receiver}&of=first")
    second, _ = made(cast, f"{receiver}&of=second", name="second")
    elsewhere, _ = add_webhook(
        actor=cast.principal(cast.alice),
        environment=cast.production,
        url=f"{receiver}&of=third",
        name="third",
    )
    assert {first.created_by, second.created_by, elsewhere.created_by} == {"alice"}
    try_addressee(actor=cast.principal(cast.alice), addressee=second)
    deliver_due()
    assert [path.partition("of=")[2] for path, _, _ in Receiver.got] == ["second"]
    Receiver.got.clear()
    alarm(cast)
    assert {path.partition("of=")[2] for path, _, _ in Receiver.got} == {"first", "second"}


@pytest.mark.parametrize("url", ["https://10.0.0.9/hook", "https://169.254.169.254/hook"])
def test_a_forbidden_address_is_refused_when_it_is_given(cast: Cast, url: str) -> None:
    with pytest.raises(InvalidField, match="KEEPER_OUTBOUND_ALLOWED"):
        made(cast, url)
    assert not Webhook.objects.exists()


def test_json_tells_each_part_apart(cast: Cast, receiver: str) -> None:
    made(cast, receiver, style="json")
    alarm(cast)
    ((_, headers, body),) = Receiver.got
    document = json.loads(body)
    assert document["id"] == headers["Keeper-Delivery"] == str(Delivery.objects.get().uuid)
    assert (document["kind"], document["environment"]) == ("sync.drifted", "development")
    assert document["lines"] == ["a/b"]


def test_the_address_is_opened_after_the_event_and_stands_nowhere(
    cast: Cast, receiver: str, events: Callable[..., list[AuditEvent]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook, key = made(cast, receiver)
    Receiver.answer = 500
    alarm(cast)
    (event,) = events("notification.send")
    assert event.object_uuid == webhook.uuid
    stored = json.dumps(
        [list(Webhook.objects.values("name", "endpoint")), list(Delivery.objects.values("error", "subject"))]
    ) + str([row.details for row in AuditEvent.objects.all()])
    for secret in ("s3cr3tpath", "s3cr3tsig", key):
        assert secret not in stored
        assert secret not in " ".join(
            record.getMessage() for record in caplog.records if "urllib3" not in record.name
        )


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (404, "failed", "answered 404"),
        (307, "failed", "answered 307"),
        (500, "waiting", "answered 500"),
        (503, "waiting", "answered 503"),
        (429, "waiting", "429"),
    ],
)
def test_what_the_receiver_answers_decides_whether_it_is_tried_again(
    cast: Cast, receiver: str, answer: int, state: str, words: str
) -> None:
    made(cast, receiver)
    Receiver.answer = answer
    alarm(cast)
    row = Delivery.objects.get()
    assert row.state == state
    assert words in row.error
    assert len(Receiver.got) == 1, "no redirect is followed"


def test_an_address_inside_is_refused(cast: Cast, receiver: str, settings: Settings) -> None:
    made(cast, receiver)
    settings.KEEPER_OUTBOUND_ALLOWED = []
    alarm(cast)
    assert (Delivery.objects.get().state, Receiver.got) == ("failed", [])
    assert "KEEPER_OUTBOUND_ALLOWED" in Delivery.objects.get().error


def test_nobody_listening_is_tried_again_without_quoting_the_address(
    cast: Cast, receiver: str, signed_in: Callable[[User], Client]
) -> None:
    made(cast, "http://127.0.0.1:9/s3cr3tpath")
    alarm(cast)
    row = Delivery.objects.get()
    assert (row.state, row.error) == ("waiting", "no answer")
    page = signed_in(cast.alice).get("/environments/development/notifications").content.decode()
    assert "failed, will retry" in page


@pytest.mark.parametrize("column", ["endpoint", "name"])
def test_a_row_changed_by_sql_is_told_nothing(
    cast: Cast, receiver: str, sql: Callable[..., None], column: str
) -> None:
    made(cast, receiver)
    sql(f"UPDATE secrets_app_webhook SET {column} = 'https://thief.example'")
    alarm(cast)
    assert (Delivery.objects.count(), Receiver.got) == (0, [])


def test_an_envelope_moved_to_another_webhook_does_not_open(
    cast: Cast, receiver: str, sql: Callable[..., None]
) -> None:
    first, _ = made(cast, receiver)
    actor = cast.principal(cast.alice)
    second, _ = add_webhook(
        actor=actor, environment=cast.development, name="other", url="https://hooks.example/x"
    )
    sql(
        "UPDATE secrets_app_webhook SET sealed = (SELECT s FROM (SELECT sealed AS s FROM secrets_app_webhook "
        "WHERE id = %s) AS t) WHERE id = %s",
        first.pk,
        second.pk,
    )
    remove_addressee(actor=actor, addressee=first)
    alarm(cast)
    assert (Delivery.objects.get().state, Receiver.got) == ("failed", [])


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "https://user:pw@x/y", "https://x/y#z", "not an address", "https://", ""]
)
def test_what_is_no_address_is_refused_without_repeating_it(cast: Cast, url: str) -> None:
    with pytest.raises(InvalidField) as refused:
        made(cast, url)
    assert "pw" not in refused.value.reason
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "may"),
    [("o", True), ("o" * 100, True), ("o" * 101, False), ("a\nb", False)],
)
def test_a_name_is_one_short_line(cast: Cast, name: str, may: bool) -> None:
    if may:
        made(cast, "https://hooks.example/x", name=name)
    else:
        with pytest.raises(InvalidField, match="one line"):
            made(cast, "https://hooks.example/x", name=name)
    assert Webhook.objects.exists() is may


def test_names_are_unique_and_only_managers_add(cast: Cast) -> None:
    made(cast, "https://hooks.example/x")
    with pytest.raises(Conflict):
        made(cast, "https://hooks.example/x")
    with pytest.raises(Forbidden):
        add_webhook(
            actor=cast.principal(cast.erin), environment=cast.development, name="x", url="https://x/y"
        )


def test_a_test_is_queued_and_recorded(
    cast: Cast, receiver: str, events: Callable[..., list[AuditEvent]]
) -> None:
    webhook, _ = made(cast, receiver)
    try_addressee(actor=cast.principal(cast.alice), addressee=webhook)
    assert deliver_due() == 1
    assert events("notification.test")
    assert b"this is a test" in Receiver.got[0][2]


def test_the_page_shows_the_key_once_and_the_host_later(
    cast: Cast, signed_in: Callable[..., Client], receiver: str
) -> None:
    client = signed_in(cast.alice)
    form = {"name": "ops", "url": receiver, "style": "slack"}
    response = client.post("/environments/development/webhooks", form)
    assert "be able to see it again" in response.content.decode()
    page = client.get("/environments/development/notifications").content.decode()
    assert "127.0.0.1" in page
    assert "s3cr3tpath" not in page


def test_the_api_shows_the_key_once(cast: Cast, bearer: Callable[..., Client], receiver: str) -> None:
    client = bearer("manager", cast.development)
    path = "/api/environments/development/webhooks"
    answer = client.post(path, {"name": "ops", "url": receiver}, content_type="application/json").json()
    assert len(answer["key"]) > 40
    listed = client.get(path).content.decode()
    assert answer["key"] not in listed
    assert "s3cr3tpath" not in listed


def test_an_operator_adds_one_in_the_admin_and_sees_its_key_once(
    cast: Cast, receiver: str, signed_in: Callable[..., Client]
) -> None:
    root = signed_in(cast.root)
    path = "/admin/secrets_app/webhook/acts/add_webhook/"
    assert path in root.get("/admin/secrets_app/webhook/").content.decode()
    given = {"environment": str(cast.development.pk), "name": "ops", "url": receiver, "style": "json"}
    shown = root.post(path, given).content.decode()
    stored = Webhook.objects.get(name="ops")
    alarm(cast)
    ((_, headers, body),) = Receiver.got
    message = f"{headers['Keeper-Timestamp']}.".encode() + body
    signing = [
        key
        for key in re.findall(r"[A-Za-z0-9_-]{43}", shown)
        if f"v1={hmac.new(key.encode(), message, hashlib.sha256).hexdigest()}" == headers["Keeper-Signature"]
    ]
    assert signing
    page = root.get(f"/admin/secrets_app/webhook/{stored.pk}/change/").content.decode()
    assert signing[0] not in page
    assert "s3cr3tpath" not in page
