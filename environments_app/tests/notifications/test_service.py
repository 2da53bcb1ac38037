"""Alerts are told once, grouped, not too often, and again after a recovery; deliveries are tried again."""

import smtplib
import socketserver
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.authorization.rows import access_rows
from environments_app.errors import Conflict, Forbidden, InvalidField, Invisible
from environments_app.models import Alert, Delivery, Environment, Recipient
from environments_app.notifications import service as notifications
from environments_app.notifications.recipients import (
    add_recipient,
    remove_addressee,
    retry_delivery,
    try_addressee,
)
from environments_app.notifications.service import (
    ATTEMPTS,
    MAX_LINES,
    AlertNotice,
    Undeliverable,
    deliver_due,
    message_users,
    raise_alert,
    resolve_alert,
)
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.every_database

TARGET = uuid4()


def test_a_message_has_a_subject_of_one_line_and_turns_no_direction(cast: Cast, settings: Settings) -> None:
    message_users(
        people=[cast.alice.uuid],
        environment=cast.development,
        kind="share",
        subject="Bob\r\nBcc: x shared",
        lines=["Comment: first\nsecond, at \u202etset.live\x00\x1b"],
    )
    settings.EMAIL_HOST = "mail.example"
    deliver_due()
    assert mail.outbox[0].subject == "[Keeper] Bob  Bcc: x shared"
    assert "\n\nComment: first\nsecond, at  tset.live  \n\n" in str(mail.outbox[0].body)


class Pigeon:
    """A transport that remembers what it was given, or fails as it is told."""

    name = "pigeon"
    reaches_people = False

    def __init__(self) -> None:
        self.carried: list[AlertNotice] = []
        self.failure: Undeliverable | None = None

    def addressees(self, environment: Environment | None) -> Sequence[UUID]:
        return [uuid4()]

    def send(self, *, addressee: UUID, notice: AlertNotice) -> None:
        if self.failure:
            raise self.failure
        self.carried.append(notice)


@pytest.fixture
def pigeon(monkeypatch: pytest.MonkeyPatch) -> Pigeon:
    bird = Pigeon()
    monkeypatch.setattr(notifications, "transports", lambda: {"pigeon": bird})
    return bird


def drift(cast: Cast, *names: str) -> bool:
    return raise_alert(
        kind="sync.drifted",
        about=TARGET,
        environment=cast.development,
        subject=f"{len(names)} secrets drifted",
        lines=names,
        link="/sync/1",
    )


def over() -> bool:
    return resolve_alert(kinds=["sync.drifted"], about=TARGET, subject="recovered")


def later(minutes: int) -> None:
    """Let the alerts and deliveries be older than they are."""
    past = timedelta(minutes=minutes)
    for alert in Alert.objects.all():
        Alert.objects.filter(pk=alert.pk).update(told_at=alert.told_at and alert.told_at - past)
    for delivery in Delivery.objects.all():
        Delivery.objects.filter(pk=delivery.pk).update(due_at=delivery.due_at - past)


def told(pigeon: Pigeon) -> list[tuple[str, list[str]]]:
    return [(notice.kind, list(notice.lines)) for notice in pigeon.carried]


def test_an_alert_is_told_with_its_lines_and_where_to_look(
    cast: Cast, pigeon: Pigeon, settings: Settings
) -> None:
    settings.KEEPER_URL = "https://keeper.example"
    assert drift(cast, "payments/db")
    assert deliver_due() == 1
    (notice,) = pigeon.carried
    assert (notice.environment, notice.subject) == ("development", "1 secrets drifted")
    assert notice.link == "https://keeper.example/sync/1"
    assert "payments/db" in notice.text


def test_the_newest_lines_of_many_come_first(cast: Cast) -> None:
    for number in range(MAX_LINES + 2):
        raise_alert(
            kind="kind",
            about=cast.alice.uuid,
            environment=cast.development,
            subject="many",
            lines=[f"line {number}"],
            adds=True,
        )
    lines = Alert.objects.get(kind="kind").lines
    assert lines == [f"line {number}" for number in range(MAX_LINES + 1, 1, -1)]


