"""Notifies users: one message for each kind and object, grouped, rate-limited, without values.

A condition without news is not sent again. News too soon after a message wait until the next one is
allowed, and are then sent together. The end of a condition is sent once, and a new occurrence at once.

Messages are rows (an outbox): `deliver_due` sends those that are due, retries transient failures, and
stores on the row why a delivery failed. It sends one to each receiver in turn. A receiver that failed is left
alone for the rest of the pass, and longer after each failure: one that hangs holds up itself alone.
"""

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import urljoin
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import F, Min, Q, QuerySet, Sum, UUIDField
from django.utils import timezone
from django.utils.module_loading import import_string

from audit_app.integrity.active_installation import is_active
from core.db.concurrency import claim
from core.db.prepared import Argument, PreparedQuery
from environments_app.models import Alert, Delivery, DeliveryState, Environment

# The kind of alerts that stay open until another person has reviewed an emergency read.
EMERGENCY: Final = "emergency"
# The maximum number of listed items; the caller states how many more there are.
MAX_LINES: Final = 20
MAX_LINE: Final = 500
ATTEMPTS: Final = 8
# A delivery that was claimed by a worker which died is due again after this.
_CLAIM: Final = timedelta(minutes=2)
_FIRST_WAIT: Final = timedelta(seconds=30)
_LONGEST_WAIT: Final = timedelta(days=1)
# Access that an administrator opened; nothing ends it, so it is listed for some days.
BREAK_GLASS: Final = "break-glass"
_LISTED: Final = timedelta(days=7)
# The use of a decoy, which the addresses of the installation get as well.
DECOY: Final = "decoy"
# What a receiver that failed is left alone for at most, while messages wait for it.
_LONGEST_PAUSE: Final = timedelta(minutes=5)
_BATCH: Final = 100
_PASS_SECONDS: Final = 20.0
_KEPT: Final = timedelta(days=30)
# The transport and the addressee.
_Receiver = tuple[str, UUID]
_log = logging.getLogger(__name__)


def one_line(text: str) -> str:
    """Return a text with a space for what breaks a line, turns the direction or is no character to print."""
    return "".join(each if each.isprintable() else " " for each in text)


class Undeliverable(Exception):
    """A message did not go out; the sentence is for the operator and names no secret address."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


@dataclass(frozen=True, kw_only=True)
class AlertNotice:
    """One message as its reader gets it; `link` is an address of Keeper's own."""

    uuid: UUID
    kind: str
    environment: str
    subject: str
    lines: Sequence[str]
    link: str
    at: datetime

    @property
    def text(self) -> str:
        return "\n".join([self.subject, "", *self.lines, *(["", self.link] if self.link else [])])


class Transport(Protocol):
    """One way to reach people; settings.KEEPER_NOTIFIERS lists them by dotted path."""

    name: str
    # Whether an addressee may be an account, by its uuid.
    reaches_people: bool

    def addressees(self, environment: Environment | None) -> Sequence[UUID]: ...

    def send(self, *, addressee: UUID, notice: AlertNotice) -> None:
        """Deliver a message. Raises Undeliverable."""
        ...


@runtime_checkable
class WaitingTransport(Protocol):
    """A transport whose messages wait for their receiver, instead of being given up."""

    def note_stopped(self, *, addressee: UUID, error: str) -> None:
        """Take note that a message failed ATTEMPTS times, and is tried once a day from now on."""
        ...


@cache
def transports() -> dict[str, Transport]:
    """Return the ways to reach people by their names."""
    notifiers: list[Transport] = [import_string(path)() for path in settings.KEEPER_NOTIFIERS]
    return {transport.name: transport for transport in notifiers}


