"""One installation at a time acts under a deployment: a copy of it stands still until it is activated."""

import json
import shutil
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from audit_app.checkpoints.schedule import anchor_log
from audit_app.errors import LeaseUnwritable
from audit_app.integrity import active_installation
from audit_app.integrity.active_installation import activate, claim_first, is_active, problems
from audit_app.models import AuditEvent, Installation
from environments_app.errors import Forbidden, Invisible
from environments_app.notifications.service import deliver_due
from environments_app.tests.cast import Cast, make_cast
from operations_app.backup.create import back_up
from operations_app.backup.restore import activate_here, restore
from operations_app.health.service import HealthFailure, installation
from operations_app.tests.backup.making import OPERATOR, another_database
from secrets_app.tests.kept import keep
from sync_app.errors import NotTheActiveInstallation
from sync_app.models import Target
from sync_app.runs import schedule
from sync_app.targets.credentials import open_backend
from sync_app.tests.shown import make_target

every_database = pytest.mark.every_database


@pytest.fixture
def lease(settings: Settings, tmp_path: Path) -> Path:
    settings.KEEPER_LEASE_FILE = str(tmp_path / "shared" / "keeper.lease")
    return Path(settings.KEEPER_LEASE_FILE)


@every_database
def test_the_first_one_acts_where_it_is(cast: Cast) -> None:
    assert is_active()
    assert claim_first(actor=OPERATOR)
    assert is_active()
    assert not claim_first(actor=OPERATOR)


