"""A restore brings everything back, on either database, and leaves what acts suspended."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from audit_app.integrity.active_installation import is_active
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent, Installation, SearchEntry
from audit_app.queries import search_index
from audit_app.queries.search import find
from audit_app.verification.stream_verifier import verify
from environments_app.authorization.principals import user_principal
from environments_app.models import Delivery, DeliveryState, Membership, ServiceToken, Session, User
from environments_app.notifications.recipients import add_recipient
from environments_app.notifications.service import raise_alert
from environments_app.tests.cast import Cast, make_cast
from environments_app.tokens.service import issue
from operations_app.backup import restore as backup_restore
from operations_app.backup.archive import rows
from operations_app.backup.create import back_up
from operations_app.backup.errors import Altered, Damaged, InUse, NotEmpty, RestoreFailed
from operations_app.backup.restore import restore
from operations_app.backup.verification import verified_backup
from operations_app.models import RunningProcess
from operations_app.tests.backup.making import OPERATOR, another_database, backup_of, furnish
from secrets_app.models import Secret
from secrets_app.services import read
from secrets_app.tests.kept import VALUE, keep
from sync_app.jobs.leases import database_now
from sync_app.models import Target
from tests.processes import ROOT
from tests.served import environment

every_database = pytest.mark.every_database
# A restore changes what acts, ends what was to be sent, and says so.
CHANGED = {
    "audit_app.AuditEvent",
    "audit_app.StreamHead",
    "audit_app.Installation",
    "environments_app.Membership",
    "environments_app.ServiceToken",
    # The history of configuration tells of each.
    "auditlog.LogEntry",
    "sync_app.Target",
}


@pytest.fixture(autouse=True)
def _here(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"


def stored() -> dict[str, list[bytes]]:
    return {rows.label(model): list(rows.lines(model)) for model in rows.tables()}


def unchanged(found: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
    return {label: lines for label, lines in found.items() if label not in CHANGED}


def problems() -> list[str]:
    return [f"{found.kind}: {found.object}: {found.message}" for found in chain(verify(), run_checks())]


@every_database
def test_everything_comes_back_and_is_sound(cast: Cast, tmp_path: Path) -> None:
    made = backup_of(cast, tmp_path)
    before = stored()
    keep(cast, "written/later")
    restore(made, replace=True)
    assert unchanged(stored()) == unchanged(before)
    assert problems() == []
    released = Secret.objects.select_related("environment").get(name="payments/key")
    Membership.objects.get(user=cast.alice, environment=cast.development)
    call_command("release", *waiting_as("alice", "development"), stdout=StringIO())
    assert read.reveal(actor=cast.principal(cast.alice), secret=released).value == "the second value of it"


@every_database
def test_the_search_is_derived_again(cast: Cast, tmp_path: Path) -> None:
    search_index.fill()
    made = backup_of(cast, tmp_path)
    search_index.fill()
    SearchEntry.objects.update(actor_name="mallory")
    restore(made, replace=True)
    assert not SearchEntry.objects.exists()
    root = cast.principal(cast.root)
    assert search_index.behind() > 0
    found = find(viewer=root, actor_name="alice")
    assert found.behind == 0
    assert found.events.count() == AuditEvent.objects.filter(actor_name="alice").count() > 0


@every_database
def test_it_crosses_databases_both_ways(cast: Cast, tmp_path: Path) -> None:
    """On MariaDB this is SQLite to MariaDB and back; on SQLite, another file of it."""
    with another_database(tmp_path):
        made = backup_of(make_cast(), tmp_path)
        before = stored()
    restore(made, replace=True)
    assert unchanged(stored()) == unchanged(before)
    assert problems() == []
    back = back_up(actor=OPERATOR, path=tmp_path / "back.kbk").path
    between = stored()
    (tmp_path / "second").mkdir()
    with another_database(tmp_path / "second"):
        restore(back)
        assert unchanged(stored()) == unchanged(between)
        assert problems() == []


def test_it_fills_a_database_without_tables(cast: Cast, tmp_path: Path) -> None:
    made = backup_of(cast, tmp_path)
    with another_database(tmp_path, empty=True):
        restore(made)
        assert User.objects.count() == 6
        assert problems() == []


@every_database
def test_what_acts_is_suspended_until_it_is_released_one_by_one(
    cast: Cast, tmp_path: Path, events: Callable[..., list[AuditEvent]]
) -> None:
    furnish(cast)
    _, text = issue(actor=OPERATOR, environment=cast.development, role="reader", name="reads")
    client = Client(headers={"authorization": f"Bearer {text}"})
    path = f"/api/secrets/{Secret.objects.get(name='payments/key').pk}"
    assert client.get(path).status_code == 200
    restore(back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path, replace=True)
    assert client.get(path).status_code == 401
    assert not Target.objects.filter(paused_at__isnull=True).exists()
    assert [grant.role for grant in user_principal(cast.alice).grants] == ["viewer", "viewer"]
    out = StringIO()
    call_command("release", stdout=out)
    assert out.getvalue().count("\n") == 5 + 2 + 1 + 1
    assert not AuditEvent.objects.filter(action="restore.release").exists()
    token = ServiceToken.objects.get(name="reads")
    call_command("release", "service-token", str(token.uuid), stdout=StringIO())
    assert client.get(path).status_code == 200
    assert ServiceToken.objects.filter(suspended_at__isnull=False).count() == 1
    (event,) = events("restore.release")
    assert event.object_uuid == token.uuid
    with pytest.raises(CommandError, match="does not wait"):
        call_command("release", "service-token", str(token.uuid))
    assert problems() == []


@every_database
def test_what_waited_to_be_sent_is_not_sent_after_it(cast: Cast, settings: Settings, tmp_path: Path) -> None:
    """It is as old as the backup, and the original has sent it."""
    settings.EMAIL_HOST = "mail.example"
    add_recipient(actor=cast.principal(cast.alice), environment=cast.development, email="team@example.com")
    raise_alert(kind="drill", about=uuid4(), environment=cast.development, subject="development: a drill")
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING)
    assert waiting.exists()
    restore(back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path, replace=True)
    assert not waiting.exists()
    told = Delivery.objects.values_list("state", "error").distinct()
    assert list(told) == [(DeliveryState.FAILED, "not sent: it was restored from a backup")]


@every_database
def test_the_seam_names_the_backup(
    cast: Cast, tmp_path: Path, events: Callable[..., list[AuditEvent]]
) -> None:
    done = restore(backup_of(cast, tmp_path), replace=True)
    (discontinuity,) = events("deployment.restore")
    told = json.loads(discontinuity.details)
    assert discontinuity.object_uuid == done.proof.manifest.backup
    assert (told["sha256"], told["suspended"]["target"]) == (done.proof.digest, 1)
    assert discontinuity.sequence > done.proof.manifest.heads["system"].sequence
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert f"from backup {discontinuity.object_uuid}" in out.getvalue()


@every_database
def test_no_restored_installation_acts_before_it_is_activated(cast: Cast, tmp_path: Path) -> None:
    made = backup_of(cast, tmp_path)
    assert is_active()
    restore(made, replace=True)
    assert not is_active()
    call_command("activate", "--yes", stdout=StringIO())
    assert is_active()
    row = Installation.objects.get()
    assert row.backup is not None


def test_sessions_end(cast: Cast, tmp_path: Path, signed_in: Callable[[User], Client]) -> None:
    made = backup_of(cast, tmp_path)
    client = signed_in(cast.root)
    restore(made, replace=True)
    assert Session.objects.count() == 0
    assert client.get("/profile").status_code == 302


def test_it_replaces_nothing_unless_told(cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = backup_of(cast, tmp_path)
    before = stored()
    with pytest.raises(NotEmpty, match="--replace"):
        restore(made)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with pytest.raises(CommandError, match=r"Nothing was changed\."):
        call_command("restore", str(made), "--replace", stdout=StringIO())
    assert stored() == before


def test_it_replaces_no_installation_that_begins_while_the_backup_is_proved(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup_of(cast, tmp_path)

    @contextmanager
    def slowly(path: Path, progress: Any) -> Iterator[Any]:
        with verified_backup(path, progress) as proved:
            call_command("migrate", verbosity=0, interactive=False)
            User.objects.create_user("somebody")
            yield proved

    monkeypatch.setattr(backup_restore, "verified_backup", slowly)
    with another_database(tmp_path, empty=True):
        with pytest.raises(NotEmpty, match="--replace"):
            restore(made)
        assert [user.username for user in User.objects.all()] == ["somebody"]


@pytest.mark.parametrize("begun", ["first table", "some migrations"])
def test_of_two_restores_into_an_empty_database_one_names_the_other(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    made = backup_of(cast, tmp_path)

    @contextmanager
    def slowly(path: Path, progress: Any) -> Iterator[Any]:
        with verified_backup(path, progress) as proved:
            if begun == "first table":
                with connection.cursor() as cursor:
                    cursor.execute("CREATE TABLE django_content_type (id integer)")
            else:
                call_command("migrate", "contenttypes", verbosity=0, interactive=False)
            yield proved

    monkeypatch.setattr(backup_restore, "verified_backup", slowly)
    with another_database(tmp_path, empty=True), pytest.raises(InUse, match="another restore"):
        restore(made)


def seen(host: str, pid: int, seconds_ago: int = 10) -> None:
    at = database_now() - timedelta(seconds=seconds_ago)
    RunningProcess.objects.create(name=f"web {host} {pid}", kind="web", host=host, release="0", seen_at=at)


@every_database
def test_it_replaces_nothing_that_a_process_uses(cast: Cast, tmp_path: Path) -> None:
    made = backup_of(cast, tmp_path)
    keep(cast, "written/later")
    for host, pid in ((socket.gethostname(), os.getpid()), ("elsewhere", 1)):
        seen(host, pid)
        with pytest.raises(InUse, match=f"web on {host}"):
            restore(made, replace=True)
        with pytest.raises(CommandError, match=r"stop it first.*Nothing was changed"):
            call_command("restore", str(made), "--replace", "--yes", stdout=StringIO())
        RunningProcess.objects.all().delete()
    assert Secret.objects.filter(name="written/later").exists()


@every_database
def test_it_replaces_what_nobody_uses_any_more(cast: Cast, tmp_path: Path) -> None:
    made = backup_of(cast, tmp_path)
    keep(cast, "written/later")
    ended = subprocess.Popen(["true"])
    ended.wait()
    seen(socket.gethostname(), ended.pid)
    seen("elsewhere", 1, seconds_ago=100)
    restore(made, replace=True)
    assert not Secret.objects.filter(name="written/later").exists()


def test_it_replaces_nothing_that_is_used_since_the_backup_was_proved(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup_of(cast, tmp_path)
    keep(cast, "written/later")

    @contextmanager
    def slowly(path: Path, progress: Any) -> Iterator[Any]:
        with verified_backup(path, progress) as proved:
            seen("elsewhere", 1)
            yield proved

    monkeypatch.setattr(backup_restore, "verified_backup", slowly)
    with pytest.raises(InUse):
        restore(made, replace=True)
    assert Secret.objects.filter(name="written/later").exists()


@every_database
@pytest.mark.parametrize("fault", ["flipped", "cut", "exchanged while restoring"])
def test_a_fault_changes_nothing(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    made = backup_of(cast, tmp_path)
    content = bytearray(made.read_bytes())
    keep(cast, "written/later")
    before = stored()
    if fault == "flipped":
        content[-2000] ^= 4
        made.write_bytes(content)
    elif fault == "cut":
        made.write_bytes(content[:-70])
    else:
        # Between the proof and the writing: the last bytes are read last.
        content[-60] ^= 1
        monkeypatch.setattr(
            backup_restore, "_empty", after(backup_restore._empty, lambda: made.write_bytes(content))
        )
    with pytest.raises(Altered):
        restore(made, replace=True)
    assert stored() == before


@pytest.mark.parametrize("options", [(), ("--verify",), ("--drill",), ("--replace", "--yes")])
def test_a_refused_restore_leaves_no_file(tmp_path: Path, options: tuple[str, ...]) -> None:
    backup, data = tmp_path / "backup.kbk", tmp_path / "var"
    backup.write_bytes(b"no backup")

    done = subprocess.run(
        [sys.executable, "-m", "keeper_project.runtime.cli", "restore", str(backup), *options],
        env=environment(data), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "Nothing was changed" in done.stderr
    assert [path for path in data.rglob("*") if path.is_file()] == []


def test_a_full_disk_changes_nothing(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with another_database(tmp_path):
        cast = make_cast()
        made = backup_of(cast, tmp_path)
        keep(cast, "written/later")
        before = stored()
        monkeypatch.setattr(rows, "_ROWS_PER_INSERT", 3)
        monkeypatch.setattr(backup_restore, "_empty", after(backup_restore._empty, leave_no_room))
        with pytest.raises(RestoreFailed, match="full"):
            restore(made, replace=True)
        assert stored() == before


def after(do: Callable[[], None], also: Callable[[], object]) -> Callable[[], None]:
    def both() -> None:
        do()
        also()

    return both


def leave_no_room() -> None:
    """Fill the pages that deleted rows have left, and let the database take no more, as on a full disk."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA freelist_count")
        free = cursor.fetchone()[0]
        cursor.execute(f"CREATE TABLE filler AS SELECT zeroblob({4096 * free}) AS content")
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")