def test_what_is_found_again_without_news_is_not_told_again(cast: Cast, pigeon: Pigeon) -> None:
    drift(cast, "payments/db")
    later(60)
    assert not drift(cast, "payments/db")
    deliver_due()
    assert told(pigeon) == [("sync.drifted", ["payments/db"])]


def test_news_within_the_interval_wait_and_are_told_together(cast: Cast, pigeon: Pigeon) -> None:
    drift(cast, "a")
    assert drift(cast, "a", "b")
    assert drift(cast, "a", "b", "c")
    deliver_due()
    assert told(pigeon) == [("sync.drifted", ["a"])]
    later(31)
    deliver_due()
    assert told(pigeon) == [("sync.drifted", ["a"]), ("sync.drifted", ["a", "b", "c"])]
    later(31)
    assert deliver_due() == 0


def test_a_recovery_is_told_once_and_lets_the_next_alert_through(cast: Cast, pigeon: Pigeon) -> None:
    drift(cast, "a")
    assert over()
    assert not over()
    drift(cast, "a")
    deliver_due()
    assert [kind for kind, _ in told(pigeon)] == ["sync.drifted", "recovered", "sync.drifted"]


def test_what_nobody_was_told_of_recovers_silently(cast: Cast, pigeon: Pigeon) -> None:
    assert not over()
    assert deliver_due() == 0


def test_another_object_or_kind_is_told_for_itself(cast: Cast, pigeon: Pigeon) -> None:
    drift(cast, "a")
    raise_alert(kind="sync.drifted", about=uuid4(), environment=cast.production, subject="another")
    raise_alert(kind="key.unusable", about=TARGET, environment=None, subject="a key does not open")
    assert deliver_due() == 3


def test_what_may_pass_is_tried_again_later_and_not_for_ever(cast: Cast, pigeon: Pigeon) -> None:
    pigeon.failure = Undeliverable("no answer", permanent=False)
    drift(cast, "a")
    attempts = 0
    while Delivery.objects.get().state == "waiting":
        deliver_due()
        assert deliver_due() == 0, "not before it is due"
        attempts += 1
        assert Delivery.objects.get().error == "no answer"
        later(24 * 60)
    assert (attempts, Delivery.objects.get().state) == (ATTEMPTS, "failed")


def test_a_delivery_succeeds_at_a_later_attempt(cast: Cast, pigeon: Pigeon) -> None:
    pigeon.failure = Undeliverable("no answer", permanent=False)
    drift(cast, "a")
    deliver_due()
    pigeon.failure = None
    later(60)
    assert deliver_due() == 1
    assert (Delivery.objects.get().state, Delivery.objects.get().error) == ("sent", "")


# --- A receiver that fails, and the others ---------------------------------------------------------

GOOD, BAD, WORSE = UUID(int=1), UUID(int=2), UUID(int=3)


