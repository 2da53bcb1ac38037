"""The sweep finds what was put back or exchanged, goes on where it stopped, and shows nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from audit_app.models import AuditEvent
from core.db.concurrency import unleased
from environments_app.errors import Conflict, Forbidden
from environments_app.models import Alert, AuditJob, User
from environments_app.tests.cast import Cast
from secrets_app import tasks
from secrets_app.errors import KeyUnavailable
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.maintenance import integrity_checks, integrity_sweep
from secrets_app.models import Secret, SecretVersion, Sweep
from secrets_app.tests.kept import VALUE, change, keep, version

every_database = pytest.mark.every_database


@every_database
def test_it_opens_every_version_and_finds_nothing_wrong(
    cast: Cast, events: Callable[..., list[AuditEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity_checks, "_BATCH", 2)
    secret = keep(cast)
    for number in range(4):
        change(cast, secret, f"value {number}")
    tasks.sweep_integrity()
    done = Sweep.objects.get()
    assert (done.active, done.checked, done.problems, done.total) == (None, 5, 0, 5)
    begun, ended = events("integrity.sweep")
    assert (begun.outcome, ended.outcome) == ("allowed", "allowed")
    assert VALUE not in begun.details + ended.details
    tasks.sweep_integrity()
    assert Sweep.objects.count() == 1


@every_database
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE secrets_app_secretversion SET comment = 'x' WHERE number = 2", "version 2"),
        ("DELETE FROM secrets_app_secretversion WHERE number = 2", "is gone"),
    ],
)
def test_what_was_edited_is_found_and_told(
    cast: Cast, sql: Callable[..., None], statement: str, found: str
) -> None:
    change(cast, keep(cast), "second")
    sql(statement)
    tasks.sweep_integrity()
    done = Sweep.objects.get()
    assert done.problems >= 1
    assert any(found in line for line in done.found)
    assert AuditEvent.objects.filter(action="integrity.violation").exists()
    alert = Alert.objects.get(kind=integrity_sweep.KIND, open=True)
    assert (alert.lines, alert.subject.split()[0]) == (done.found, str(done.problems))
    ended = AuditEvent.objects.filter(action="integrity.sweep").latest("pk")
    told = json.loads(ended.details)
    assert (ended.outcome, told["checked"], told["problems"]) == ("failed", done.checked, done.problems)


def test_an_alert_is_over_once_nothing_is_found(cast: Cast, sql: Callable[..., None]) -> None:
    secret = change(cast, keep(cast), "second")
    sql("UPDATE secrets_app_secretversion SET comment = 'x' WHERE number = 2")
    tasks.sweep_integrity()
    sql("UPDATE secrets_app_secretversion SET comment = '' WHERE number = 2")
    begun = integrity_sweep.start(actor=cast.principal(cast.root))
    assert (begun.started_by, begun.total) == ("root", secret.versions.count())
    tasks.sweep_integrity()
    assert not Alert.objects.filter(kind=integrity_sweep.KIND, open=True).exists()


@every_database
def test_a_row_that_was_put_back_to_an_old_state_is_found(cast: Cast, sql: Callable[..., None]) -> None:
    """The old row is genuine, its MAC too: only the trail tells that it was followed by another."""
    secret = keep(cast)
    old = Secret.objects.get()
    change(cast, secret, "second")
    put_back = (
        "UPDATE secrets_app_secret SET current_number = %s, previous_number = %s, revision = %s, row_mac = %s"
    )
    sql(put_back, old.current_number, old.previous_number, old.revision, bytes(old.row_mac))
    assert Secret.objects.get().is_authentic()
    tasks.sweep_integrity()
    assert any("old state was put back" in line for line in Sweep.objects.get().found)


@every_database
def test_an_envelope_of_an_older_version_is_found(cast: Cast, sql: Callable[..., None]) -> None:
    secret = keep(cast)
    change(cast, secret, "second")
    old = version(secret, 1).value
    sql("UPDATE secrets_app_secretversion SET value = %s WHERE number = 2", old.envelope)
    tasks.sweep_integrity()
    assert any("version 2" in line for line in Sweep.objects.get().found)


def test_it_goes_on_where_it_stopped(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity_checks, "_BATCH", 1)
    secret = keep(cast)
    for number in range(3):
        change(cast, secret, f"value {number}")
    integrity_sweep.start(actor=cast.principal(cast.root))
    looked: list[int] = []
    real = integrity_checks.version_batch

    def batch(*, after: int) -> integrity_checks.VersionBatch | None:
        looked.append(after)
        if len(looked) == 3:
            raise KeyboardInterrupt
        return real(after=after)

    monkeypatch.setattr(integrity_checks, "version_batch", batch)
    with pytest.raises(KeyboardInterrupt):
        integrity_sweep.go_on()
    # The worker died; its lease holds for a while.
    assert integrity_sweep.go_on() is None
    Sweep.objects.update(lease_until=None)
    integrity_sweep.go_on()
    done = Sweep.objects.get()
    assert (done.checked, done.active) == (4, None)
    assert looked == sorted(looked)


def test_a_sweep_that_another_worker_has_finished_is_not_finished_again(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, events: Callable[..., list[AuditEvent]]
) -> None:
    keep(cast)
    integrity_sweep.start(actor=cast.principal(cast.root))
    waiting = [True]

    def slowly(*now: Any) -> Any:
        # Both have seen the sweep that is under way; the other one does all of it first.
        if waiting and waiting.pop():
            integrity_sweep.go_on()
        return unleased(*now)

    monkeypatch.setattr(integrity_sweep, "unleased", slowly)
    assert integrity_sweep.go_on() is None
    assert len(events("integrity.sweep")) == 2


def test_a_key_that_gives_no_answer_is_no_damage(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cast)
    forget_data_keys()

    def silent(*_: object) -> None:
        raise KeyUnavailable("no answer", permanent=False)

    with monkeypatch.context() as patch:
        patch.setattr("secrets_app.keys.data_keys.prefetch", silent)
        tasks.sweep_integrity()
    under_way = Sweep.objects.get()
    assert (under_way.active, under_way.checked, under_way.problems) == (True, 0, 0)
    tasks.sweep_integrity()
    assert Sweep.objects.get().finished_at


def test_administrators_begin_one_at_a_time(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS = 0
    tasks.sweep_integrity()
    assert not Sweep.objects.exists()
    with pytest.raises(Forbidden):
        integrity_sweep.start(actor=cast.principal(cast.alice))
    integrity_sweep.start(actor=cast.principal(cast.root))
    with pytest.raises(Conflict):
        integrity_sweep.start(actor=cast.principal(cast.root))


def test_its_page_shows_progress_and_result(
    cast: Cast, sql: Callable[..., None], signed_in: Callable[[User], Client]
) -> None:
    page = signed_in(cast.root)
    text = page.get("/integrity").content.decode()
    assert "Stored values not checked yet" in text
    assert "Check stored values</button>" in text
    assert "All verifications</a>" in text
    assert "Not verified yet" in text
    # The log is verified from its own card, by the job of the admin's page.
    assert 'value="verify_all">Verify the audit log</button>' in text
    action = text.split('<div class="actions"><form method="post" action="')[1].split('"')[0]
    page.post(action, {"kind": "verify_all"})
    assert AuditJob.objects.get().kind == "verify_all"
    change(cast, keep(cast), "second")
    page.post("/integrity/sweep")
    assert "0 of 2 versions" in page.get("/integrity").content.decode()
    sql("UPDATE secrets_app_secretversion SET comment = 'x' WHERE number = 2")
    tasks.sweep_integrity()
    text = page.get("/integrity").content.decode()
    assert "problems found" in text
    assert "version 2 of secret" in text
    assert SecretVersion.objects.count() == 2