def raise_alert(
    *,
    kind: str,
    about: UUID,
    environment: Environment | None,
    subject: str,
    lines: Sequence[str] = (),
    link: str = "",
    signature: str = "",
    people: Collection[UUID] = (),
    adds: bool = False,
) -> bool:
    """Raise an alert, or send news about an open one; return whether there are news.

    `about` is the uuid of what it concerns, `environment` None for the installation as a whole,
    `link` the path of the page to look at, and `signature` (64 characters) is compared to
    detect news: by default the subject and lines. `people` are accounts notified in
    addition to the environment's recipients. With `adds` the lines of the open alert stay below the new ones.
    """
    shortened = [line[:MAX_LINE] for line in lines]
    if environment is not None and environment.deleted_at is not None:
        return False
    with transaction.atomic():
        Alert.objects.get_or_create(
            kind=kind, about=about, open=True, defaults={"environment": environment, "subject": subject}
        )
        alert = Alert.objects.select_for_update().get(kind=kind, about=about, open=True)
        if alert.told_at and _is_known(alert, signature, subject, shortened):
            return False
        if adds:
            shortened = list(dict.fromkeys([*shortened, *alert.lines]))[:MAX_LINES]
        alert.subject, alert.lines, alert.link, alert.signature = subject, shortened, link, signature
        alert.waiting = alert.told_at is not None and alert.told_at > timezone.now() - _interval()
        if not alert.waiting:
            _tell(alert, kind=kind, subject=subject, lines=shortened, link=link)
            message_users(
                people=people, environment=environment, kind=kind, subject=subject, lines=shortened, link=link
            )
        alert.save()
    return True


def message_users(
    *,
    people: Collection[UUID],
    environment: Environment | None,
    kind: str,
    subject: str,
    lines: Sequence[str] = (),
    link: str = "",
) -> None:
    """Notify accounts of something that concerns them, in the caller's transaction, if any can be reached."""
    reaching = [name for name, transport in transports().items() if transport.reaches_people]
    _queue(
        [(name, person) for name in reaching for person in people],
        environment=environment,
        kind=kind,
        subject=subject[:200],
        lines=lines,
        link=link,
    )


@cache
def _open_alert(kinds: frozenset[str]) -> PreparedQuery[tuple[int]]:
    return PreparedQuery(
        lambda: (
            Alert.objects.filter(kind__in=sorted(kinds), about=Argument(0, UUIDField()), open=True)
            .order_by()
            .values_list("pk")[:1]
        )
    )


def resolve_alert(
    *,
    kinds: Collection[str],
    about: UUID,
    subject: str,
    lines: Sequence[str] = (),
    link: str = "",
    last: bool = False,
) -> bool:
    """Close the open alerts of these kinds about something; return whether there were any.

    Their recipients are notified of the end. `last`: nothing closes alerts about it after this, so that it
    waits for an alert that another transaction is raising.
    """
    # Every run and check that succeeds asks this, and mostly there is none: nothing is locked for that.
    if not last and _open_alert(frozenset(kinds)).first(about) is None:
        return False
    with transaction.atomic():
        alerts = list(Alert.objects.select_for_update().filter(kind__in=kinds, about=about, open=True))
        Alert.objects.filter(pk__in=[alert.pk for alert in alerts]).update(
            open=None, waiting=False, closed_at=timezone.now()
        )
        notified = next((alert for alert in alerts if alert.told_at), None)
        if notified:
            _tell(notified, kind="recovered", subject=subject, lines=list(lines), link=link)
    return bool(alerts)


def close_alerts(
    *, kind: str, environment: Environment, subject: str, line: str, link: str, people: Collection[UUID] = ()
) -> None:
    """Send the news that alerts of a kind are over, and close those that link to a page.

    The news go out even if none is open, with the lines that an open one has not sent yet.
    """
    with transaction.atomic():
        alerts = list(Alert.objects.select_for_update().filter(kind=kind, link=link, open=True))
        unsent = [each for alert in alerts if alert.waiting for each in alert.lines]
        lines = list(dict.fromkeys([line, *unsent]))[:MAX_LINES]
        Alert.objects.filter(pk__in=[alert.pk for alert in alerts]).update(
            open=None, waiting=False, closed_at=timezone.now()
        )
        news = Alert(
            kind=kind, about=uuid4(), open=None, closed_at=timezone.now(), environment=environment,
            subject=subject, lines=lines, link=link,
        )  # fmt: skip
        _tell(news, kind=kind, subject=subject, lines=lines, link=link)
        news.save()
        message_users(
            people=people, environment=environment, kind=kind, subject=subject, lines=lines, link=link
        )