class Flock:
    """A transport with receivers of which some hang, or take all but one message."""

    name = "flock"
    reaches_people = False

    def __init__(self) -> None:
        self.tried: list[tuple[UUID, str]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def addressees(self, environment: Environment | None) -> Sequence[UUID]:
        return []

    def send(self, *, addressee: UUID, notice: AlertNotice) -> None:
        self.tried.append((addressee, notice.subject))
        if addressee != GOOD or notice.subject == "poison":
            self.meanwhile()
            raise Undeliverable("no answer in time", permanent=False)


@pytest.fixture
def flock(db: None, monkeypatch: pytest.MonkeyPatch) -> Flock:
    birds = Flock()
    monkeypatch.setattr(notifications, "transports", lambda: {"flock": birds})
    return birds


def queue(addressee: UUID, *subjects: str) -> None:
    for subject in subjects:
        Delivery.objects.create(transport="flock", addressee=addressee, kind="test", subject=subject)


def test_a_receiver_that_hangs_holds_up_itself_alone(flock: Flock) -> None:
    queue(BAD, *(f"bad {n}" for n in range(notifications._BATCH + 1)))
    queue(GOOD, *(f"good {n}" for n in range(3)))
    assert deliver_due() == 3
    assert [subject for who, subject in flock.tried if who == BAD] == ["bad 0"]
    # Not its other messages, and none that comes meanwhile, until its pause is over.
    queue(BAD, "bad new")
    queue(GOOD, "good new")
    flock.tried.clear()
    assert deliver_due() == 1
    assert flock.tried == [(GOOD, "good new")]


def test_what_comes_for_others_while_a_receiver_hangs_goes_before_the_next_that_failed(flock: Flock) -> None:
    queue(BAD, "a")
    queue(WORSE, "b")
    deliver_due()
    later(1)
    flock.tried.clear()

    def meanwhile() -> None:
        flock.meanwhile = lambda: None
        queue(GOOD, "came meanwhile")

    flock.meanwhile = meanwhile
    assert deliver_due() == 1
    assert [who for who, _ in flock.tried] == [BAD, GOOD, WORSE]


def test_the_pause_of_a_receiver_grows_with_all_that_it_failed_up_to_five_minutes(flock: Flock) -> None:
    queue(BAD, *(f"bad {n}" for n in range(20)))
    pauses = []
    for _ in range(7):
        deliver_due()
        first = Delivery.objects.order_by("due_at")[0]
        pauses.append(round((first.due_at - timezone.now()).total_seconds(), -1))
        later(24 * 60)
    assert pauses == [30, 60, 120, 240, 300, 300, 300]


def test_a_message_that_its_receiver_does_not_take_holds_up_no_other_of_it(flock: Flock) -> None:
    queue(GOOD, "poison", "1")
    deliver_due()
    later(1)
    queue(GOOD, "2")
    flock.tried.clear()
    assert deliver_due() == 2
    assert [subject for _, subject in flock.tried] == ["1", "2", "poison"]


def test_what_cannot_pass_is_not_tried_again(cast: Cast, pigeon: Pigeon) -> None:
    pigeon.failure = Undeliverable("gone", permanent=True)
    drift(cast, "a")
    deliver_due()
    assert (Delivery.objects.get().state, Delivery.objects.get().error) == ("failed", "gone")


def test_a_delivery_that_a_dead_worker_claimed_is_sent_later(cast: Cast, pigeon: Pigeon) -> None:
    drift(cast, "a")
    Delivery.objects.update(due_at=timezone.now() + timedelta(minutes=2), attempts=1)
    assert deliver_due() == 0
    later(3)
    assert deliver_due() == 1


def test_of_two_workers_who_found_the_same_delivery_one_sends_it(
    cast: Cast, pigeon: Pigeon, monkeypatch: pytest.MonkeyPatch
) -> None:
    drift(cast, "a")
    delivery = Delivery.objects.get()
    others: list[bool] = []
    carry = pigeon.send

    def send(*, addressee: UUID, notice: AlertNotice) -> None:
        # The other one has read the same list, and comes while this one is sending.
        others.append(notifications._deliver(delivery.pk))
        carry(addressee=addressee, notice=notice)

    monkeypatch.setattr(pigeon, "send", send)
    assert deliver_due() == 1
    assert (others, len(pigeon.carried)) == ([False], 1)


@pytest.mark.parametrize("meanwhile", ["it is over", "another worker told it"])
def test_news_that_wait_are_told_once_and_not_when_it_is_over(
    cast: Cast, pigeon: Pigeon, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    drift(cast, "a")
    drift(cast, "a", "b")
    deliver_due()
    later(31)
    pigeon.carried.clear()
    act = {"it is over": over, "another worker told it": notifications._tell_waiting}[meanwhile]

    def slowly(rows: Any) -> list[Any]:
        # It knows which wait; the rest happens before it takes the first of them.
        found = [*rows]
        monkeypatch.delattr(notifications, "list")
        act()
        return found

    monkeypatch.setattr(notifications, "list", slowly, raising=False)
    notifications._tell_waiting()
    deliver_due()
    expected = {"it is over": [("recovered", [])], "another worker told it": [("sync.drifted", ["a", "b"])]}
    assert told(pigeon) == expected[meanwhile]


# --- By e-mail -----------------------------------------------------------------------------------


@pytest.fixture
def mail_server(settings: Settings) -> None:
    settings.EMAIL_HOST = "mail.example"


def test_recipients_of_the_environment_alone_get_mail(cast: Cast, mail_server: None) -> None:
    alice = cast.principal(cast.alice)
    add_recipient(actor=alice, environment=cast.development, email="Ops@Example.com ")
    add_recipient(actor=alice, environment=cast.production, email="other@example.com")
    drift(cast, "payments/db")
    deliver_due()
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["ops@example.com"], "[Keeper] 1 secrets drifted")
    assert "payments/db" in str(message.body)


def test_a_person_whose_account_is_disabled_gets_no_mail(cast: Cast, mail_server: None) -> None:
    cast.bob.email = "bob@example.com"
    cast.bob.save()
    for active in (True, False):
        cast.bob.is_active = active
        cast.bob.save()
        message_users(
            people=[cast.bob.uuid], environment=None, kind="test", subject="a message", lines=[], link="/"
        )
        deliver_due()
    assert [message.to for message in mail.outbox] == [["bob@example.com"]]


def test_the_installation_has_addresses_of_its_own(db: None, mail_server: None, settings: Settings) -> None:
    settings.KEEPER_ALERT_EMAILS = ["ops@example.com"]
    raise_alert(kind="key.unusable", about=TARGET, environment=None, subject="a key does not open")
    deliver_due()
    assert [message.to for message in mail.outbox] == [["ops@example.com"]]


def test_a_recipient_written_by_sql_is_told_nothing(
    cast: Cast, mail_server: None, sql: Callable[..., None]
) -> None:
    add_recipient(actor=cast.principal(cast.alice), environment=cast.development, email="ops@example.com")
    sql("UPDATE environments_app_recipient SET email = 'thief@example.com'")
    drift(cast, "payments/db")
    assert (deliver_due(), mail.outbox) == (0, [])


def test_without_a_mail_server_the_row_says_what_to_do(cast: Cast, settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    add_recipient(actor=cast.principal(cast.alice), environment=cast.development, email="ops@example.com")
    drift(cast, "a")
    deliver_due()
    assert "EMAIL_HOST" in Delivery.objects.get().error


class MailServer(socketserver.StreamRequestHandler):
    """Takes one message, as SMTP has it (RFC 5321)."""

    got: list[str] = []

    def handle(self) -> None:
        self.wfile.write(b"220 mail.example\r\n")
        for line in iter(self.rfile.readline, b""):
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.got.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
            if verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 mail.example\r\n")


def test_a_mail_server_gets_the_message(cast: Cast, settings: Settings) -> None:
    MailServer.got = []
    with socketserver.TCPServer(("127.0.0.1", 0), MailServer) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        settings.EMAIL_BACKEND = "core.network.mail.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address[:2]
        settings.EMAIL_USE_TLS = False
        add_recipient(actor=cast.principal(cast.alice), environment=cast.development, email="ops@example.com")
        drift(cast, "payments/db")
        assert deliver_due() == 1, Delivery.objects.get().error
        server.shutdown()
    (message,) = MailServer.got
    assert "To: ops@example.com" in message
    assert "Subject: [Keeper] 1 secrets drifted" in message
    assert "payments/db" in message


@pytest.mark.parametrize(
    ("raised", "state"),
    [
        (smtplib.SMTPRecipientsRefused({"x": (550, b"s3cr3t")}), "failed"),
        (smtplib.SMTPServerDisconnected("s3cr3t"), "waiting"),
        (ConnectionRefusedError("s3cr3t"), "waiting"),
    ],
)
def test_what_a_mail_server_answers_is_told_in_our_words(
    cast: Cast, mail_server: None, monkeypatch: pytest.MonkeyPatch, raised: Exception, state: str
) -> None:
    def send(self: object) -> None:
        raise raised

    monkeypatch.setattr("django.core.mail.EmailMessage.send", send)
    add_recipient(actor=cast.principal(cast.alice), environment=cast.development, email="ops@example.com")
    drift(cast, "a")
    deliver_due()
    row = Delivery.objects.get()
    assert row.state == state
    assert "mail server" in row.error
    assert "s3cr3t" not in row.error


def test_adding_and_removing_is_recorded(cast: Cast, events: Callable[..., list[AuditEvent]]) -> None:
    alice = cast.principal(cast.alice)
    row = add_recipient(actor=alice, environment=cast.development, email="ops@example.com")
    try_addressee(actor=alice, addressee=row)
    remove_addressee(actor=alice, addressee=row)
    for action in ("create", "test", "remove"):
        (event,) = events(f"notification.{action}")
        assert (event.actor_name, event.object_name) == ("alice", "ops@example.com")
    assert Delivery.objects.get().kind == "test"
    assert not Recipient.objects.exists()
    assert not list(access_rows())


def test_only_managers_say_who_is_told(cast: Cast) -> None:
    for user, refusal in ((cast.erin, Forbidden), (cast.charlie, Invisible)):
        with pytest.raises(refusal):
            add_recipient(actor=cast.principal(user), environment=cast.development, email="ops@example.com")
    assert not Recipient.objects.exists()


def test_an_address_is_one_and_only_once(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    with pytest.raises(InvalidField):
        add_recipient(actor=alice, environment=cast.development, email="nobody")
    add_recipient(actor=alice, environment=cast.development, email="ops@example.com")
    with pytest.raises(Conflict):
        add_recipient(actor=alice, environment=cast.development, email="OPS@example.com")


def test_a_message_states_what_can_be_done_and_why_it_came(
    cast: Cast, mail_server: None, settings: Settings
) -> None:
    settings.KEEPER_URL, settings.KEEPER_ALERT_EMAILS = "https://keeper.example.com", ["root@example.com"]
    alice = cast.principal(cast.alice)
    add_recipient(actor=alice, environment=cast.production, email="ops@example.com")
    raise_alert(
        kind="approval",
        about=cast.production.uuid,
        environment=cast.production,
        subject="erin asks to update payments/db (production)",
        lines=["Reason: leaked"],
        link="/approvals/7",
        people=[cast.alice.uuid],
    )
    raise_alert(kind="keys", about=cast.bob.uuid, environment=None, subject="KMS is away", link="/health")
    deliver_due()
    bodies = {message.to[0]: (message.subject, str(message.body)) for message in mail.outbox}
    subject, body = bodies["alice@example.com"]
    assert subject == "[Keeper] erin asks to update payments/db (production)"
    assert body.split("\n\n")[:3] == [
        "erin asks to update payments/db (production).",
        "Reason: leaked",
        "Review: https://keeper.example.com/approvals/7",
    ]
    assert "because you may decide" in body
    assert "recipient of the alerts of production" in bodies["ops@example.com"][1]
    assert "Open: https://keeper.example.com/health" in bodies["root@example.com"][1]
    assert "KEEPER_ALERT_EMAILS" in bodies["root@example.com"][1]


def test_a_failed_message_is_sent_again_from_the_first_attempt_on(cast: Cast, pigeon: Pigeon) -> None:
    pigeon.failure = Undeliverable("the receiver is gone", permanent=True)
    drift(cast, "payments/key")
    deliver_due()
    message = Delivery.objects.get()
    assert message.state == "failed"
    pigeon.failure = None
    manager = cast.principal(cast.alice)
    for outsider, refusal in ((cast.bob, Forbidden), (cast.charlie, Invisible)):
        with pytest.raises(refusal):
            retry_delivery(actor=cast.principal(outsider), delivery=message)
    retry_delivery(actor=manager, delivery=message)
    assert deliver_due() == 1
    assert [notice.subject for notice in pigeon.carried] == [message.subject]
    event = AuditEvent.objects.filter(action="notification.retry", outcome="allowed").get()
    assert (event.object_name, event.object_uuid) == (message.subject, message.uuid)
    # It has arrived: a second press, or an old page, sends nothing twice.
    with pytest.raises(Conflict):
        retry_delivery(actor=manager, delivery=message)
    assert deliver_due() == 0
