"""`keeper status`: one screen, and an exit code for cron."""

import io
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from audit_app.errors import KeyringUnavailable
from audit_app.verification.stream_walker import VerificationStats
from core.canonical_json import parsed_details
from environments_app import operator_jobs
from environments_app.models import Alert, AuditJobKind
from environments_app.tests.cast import Cast
from operations_app.health import service
from operations_app.health.processes import beat
from operations_app.health.running import WEB, note_running
from operations_app.health.schema import installed_version
from operations_app.health.service import Result, results
from operations_app.health.status import REMEDIES
from operations_app.management.commands import status
from operations_app.models import RunningProcess, System
from secrets_app.models import Secret
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def well(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web process runs, no check fails and no system ails, but for what a test says."""
    for name in ("results", "warnings", "probes"):
        monkeypatch.setattr(status, name, lambda: [Result(name="database", ok=True)])
    monkeypatch.setattr(status, "standings", lambda **_: [])
    note_running(WEB)


def run(*options: str) -> tuple[int, str]:
    output = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("status", *options, stdout=output)
    assert isinstance(ended.value.code, int)
    return ended.value.code, output.getvalue()


def document() -> tuple[int, dict[str, Any]]:
    code, text = run("--format", "json")
    return code, json.loads(text)


@pytest.mark.every_database
def test_a_healthy_keeper_exits_with_0(cast: Cast) -> None:
    code, found = document()

    assert (code, found["exit_code"], found["status"]) == (0, 0, "ok")
    assert "Alerts: none open" in run()[1]
    assert "Last backup: never" in run()[1]


def test_an_open_alert_needs_attention(cast: Cast) -> None:
    Alert.objects.create(kind="target-failed", about=cast.production.uuid, subject="s", lines=[])

    assert run()[0] == status.NEEDS_ATTENTION
    assert run()[1].startswith(f"Keeper {installed_version()}: needs attention\n")
    assert "target-failed, 1 open since" in run()[1]
    Alert.objects.update(open=None, closed_at=timezone.now())
    assert run()[0] == 0


def test_what_is_stuck_needs_attention(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "warnings", lambda: [Result(name="worker", ok=False, for_operators="none")])

    code, text = run()

    assert code == status.NEEDS_ATTENTION
    assert "  worker: none" in text
    assert "degraded" in text


def test_a_late_backup_needs_attention(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_BACKUP_INTERVAL_HOURS = 24

    code, text = run()

    assert code == status.NEEDS_ATTENTION
    assert "Last backup: never, which is late" in text


def test_a_queue_that_is_stuck_needs_attention(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = SimpleNamespace(
        label="Sync runs", waiting=2, working=0, stuck=1, stuck_words="wait too long", why="no room"
    )
    monkeypatch.setattr(status, "queues", lambda: [stuck])

    code, text = run()

    assert code == status.NEEDS_ATTENTION
    assert "Sync runs: 2 waiting, 0 in progress, 1 wait too long: no room" in text


def test_it_gives_the_reason_in_words_where_a_page_has_its_kind(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> None:
        raise KeyringUnavailable("the local key file is missing")

    def database() -> None:
        raise OperationalError(2002, "Can't connect to server on 'db'")

    monkeypatch.setattr(status, "results", results)
    for check, reason in (
        (database, "2002: Can't connect to server on 'db'"),
        (keys, "the local key file is missing"),
    ):
        monkeypatch.setattr(service, "CHECKS", (lambda: None, check))
        assert document()[1]["checks"][1]["detail"] == reason
    assert results()[1].for_operators == "KeyringUnavailable"


def test_a_keeper_that_cannot_serve_exits_with_2(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "results", lambda: [Result(name="database", ok=False, for_operators="away")])

    code, found = document()

    assert (code, found["status"]) == (status.CANNOT_SERVE, "unavailable")


def test_it_shows_when_a_worker_last_worked(cast: Cast) -> None:
    beat()

    assert f"Worker: last scheduled task {timezone.now():%Y-%m-%d}" in run()[1]


def test_without_a_web_process_it_cannot_be_told_whether_keeper_serves(cast: Cast) -> None:
    RunningProcess.objects.update(seen_at=F("seen_at") - timedelta(minutes=2))

    code, text = run()

    assert code == status.CANNOT_SERVE
    assert "Web: no process has stored in the last 90 s that it runs" in text


def test_it_counts_processes_by_release(cast: Cast) -> None:
    now = RunningProcess.objects.get().seen_at
    RunningProcess.objects.create(name="web other 1", kind="web", host="other", release="0.0.1", seen_at=now)

    text = run()[1]

    assert "Web: 1 of release 0.0.1\n" in text
    assert f"Web: 1 of release {installed_version()}\n" in text


@pytest.mark.every_database
def test_a_schema_of_the_release_before_is_named_and_what_it_has_is_told(cast: Cast) -> None:
    MigrationRecorder.Migration.objects.filter(app="keeper_project", name__startswith="0005").delete()

    code, found = document()

    assert found["missing_migrations"] == ["keeper_project.0005_running_processes"]
    assert found["unknown"] == []
    assert code == 0, "the check of readiness says so, and is none of the command's"


def test_what_the_schema_of_the_release_before_lacks_is_unknown(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking() -> None:
        raise OperationalError("no such table")

    monkeypatch.setitem(status._SECTIONS, "alerts", lacking)

    code, text = run()

    assert code == status.CANNOT_SERVE
    assert "Unknown, as the schema is of another release: alerts" in text
    assert "Last backup: never" in text


def test_a_schema_of_a_later_release_needs_attention(cast: Cast) -> None:
    MigrationRecorder.Migration.objects.create(app="sync_app", name="9999_later")

    code, text = run()

    assert code == status.NEEDS_ATTENTION
    assert "Schema: of a later release, which has 1 more migrations; update this machine" in text


def test_a_request_for_a_verification_is_none(cast: Cast) -> None:
    actor = cast.principal(cast.root)
    operator_jobs.request(actor=actor, kind=AuditJobKind.VERIFY_NEW)
    assert "Last recorded verification of the audit log: never" in run()[1]

    operator_jobs.verify_log(actor=actor, extent=operator_jobs.Extent.SINCE_CHECKPOINT)

    assert "UTC, just now: no problem found" in run()[1]


def test_a_verification_that_found_something_needs_attention(cast: Cast) -> None:
    keep(cast, "a")
    Secret.objects.update(name="b")
    operator_jobs.verify_log(actor=cast.principal(cast.root), extent=operator_jobs.Extent.FULL)

    code, text = run()

    assert code == status.NEEDS_ATTENTION
    assert "problems found" in text


def test_what_verify_audit_found_needs_attention(cast: Cast) -> None:
    keep(cast, "a")
    Secret.objects.update(name="b")
    with pytest.raises(SystemExit, match="1"):
        call_command("verify_audit", stdout=io.StringIO())

    code, text = run()

    assert code == status.NEEDS_ATTENTION
    assert "UTC, just now: problems found" in text


def test_what_was_found_stands_until_everything_is_verified_again(cast: Cast) -> None:
    actor = cast.principal(cast.root)
    secret = keep(cast, "a")
    Secret.objects.filter(pk=secret.pk).update(name="b")
    operator_jobs.verify_log(actor=actor, extent=operator_jobs.Extent.FULL)
    Secret.objects.filter(pk=secret.pk).update(name="a")

    assert operator_jobs.verify_log(actor=actor, extent=operator_jobs.Extent.SINCE_CHECKPOINT).is_sound
    assert "problems found" in run()[1]

    assert operator_jobs.verify_log(actor=actor, extent=operator_jobs.Extent.FULL).is_sound
    assert "no problem found" in run()[1]


@pytest.mark.every_database
def test_what_was_found_stands_after_any_number_of_lesser_verifications(cast: Cast) -> None:
    actor = cast.principal(cast.root)

    def verified(extent: operator_jobs.Extent, *, problems: int) -> None:
        tally = VerificationStats()
        operator_jobs.record_verification(actor=actor, extent=extent, tally=tally, problems=problems)

    verified(operator_jobs.Extent.FULL, problems=0)
    verified(operator_jobs.Extent.FULL, problems=1)
    for _ in range(201):
        verified(operator_jobs.Extent.SINCE_CHECKPOINT, problems=0)
    operator_jobs.request(actor=actor, kind=AuditJobKind.VERIFY_NEW)

    event = operator_jobs.last_verification(actor=actor)
    assert event
    assert (event.outcome, parsed_details(event.details)["problems"]) == ("failed", 1)


def test_a_database_that_is_away_is_all_that_is_told(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    away = Result(name="database", ok=False, for_operators="OperationalError")
    monkeypatch.setattr(status, "results", lambda: [away])
    monkeypatch.setattr(status, "warnings", None)

    code, text = run()

    assert code == status.CANNOT_SERVE
    assert text.splitlines()[1:] == ["  database: OperationalError", f"  {REMEDIES[System.DATABASE]}"]