def still_open(kind: str) -> set[UUID]:
    """Return what there are open alerts of a kind about, by uuid."""
    return set(Alert.objects.filter(kind=kind, open=True).values_list("about", flat=True))


def send_test(*, transport: str, addressee: UUID, environment: Environment) -> None:
    """Queue a test message."""
    Delivery.objects.create(
        environment=environment,
        transport=transport,
        addressee=addressee,
        kind="test",
        subject=f"{environment.name}: this is a test",
        lines=["A user asked Keeper to show that messages arrive here. Nothing has happened."],
    )


def deliver_due() -> int:
    """Send waiting news and due deliveries; return how many were sent.

    An inactive installation sends none: a copy must not notify.
    """
    if not is_active():
        return 0
    _tell_waiting()
    now = timezone.now()
    Delivery.objects.filter(finished_at__lt=now - _KEPT).delete()
    passed = Alert.objects.filter(kind=BREAK_GLASS, open=True, opened_at__lt=now - _LISTED)
    passed.update(open=None, waiting=False, closed_at=now)
    # What receivers that do not answer leave undone waits for the next pass, and holds nothing else up.
    until, sent = time.monotonic() + _PASS_SECONDS, 0
    failed: set[_Receiver] = set()
    while turn := _next_of_each(failed):
        for receiver in turn:
            if time.monotonic() >= until:
                return sent
            if not _deliver(_first_for(receiver)):
                failed.add(receiver)
                # It may have taken long: what is due by now for others goes first.
                break
            sent += 1
    return sent


def _next_of_each(failed: Collection[_Receiver]) -> list[_Receiver]:
    """Return to whom something is due: first who did not fail, then who waits longest."""
    now = timezone.now()
    waiting = Delivery.objects.filter(
        state=DeliveryState.WAITING, environment__deleted_at__isnull=True
    ).order_by()
    pausing = waiting.filter(due_at__gt=now, due_at__lte=now + _LONGEST_PAUSE).exclude(error="")
    left_out = {*failed, *pausing.values_list("transport", "addressee").distinct()}
    due = waiting.filter(due_at__lte=now).values_list("transport", "addressee")
    turn = due.annotate(tried=Sum("attempts"), oldest=Min("due_at")).order_by("tried", "oldest")
    receivers = ((transport, addressee) for transport, addressee, *_ in turn)
    return [receiver for receiver in receivers if receiver not in left_out]


def _first_for(receiver: _Receiver) -> int | None:
    """Return the message to send next: one that it failed comes last, so that it holds up no other."""
    rows = _waiting_for(*receiver).filter(due_at__lte=timezone.now())
    return rows.order_by("attempts", "due_at", "id").values_list("pk", flat=True).first()


def _waiting_for(transport: str, addressee: UUID) -> "QuerySet[Delivery]":
    return Delivery.objects.filter(
        transport=transport,
        addressee=addressee,
        state=DeliveryState.WAITING,
        environment__deleted_at__isnull=True,
    )


def _is_known(alert: Alert, signature: str, subject: str, lines: list[str]) -> bool:
    if signature or alert.signature:
        return alert.signature == signature
    return alert.subject == subject and alert.lines == lines


def _interval() -> timedelta:
    return timedelta(minutes=settings.KEEPER_ALERT_INTERVAL_MINUTES)


def _tell(alert: Alert, *, kind: str, subject: str, lines: Sequence[str], link: str) -> None:
    alert.told_at = timezone.now()
    recipients = [
        (name, addressee)
        for name, transport in transports().items()
        for addressee in transport.addressees(alert.environment)
    ]
    if alert.kind == DECOY and alert.environment is not None:
        recipients += [(name, each) for name, way in transports().items() for each in way.addressees(None)]
    _queue(recipients, environment=alert.environment, kind=kind, subject=subject, lines=lines, link=link)


