"""Systems are asked by one worker in a bounded time; what changed is recorded and told, once."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models.notification import Alert, Delivery
from operations_app.health import probes
from operations_app.health import service as health
from operations_app.health.probes import QUESTIONS, ProbeResult, Question
from operations_app.health.service import HealthFailure
from operations_app.models import ExternalSystem, System, SystemState
from secrets_app.errors import NetworkInTransaction

pytestmark = [pytest.mark.every_database, pytest.mark.django_db]
Events = Callable[..., list[AuditEvent]]
FINE = ProbeResult(state=SystemState.OK)
AWAY = ProbeResult(state=SystemState.UNHEALTHY, detail="it does not answer (TimeoutError)")


def ask(finding: ProbeResult) -> bool:
    question = Question(ask=lambda: finding, every=timedelta(minutes=5), here=True)
    return probes.check_system(System.MAIL, question)


def again(finding: ProbeResult) -> bool:
    ExternalSystem.objects.update(checked_at=timezone.now() - timedelta(minutes=6))
    return ask(finding)


def test_it_keeps_what_was_found_and_asks_again_when_that_is_due() -> None:
    assert ask(FINE)
    row = ExternalSystem.objects.get()
    assert (row.kind, row.state, row.failures, row.lease_until) == ("mail", "ok", 0, None)
    assert not ask(AWAY)
    assert again(AWAY)
    row.refresh_from_db()
    assert (row.state, row.failures, row.detail) == ("unhealthy", 1, AWAY.detail)


def test_a_clock_that_was_put_back_holds_nothing_up() -> None:
    ask(FINE)
    ExternalSystem.objects.update(checked_at=timezone.now() + timedelta(days=1))
    assert ask(FINE)


def test_one_lost_packet_is_no_news_and_two_are_told_once(events: Events, settings: Settings) -> None:
    settings.KEEPER_ALERT_EMAILS = ["ops@example.com"]
    ask(AWAY)
    assert not events(Action.SYSTEM_CHECK)
    assert not Alert.objects.exists()
    for _ in range(3):
        again(AWAY)
    (event,) = events(Action.SYSTEM_CHECK)
    assert (event.object_name, event.outcome) == ("Mail server", "failed")
    (delivery,) = Delivery.objects.all()
    assert delivery.subject == f"Mail server: {AWAY.detail}"
    assert "EMAIL_" in delivery.lines[0]
    for _ in range(2):
        again(FINE)
    assert [event.outcome for event in events(Action.SYSTEM_CHECK)] == ["failed", "allowed"]
    assert [row.subject for row in Delivery.objects.order_by("id")][1:] == ["Mail server: working again"]
    assert not Alert.objects.filter(open=True).exists()


def test_one_failure_that_is_over_is_told_to_nobody(events: Events) -> None:
    ask(AWAY)
    again(FINE)
    assert not events(Action.SYSTEM_CHECK)
    assert not Alert.objects.exists()


def test_a_crash_before_people_are_told_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(**_options: object) -> None:
        raise DatabaseError

    ask(AWAY)
    with monkeypatch.context() as patched:
        patched.setattr(probes, "raise_alert", crash)
        with pytest.raises(DatabaseError):
            again(AWAY)
    assert not Alert.objects.exists()
    again(AWAY)
    assert Alert.objects.filter(open=True).count() == 1


def test_while_one_worker_asks_no_other_does_until_its_claim_ends() -> None:
    asked = []

    def slow() -> ProbeResult:
        asked.append(ask(AWAY))
        return FINE

    assert probes.check_system(System.MAIL, Question(ask=slow, every=timedelta(0), here=True))
    assert asked == [False]
    ExternalSystem.objects.update(
        lease_until=timezone.now() - timedelta(seconds=1), checked_at=timezone.now() - timedelta(hours=1)
    )
    assert ask(AWAY)


def test_a_worker_that_wakes_up_after_its_claim_stores_nothing() -> None:
    def overslept() -> ProbeResult:
        ExternalSystem.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert ask(AWAY)
        return FINE

    probes.check_system(System.MAIL, Question(ask=overslept, every=timedelta(minutes=5), here=True))
    assert ExternalSystem.objects.get().state == "unhealthy"


def test_a_question_without_an_answer_ends() -> None:
    answer = threading.Event()
    question = Question(ask=lambda: FINE if answer.wait(30) else AWAY, every=timedelta(minutes=5))
    found = probes.bounded(question, seconds=0.05)
    answer.set()
    assert (found.state, found.detail) == (SystemState.UNHEALTHY, "no answer in time")


def test_nobody_is_asked_inside_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(NetworkInTransaction):
        probes.check_systems()


def test_a_failure_degrades_readiness_by_name_alone() -> None:
    health.systems()
    ask(AWAY)
    with pytest.raises(HealthFailure, match="Mail server") as raised:
        health.systems()
    assert "TimeoutError" not in raised.value.detail


@pytest.mark.django_db(transaction=True)
def test_a_round_asks_every_system_and_only_the_database_by_this_connection(settings: Settings) -> None:
    settings.REDIS_URL = settings.EMAIL_HOST = ""
    settings.KEEPER_SAML = False
    probes.check_systems()
    assert {row.kind for row in ExternalSystem.objects.exclude(checked_at=None)} == set(System)
    assert [kind for kind, question in QUESTIONS.items() if question.here] == [System.DATABASE]