def test_damage_is_taken_over_only_if_told(cast: Cast, tmp_path: Path, sql: Callable[..., None]) -> None:
    furnish(cast)
    sql("UPDATE secrets_app_secretversion SET comment = 'edited' WHERE number = 2")
    made = back_up(actor=OPERATOR, path=tmp_path / "damaged.kbk").path
    with pytest.raises(Damaged, match="1 problems"):
        restore(made, replace=True)
    restore(made, replace=True, despite_damage=True)
    assert [found.partition(":")[0] for found in problems()] == ["version"]


def test_a_membership_that_keeper_did_not_write_stays_forged(
    cast: Cast, tmp_path: Path, sql: Callable[..., None]
) -> None:
    """Suspending would compute its MAC anew, and make it genuine."""
    furnish(cast)
    sql("UPDATE environments_app_membership SET role = 'manager' WHERE role = 'viewer'")
    made = back_up(actor=OPERATOR, path=tmp_path / "damaged.kbk").path
    restore(made, replace=True, despite_damage=True)
    forged = Membership.objects.get(user=cast.vera)
    assert (forged.suspended_at, forged.is_authentic()) == (None, False)
    assert VALUE not in made.read_text("latin-1")


def waiting_as(name: str, environment: str) -> list[str]:
    out = StringIO()
    call_command("release", stdout=out)
    (line,) = [each for each in out.getvalue().splitlines() if f"{environment}: {name} " in each]
    return line.split()[:2]


def test_programs_read_what_was_restored_and_what_waits(cast: Cast, tmp_path: Path) -> None:
    made = backup_of(cast, tmp_path)

    def told(command: str, *arguments: str) -> Any:
        out = StringIO()
        call_command(command, *arguments, "--format", "json", stdout=out, stderr=StringIO())
        return json.loads(out.getvalue())

    proof = told("backup", "verify", str(made))
    assert (proof["sound"], proof["damaged"], proof["problems"]) == (True, 0, [])
    restored = told("restore", str(made), "--replace", "--yes")
    assert restored.items() >= proof.items()
    assert restored["suspended"]["membership"] == 5
    compared = told("restore", str(made), "--compare")
    assert compared["doubts"] == 0
    assert {"name": "people", "doubts": []}.items() <= compared["checks"][-2].items()
    waits = told("release")
    alice = waiting_as("alice", "development")
    assert alice in [[row["kind"], row["uuid"]] for row in waits]
