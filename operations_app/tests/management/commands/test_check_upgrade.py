"""`keeper check-upgrade`: what an update will do, whether it has arrived, and an exit code for scripts."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from environments_app.tests.cast import Cast
from operations_app.backup import service as backups
from operations_app.health import running
from operations_app.health.running import WEB, WORKER, note_running
from operations_app.health.schema import installed_version
from operations_app.management.commands import check_upgrade
from operations_app.management.commands.check_upgrade import CANNOT_UPDATE, NEEDS_ATTENTION

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def backed_up(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "last_success", lambda: timezone.now() - timedelta(hours=1))
    monkeypatch.setattr(check_upgrade, "last_beat", lambda: None)


@pytest.fixture
def before() -> None:
    """The database of the release before, as far as it names its migrations."""
    MigrationRecorder.Migration.objects.filter(app="keeper_project", name__startswith="0005").delete()


def run(*options: str) -> tuple[int, str]:
    output = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("check_upgrade", *options, stdout=output)
    assert isinstance(ended.value.code, int)
    return ended.value.code, output.getvalue()


def document() -> dict[str, Any]:
    code, text = run("--format", "json")
    found: dict[str, Any] = json.loads(text)
    assert code == found["exit_code"]
    return found


@pytest.mark.every_database
def test_an_update_that_only_adds_may_go_on(before: None) -> None:
    code, text = run()

    assert code == 0
    assert f"Database: release 0.1.0; this is {installed_version()}\n" in text
    assert "Migrations that wait: 1 (keeper_project.0005_running_processes)\n" in text
    assert "They only add" in text
    assert "1 hour ago" in text
    assert text.splitlines()[-1].startswith("Next: `keeper init-db`")


def test_what_an_update_takes_away_is_named(before: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_upgrade, "narrowing_of_database", lambda: ["a.B.c is removed"])

    code, text = run()

    assert code == NEEDS_ATTENTION
    assert "  a.B.c is removed\n" in text
    assert "Attention: Stop every web process and worker" in text


def test_processes_of_an_older_release_are_not_known_to_serve_on(before: None) -> None:
    MigrationRecorder.Migration.objects.filter(app="sync_app", name="0007_tags").delete()

    code, text = run()

    assert code == NEEDS_ATTENTION
    assert "Database: release a commit before 0.1.0;" in text
    assert "only those of 0.1.0 are known to run on the new schema" in text


@pytest.mark.parametrize("age", [None, 25])
def test_without_a_fresh_backup_it_needs_attention(
    before: None, monkeypatch: pytest.MonkeyPatch, age: int | None
) -> None:
    at = None if age is None else timezone.now() - timedelta(hours=age)
    monkeypatch.setattr(backups, "last_success", lambda: at)

    assert run()[0] == NEEDS_ATTENTION
    assert document()["attention"] == [
        "No backup was finished in the last 24 hours: run `keeper backup` of the running release."
    ]


def test_an_update_has_arrived_once_every_process_is_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    note_running(WEB)
    assert run()[0] == 0
    monkeypatch.setattr(running, "installed_version", lambda: "0.0.9")
    note_running(WORKER)

    code, text = run()

    assert code == NEEDS_ATTENTION
    assert "Runs: worker on " in text
    assert "Attention: 1 processes of another release still run" in text


def test_a_worker_of_a_release_that_shows_only_its_heartbeat_still_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_upgrade, "last_beat", timezone.now)
    assert "Attention: 1 processes of another release" in run()[1]
    note_running(WORKER)
    assert run()[0] == 0


def test_a_database_that_is_too_old_names_what_to_go_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_upgrade, "too_old", lambda: "Update it with commit 4acfd67f first.")

    assert run() == (CANNOT_UPDATE, "Update it with commit 4acfd67f first.\n")


def test_a_database_of_a_later_release_is_named() -> None:
    MigrationRecorder.Migration.objects.create(app="sync_app", name="9999_later")

    code, text = run()

    assert code == NEEDS_ATTENTION
    assert "Attention: The database is of a later release: use that one." in text


def test_a_database_that_is_away_exits_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> str:
        raise OperationalError(2002, "away")

    monkeypatch.setattr(check_upgrade, "too_old", away)

    assert run() == (CANNOT_UPDATE, "The database does not answer: 2002: away.\n")