def _queue(recipients: Iterable[tuple[str, UUID]], *, subject: str, **message: Any) -> None:
    """Write a row for each transport and addressee, in the transaction of the alert."""
    message["subject"] = one_line(subject)
    Delivery.objects.bulk_create(
        Delivery(transport=transport, addressee=addressee, **message) for transport, addressee in recipients
    )


def _tell_waiting() -> None:
    waiting = Q(
        waiting=True,
        open=True,
        told_at__lte=timezone.now() - _interval(),
        environment__deleted_at__isnull=True,
    )
    for pk in list(Alert.objects.filter(waiting).values_list("pk", flat=True)[:_BATCH]):
        with transaction.atomic():
            alert = Alert.objects.select_for_update().filter(waiting, pk=pk).first()
            if alert is None:
                continue
            _tell(alert, kind=alert.kind, subject=alert.subject, lines=alert.lines, link=alert.link)
            alert.waiting = False
            alert.save(update_fields=["waiting", "told_at"])


def _deliver(pk: int | None) -> bool:
    """Claim one delivery and send it, so that one worker does."""
    if pk is None:
        return False
    now = timezone.now()
    free = Q(state=DeliveryState.WAITING, due_at__lte=now)
    rows = Delivery.objects.select_related("environment")
    delivery = claim(rows, pk, free, due_at=now + _CLAIM, attempts=F("attempts") + 1)
    if delivery is None:
        return False
    try:
        _transport(delivery.transport).send(addressee=delivery.addressee, notice=_notice(delivery))
    except Undeliverable as error:
        _note_failure(delivery, error)
        return False
    _finish(delivery, DeliveryState.SENT, "")
    return True


def _transport(name: str) -> Transport:
    transport = transports().get(name)
    if transport is None:
        raise Undeliverable("this way of notifying is not configured any more", permanent=True)
    return transport


def _notice(delivery: Delivery) -> AlertNotice:
    return AlertNotice(
        uuid=delivery.uuid,
        kind=delivery.kind,
        environment=delivery.environment.name if delivery.environment else "",
        subject=delivery.subject,
        lines=delivery.lines,
        link=urljoin(settings.KEEPER_URL, delivery.link) if delivery.link else "",
        at=delivery.created_at,
    )


def _note_failure(delivery: Delivery, error: Undeliverable) -> None:
    _log.warning("a notification of kind %s was not delivered: %s", delivery.kind, error)
    transport: object = transports().get(delivery.transport)
    waiting = transport if isinstance(transport, WaitingTransport) else None
    if error.permanent or (delivery.attempts >= ATTEMPTS and waiting is None):
        _finish(delivery, DeliveryState.FAILED, str(error))
        return
    now, reason = timezone.now(), str(error)[:300]
    others = _waiting_for(delivery.transport, delivery.addressee)
    failures = others.aggregate(all=Sum("attempts"))["all"] or delivery.attempts
    # A receiver for which messages wait for as long as it takes fails as a whole, not by each of them.
    is_over = waiting is not None and failures >= ATTEMPTS
    if is_over and waiting:
        waiting.note_stopped(addressee=delivery.addressee, error=str(error))
    pause = min(_FIRST_WAIT * 2 ** min(failures - 1, ATTEMPTS), _LONGEST_PAUSE)
    others.filter(due_at__lt=now + pause).update(due_at=now + pause, error=reason)
    wait = _LONGEST_WAIT if is_over else max(_FIRST_WAIT * 2 ** (delivery.attempts - 1), pause)
    Delivery.objects.filter(pk=delivery.pk).update(due_at=now + wait, error=reason)


def _finish(delivery: Delivery, state: DeliveryState, error: str) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(state=state, error=error[:300], finished_at=timezone.now())