@every_database
@pytest.mark.parametrize(
    ("today", "once"),
    [
        ("core.db.sqlite3", "audit_app.sqlite3"),
        ("core.db.mariadb", "django.db.backends.mysql"),
        ("core.db.mariadb_tls", "audit_app.mysql"),
    ],
)
def test_an_engine_whose_module_moved_is_the_same_place(
    db: None, monkeypatch: pytest.MonkeyPatch, today: str, once: str
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ENGINE", today)
    place = active_installation._addresses()[0]
    monkeypatch.setitem(connection.settings_dict, "ENGINE", once)
    assert active_installation._addresses()[0] == place
    monkeypatch.setitem(connection.settings_dict, "ENGINE", "another.engine")
    assert active_installation._addresses()[0] != place


def test_another_secret_key_or_database_is_another_place(cast: Cast, settings: Settings) -> None:
    activate(actor=OPERATOR)
    settings.SECRET_KEY = "another-secret-key-of-some-other-installation"
    assert not is_active()
    activate(actor=OPERATOR)
    assert is_active()


def test_a_copied_file_is_another_place(db: None, tmp_path: Path) -> None:
    with another_database(tmp_path) as path:
        make_cast()
        activate(actor=OPERATOR)
        assert is_active()
        copy = shutil.copy(path, tmp_path / "copy.db")
        # Under the very name of the original, as on a staging machine.
        Path(copy).replace(path)
        connection.close()
        assert not is_active()


@every_database
def test_a_row_that_sql_wrote_activates_nothing(cast: Cast, settings: Settings) -> None:
    activate(actor=OPERATOR)
    settings.SECRET_KEY = "another-secret-key-of-some-other-installation"

    Installation.objects.update(place=active_installation._addresses()[0])
    assert not is_active()


@every_database
def test_a_row_that_was_taken_away_activates_nothing(cast: Cast, settings: Settings) -> None:
    """A copy knows by its trail that another place was activated, though SQL can make it forget the row."""
    assert list(problems()) == []
    activate(actor=OPERATOR)
    settings.SECRET_KEY = "another-secret-key-of-some-other-installation"
    assert list(problems()) == []
    Installation.objects.all().delete()
    assert not is_active()
    assert [problem.kind for problem in problems()] == ["missing"]


@every_database
def test_the_row_of_an_earlier_activation_is_found(cast: Cast) -> None:
    activate(actor=OPERATOR)
    earlier = Installation.objects.get()
    activate(actor=OPERATOR)
    assert list(problems()) == []
    Installation.objects.all().delete()
    earlier.save(force_insert=True)
    assert [problem.kind for problem in problems()] == ["replayed"]
    Installation.objects.update(epoch=9)
    assert [problem.kind for problem in problems()] == ["edited"]


@every_database
def test_who_is_activated_last_has_the_lease(cast: Cast, lease: Path, tmp_path: Path) -> None:
    activate(actor=OPERATOR)
    mine = lease.read_text()
    assert is_active()
    Installation.objects.all().delete()
    activate(actor=OPERATOR)
    assert is_active()
    theirs = lease.read_text()
    lease.write_text(mine)
    assert not is_active()
    lease.write_text(theirs.replace('"epoch": ', '"epoch": 1'))
    assert not is_active()
    lease.write_text("nothing sound")
    assert not is_active()
    assert lease.stat().st_mode & 0o777 == 0o600


def test_a_lease_that_cannot_be_written_activates_nobody(
    cast: Cast, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    settings.KEEPER_LEASE_FILE = str(tmp_path / "file" / "keeper.lease")
    with pytest.raises(LeaseUnwritable):
        activate(actor=OPERATOR)
    assert not Installation.objects.exists()


@every_database
def test_nothing_leaves_an_installation_that_is_not_active(cast: Cast, settings: Settings) -> None:
    target = make_target(cast.development, automatic=True, interval_seconds=300)
    activate(actor=OPERATOR)
    settings.SECRET_KEY = "another-secret-key-of-some-other-installation"
    assert schedule.queue_due() == []
    assert Target.objects.get(pk=target.pk).due_at is None
    with (
        pytest.raises(NotTheActiveInstallation),
        open_backend(actor=cast.principal(cast.alice), target=target),
    ):
        raise AssertionError("it connected")
    assert deliver_due() == 0
    with pytest.raises(HealthFailure, match="installation is not active"):
        installation()


def test_the_command_asks(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("activate", stdout=StringIO())
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    out = StringIO()
    call_command("activate", stdout=out)
    call_command("activate", stdout=out)
    assert "This is the active installation now (epoch 1)" in out.getvalue()
    assert "This is the active installation since" in out.getvalue()


@every_database
def test_a_restored_trail_goes_on_from_its_seam_once_it_is_activated(
    cast: Cast, settings: Settings, tmp_path: Path
) -> None:
    """The sink knows of a checkpoint that is newer than the backup: that is told, and signing goes on."""
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    keep(cast, "a")
    assert anchor_log(at_once=True)
    made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    keep(cast, "b")
    newest = anchor_log(at_once=True)
    assert newest
    restore(made, replace=True)
    # A copy that nobody activated leaves the original's sink alone.
    assert anchor_log(at_once=True) is None
    activate_here(actor=OPERATOR)
    assert anchor_log(at_once=True)
    (discontinuity,) = AuditEvent.objects.filter(action="trail.resume")
    assert str(newest.number) in discontinuity.details
    assert str(Installation.objects.get().backup) in discontinuity.details


def test_nobody_with_less_than_the_installation_activates_it(cast: Cast) -> None:
    for who in (cast.alice, cast.charlie):
        with pytest.raises((Forbidden, Invisible)):
            activate_here(actor=cast.principal(who))
    assert not AuditEvent.objects.filter(action="deployment.activate", outcome="allowed").exists()


def test_programs_read_whether_it_became_the_active_one(cast: Cast) -> None:
    def told() -> Any:
        out = StringIO()
        call_command("activate", "--yes", "--format", "json", stdout=out)
        return json.loads(out.getvalue())

    assert told() == {"changed": True, "epoch": 1}
    again = told()
    assert (again["changed"], again["epoch"]) == (False, 1)
    assert datetime.fromisoformat(again["since"]) <= timezone.now()
