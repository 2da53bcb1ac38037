"""The folder of backups: the schedule, retention, freshness, and proofs by a process of its own."""

import hashlib
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.models import Alert
from environments_app.tests.cast import Cast
from operations_app import tasks
from operations_app.backup import requests
from operations_app.backup import service as backup
from operations_app.backup.archive.format import Written, new_file, remove_unfinished
from operations_app.backup.create import back_up
from operations_app.backup.errors import Malformed, Unwritable
from operations_app.models import BackupRequest
from operations_app.tests.backup.making import OPERATOR, another_database, furnish

LATER = timedelta(minutes=30)


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.KEEPER_BACKUP_DIR = str(tmp_path / "backups")
    settings.KEEPER_BACKUP_INTERVAL_HOURS = 24
    settings.KEEPER_BACKUP_KEEP = 2
    return tmp_path / "backups"


@pytest.mark.every_database
def test_one_is_made_when_it_is_due_and_not_before(cast: Cast, folder: Path) -> None:
    tasks.back_up_if_due()
    tasks.back_up_if_due()
    (each,) = backup.list_backups(actor=cast.principal(cast.root))
    assert [path.name for path in folder.iterdir()] == [each.name]
    assert not backup.is_due(timezone.now() + timedelta(hours=23))
    assert backup.is_due(timezone.now() + timedelta(hours=25))


def test_the_oldest_go_and_nothing_that_is_not_keepers(cast: Cast, folder: Path) -> None:
    folder.mkdir()
    foreign = {"keeper-20260101T000000-00000000.kbk": "not a backup", "other.kbk": "x", "notes.txt": "x"}
    for name, text in foreign.items():
        (folder / name).write_text(text)
    names = []
    for hour in range(4):
        path = folder / f"keeper-20261124T{hour:02}0000-0000000a.kbk"
        back_up(actor=OPERATOR, path=path)
        names.append(path.name)
    backup.remove_surplus(actor=OPERATOR)
    assert {path.name for path in folder.iterdir()} == {*names[2:], *foreign}
    assert AuditEvent.objects.filter(action="backup.remove").count() == 2


@pytest.mark.parametrize(("kept", "left"), [(0, 3), (-1, 3), (1, 1), (3, 3), (4, 3)])
def test_so_many_are_kept_and_all_of_them_without_a_limit(
    cast: Cast, folder: Path, settings: Settings, kept: int, left: int
) -> None:
    settings.KEEPER_BACKUP_KEEP = kept
    names = [f"keeper-20261124T{hour:02}0000-0000000a.kbk" for hour in range(3)]
    for name in names:
        back_up(actor=OPERATOR, path=folder / name)
    assert backup.remove_surplus(actor=OPERATOR) == 3 - left
    assert sorted(path.name for path in folder.iterdir()) == names[3 - left :]


def test_one_that_is_made_takes_the_place_of_the_oldest(cast: Cast, folder: Path) -> None:
    for hour in range(2):
        back_up(actor=OPERATOR, path=folder / f"keeper-20261124T{hour:02}0000-0000000a.kbk")
    assert backup.make(actor=OPERATOR)
    names = sorted(path.name for path in folder.iterdir())
    assert (len(names), names[0]) == (2, "keeper-20261124T010000-0000000a.kbk")
    (removed,) = AuditEvent.objects.filter(action="backup.remove")
    assert removed.object_name == "keeper-20261124T000000-0000000a.kbk"


@pytest.mark.parametrize(
    ("interval", "hours", "late"),
    [(24, 47, False), (24, 49, True), (24, None, True), (0, 49, False), (0, None, False)],
)
def test_it_is_late_after_two_intervals(
    settings: Settings, interval: int, hours: int | None, late: bool
) -> None:
    settings.KEEPER_BACKUP_INTERVAL_HOURS = interval
    last = None if hours is None else timezone.now() - timedelta(hours=hours)
    assert backup.is_late(last) is late


def test_a_proof_that_fails_alerts_and_the_newest_one_counts(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backup.make(actor=OPERATOR)
    (each,) = backup.list_backups(actor=OPERATOR)
    found: list[tuple[bool, str]] = []
    for code, stderr in ((1, "first line\nCommandError: it does not open\n"), (0, "")):
        done = SimpleNamespace(returncode=code, stdout="sound\n", stderr=stderr)
        monkeypatch.setattr("subprocess.run", lambda *_args, done=done, **_options: done)
        assert backup.verify(actor=OPERATOR, name=each.name) == (code == 0)
        (after,) = backup.list_backups(actor=OPERATOR)
        found.append((after.sound, after.reason))
    assert found == [(False, "it does not open"), (True, "")]
    alert = Alert.objects.get(kind="backup-failed")
    assert alert.lines == [f"{each.name}: it does not open"]


def test_one_is_made_at_a_time(cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process begins one while the first writes; the next one is made, also after a failure."""
    meanwhile = list[bool]()

    def asked_twice(**given: Any) -> Written:
        meanwhile.append(backup.make(actor=OPERATOR))
        return back_up(**given)

    monkeypatch.setattr(backup, "back_up", asked_twice)
    assert backup.make(actor=OPERATOR)
    assert (meanwhile, len(list(folder.iterdir()))) == ([False], 1)
    monkeypatch.undo()
    with monkeypatch.context() as on_a_full_disk:
        on_a_full_disk.setattr(backup, "back_up", Mock(side_effect=Unwritable("no room")))
        assert not backup.make(actor=OPERATOR)
    assert backup.make(actor=OPERATOR)


def test_what_a_killed_backup_left_goes_and_what_is_being_written_stays(cast: Cast, folder: Path) -> None:
    folder.mkdir()
    left, young = folder / ".keeper-a.kbk.partial", folder / ".keeper-b.kbk.partial"
    left.write_text("half")
    young.write_text("half")
    os.utime(left, (0, 0))
    with new_file(folder / "keeper-c.kbk") as file:
        file.write(b"half")
        file.flush()
        (draft,) = folder.glob(".keeper-c.kbk.*.partial")
        os.utime(draft, (0, 0))
        tasks.back_up_if_due()
        assert (left.exists(), young.exists()) == (False, True)
    assert (folder / "keeper-c.kbk").read_bytes() == b"half"


def test_what_another_account_put_into_the_folder_is_neither_followed_nor_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(mode=0o777)
    victim, path = folder / "victim", folder / "x.age"
    victim.write_text("kept")
    planted = [folder / f".x.age.{name}partial" for name in ("", "fifo.", "file.")]
    planted[0].symlink_to(victim)
    os.mkfifo(planted[1])
    planted[2].write_text("theirs")
    for each in planted[1:]:
        os.utime(each, (0, 0))
    with monkeypatch.context() as of_another_account:
        of_another_account.setattr("os.geteuid", lambda: 65534)
        with new_file(path) as file:
            file.write(b"ours")
    assert (victim.read_text(), path.read_text(), planted[0].is_symlink()) == ("kept", "ours", True)
    assert (path.is_symlink(), stat.S_IMODE(path.stat().st_mode), path.stat().st_nlink) == (False, 0o600, 1)
    assert planted[2].read_text() == "theirs"
    # Its own it removes, links not.
    assert remove_unfinished(folder, "x.age") == 2
    assert sorted(each.name for each in folder.iterdir()) == [".x.age.partial", "victim", "x.age"]


def test_a_draft_that_another_account_replaces_meanwhile_is_an_error(folder: Path) -> None:
    folder.mkdir()

    def written() -> None:
        with new_file(folder / "x.age") as file:
            file.write(b"ours")
            (draft,) = folder.glob(".x.age.*.partial")
            draft.unlink()
            draft.write_text("theirs")

    with pytest.raises(Unwritable, match="not what Keeper wrote"):
        written()


def test_two_writers_of_one_name_write_one_file(folder: Path) -> None:
    folder.mkdir()

    def written() -> None:
        with new_file(folder / "x.age") as first:
            first.write(b"first")
            (draft,) = folder.glob(".x.age.*.partial")
            os.utime(draft, (0, 0))
            with new_file(folder / "x.age") as second:
                second.write(b"second")

    with pytest.raises(Unwritable, match="exists"):
        written()
    assert [each.name for each in folder.iterdir()] == ["x.age"]
    assert (folder / "x.age").read_bytes() == b"second"


def test_another_deployments_backups_stay_and_are_not_shown(cast: Cast, folder: Path, tmp_path: Path) -> None:
    with another_database(tmp_path):
        for hour in range(3):
            back_up(actor=OPERATOR, path=folder / f"keeper-20261124T{hour:02}0000-0000000b.kbk")
    backup.remove_surplus(actor=OPERATOR)
    assert len(list(folder.iterdir())) == 3
    assert backup.list_backups(actor=OPERATOR) == []


@pytest.mark.every_database
def test_what_fails_or_is_late_alerts_and_what_works_again_ends_it(
    cast: Cast, folder: Path, settings: Settings
) -> None:
    folder.write_text("a file in the way")
    tasks.back_up_if_due()
    assert set(Alert.objects.filter(open=True).values_list("kind", flat=True)) == {
        "backup-failed",
        "backup-late",
    }
    folder.unlink()
    tasks.back_up_if_due()
    assert not Alert.objects.filter(open=True).exists()


def test_a_proof_is_made_by_a_process_of_its_own_and_recorded(cast: Cast, folder: Path) -> None:
    """That process has other keys than this test: it finds just that."""
    furnish(cast)
    assert backup.make(actor=OPERATOR)
    (each,) = backup.list_backups(actor=OPERATOR)
    requests.request(actor=cast.principal(cast.root), name=each.name)
    tasks.carry_out_backup_requests()
    assert not BackupRequest.objects.exists()
    (event,) = AuditEvent.objects.filter(action="backup.verify")
    (after,) = backup.list_backups(actor=OPERATOR)
    assert after.proved == event.at
    assert event.outcome == ("allowed" if after.sound else "failed")
    assert event.actor_name == "root"


@pytest.mark.parametrize("name", ["../local.key", "keeper-20261124T000000-0000000a.kbk", "x.kbk"])
def test_only_names_of_the_folder_are_proved(cast: Cast, name: str) -> None:
    with pytest.raises(Malformed):
        backup.find_kept(name)


def test_a_task_asks_again_whether_the_person_may(
    cast: Cast, events: Callable[..., list[AuditEvent]]
) -> None:
    BackupRequest.objects.create(person=cast.alice.uuid)
    tasks.carry_out_backup_requests()
    assert not BackupRequest.objects.exists()
    assert events("backup.create")[0].outcome == "denied"


@pytest.mark.every_database
def test_what_is_asked_for_on_the_page_is_made_by_a_worker_once(
    cast: Cast, folder: Path, signed_in: Callable[..., Client]
) -> None:
    assert signed_in(cast.root).post("/backups").status_code == 302
    assert not folder.exists()
    tasks.carry_out_backup_requests()
    tasks.carry_out_backup_requests()
    assert len(backup.list_backups(actor=OPERATOR)) == 1


@pytest.mark.every_database
def test_a_request_whose_worker_died_is_carried_out_once_more(cast: Cast, folder: Path) -> None:
    row = BackupRequest.objects.create(person=cast.root.uuid, attempts=1, lease_until=timezone.now() + LATER)
    tasks.carry_out_backup_requests()
    assert backup.list_backups(actor=OPERATOR) == []
    BackupRequest.objects.filter(pk=row.pk).update(lease_until=timezone.now() - LATER)
    tasks.carry_out_backup_requests()
    assert len(backup.list_backups(actor=OPERATOR)) == 1
    BackupRequest.objects.create(person=cast.root.uuid, attempts=2)
    tasks.carry_out_backup_requests()
    assert len(backup.list_backups(actor=OPERATOR)) == 1
    assert not BackupRequest.objects.exists()


def test_a_request_that_came_with_a_restored_database_is_dropped(cast: Cast, folder: Path) -> None:
    row = BackupRequest.objects.create(person=cast.root.uuid)
    BackupRequest.objects.filter(pk=row.pk).update(requested_at=timezone.now() - timedelta(days=2))
    tasks.carry_out_backup_requests()
    assert backup.list_backups(actor=OPERATOR) == []
    assert not BackupRequest.objects.exists()


def test_programs_read_the_file_and_what_its_verification_found(cast: Cast) -> None:
    def told(*arguments: str) -> Any:
        out = StringIO()
        with suppress(SystemExit):
            call_command("backup", *arguments, stdout=out, stderr=StringIO())
        return json.loads(out.getvalue())

    made = told("--format", "json")
    file = Path(made["file"])
    assert (made["bytes"], made["sha256"]) == (
        file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest(),
    )  # fmt: skip
    # The option is of the command and of its acts alike.
    sound = {"name": file.name, "sound": True, "reason": ""}
    assert (
        told("--format", "json", "verify", file.name)
        == told("verify", file.name, "--format", "json")
        == sound
    )
    file.write_bytes(file.read_bytes()[:-40])
    assert told("--format", "json", "verify", file.name)["sound"] is False
