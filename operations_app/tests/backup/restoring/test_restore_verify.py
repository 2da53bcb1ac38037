"""`keeper restore --verify` finds what is wrong with a backup, and touches nothing."""

import fcntl
import os
import random
import resource
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.management import CommandError, call_command
from django.db.migrations.loader import MigrationLoader
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from operations_app.backup.archive import rows
from operations_app.backup.create import back_up
from operations_app.backup.errors import (
    Altered,
    BackupError,
    Incomplete,
    KeyMissing,
    Malformed,
    OtherRelease,
    Truncated,
    Unwritable,
)
from operations_app.backup.restore import restore
from operations_app.backup.verification import verify_backup
from operations_app.tests.backup.making import OPERATOR, backup_of, furnish
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.keys.providers.registry import forget_provider
from secrets_app.models import Secret, SecretVersion
from secrets_app.tests.kept import VALUE
from sync_app.models import SyncEntry

MAC = 48
every_database = pytest.mark.every_database


@pytest.fixture
def made(cast: Cast, tmp_path: Path) -> Path:
    return backup_of(cast, tmp_path)


@pytest.fixture(autouse=True)
def _here(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"


def everything() -> dict[str, list[bytes]]:
    return {rows.label(model): list(rows.lines(model)) for model in rows.tables()}


@every_database
def test_it_proves_a_backup_and_touches_nothing(made: Path) -> None:
    before, files = everything(), set(made.parent.rglob("*"))
    out = StringIO()
    call_command("restore", str(made), "--verify", stdout=out)
    assert "The backup is genuine, and what it holds is sound." in out.getvalue()
    assert everything() == before
    assert set(made.parent.rglob("*")) - files <= {made.parent / "data"}


@every_database
def test_it_says_what_is_in_it(made: Path) -> None:
    proof = verify_backup(made)
    assert proof.manifest.counts["secrets_app.SecretVersion"] == 3
    # Opening the keys records those that this test's own transaction has made.
    assert proof.manifest.counts["audit_app.AuditEvent"] <= proof.tally.events
    assert sum(key.data_keys for key in proof.manifest.keys) == proof.data_keys
    assert proof.problems == []


def test_no_value_and_no_name_is_readable_in_it(made: Path) -> None:
    content = made.read_bytes()
    for text in (VALUE, "payments/key", "the second value of it"):
        assert text.encode() not in content
    assert made.stat().st_mode & 0o777 == 0o600


def test_it_finds_a_flipped_bit_wherever_it_is(made: Path) -> None:
    content, place = made.read_bytes(), made.with_name("flipped.kbk")
    chance = random.Random(7)
    edges = [0, 9, 12, len(content) - 1, len(content) - MAC, len(content) - MAC - 1]
    for position in [*edges, *(chance.randrange(len(content)) for _ in range(25))]:
        broken = bytearray(content)
        broken[position] ^= 1 << chance.randrange(8)
        place.write_bytes(broken)
        with pytest.raises((Malformed, Truncated, Altered, KeyMissing, OtherRelease, Incomplete)):
            verify_backup(place)


def test_it_finds_a_cut_wherever_it_is(made: Path) -> None:
    content, place = made.read_bytes(), made.with_name("cut.kbk")
    chance = random.Random(8)
    for length in (
        0,
        5,
        13,
        len(content) - 1,
        len(content) - MAC,
        *(chance.randrange(len(content)) for _ in range(8)),
    ):
        place.write_bytes(content[:length])
        with pytest.raises((Malformed, Truncated, Altered)):
            verify_backup(place)
    place.write_bytes(content + b"more")
    with pytest.raises((Truncated, Altered)):
        verify_backup(place)


def test_it_finds_an_exchanged_manifest(made: Path) -> None:
    other = back_up(actor=OPERATOR, path=made.with_name("other.kbk")).path.read_bytes()
    mixed = made.with_name("mixed.kbk")
    content = made.read_bytes()

    def end(of: bytes) -> int:
        return 12 + int.from_bytes(of[8:12], "big")

    mixed.write_bytes(other[: end(other)] + content[end(content) :])
    with pytest.raises(Altered):
        verify_backup(mixed)


def test_it_finds_another_signature(made: Path) -> None:
    other = back_up(actor=OPERATOR, path=made.with_name("other.kbk")).path.read_bytes()
    mixed = made.with_name("mixed.kbk")
    mixed.write_bytes(made.read_bytes()[:-MAC] + other[-MAC:])
    with pytest.raises(Altered, match="signature"):
        verify_backup(mixed)


def test_another_key_opens_nothing(made: Path, settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.write_bytes(os.urandom(32))
    settings.KEEPER_LOCAL_KEY_FILE = str(other)
    forget_provider()
    forget_data_keys()
    with pytest.raises(KeyMissing, match="local:"):
        verify_backup(made)


def test_another_releases_tables_are_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from operations_app.backup import create as backup_create

    applied = list(backup_create.applied_migrations())
    last = max(name for name in applied if name.startswith("audit_app."))
    newer_ones = [*(name for name in applied if name != last), "audit_app.9999_next"]
    monkeypatch.setattr(backup_create, "applied_migrations", lambda: newer_ones)
    newer = back_up(actor=OPERATOR, path=made.with_name("newer.kbk")).path
    with pytest.raises(OtherRelease, match=r"differ in audit_app\.9999_next\)"):
        verify_backup(newer)


def test_a_backup_from_before_the_migrations_were_squashed_is_of_this_release(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from operations_app.backup import create as backup_create

    on_disk = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    before = [".".join(old) for migration in on_disk.values() for old in migration.replaces]
    others = [name for name in backup_create.applied_migrations() if "squashed" not in name]
    monkeypatch.setattr(backup_create, "applied_migrations", lambda: sorted(before + others))
    assert verify_backup(back_up(actor=OPERATOR, path=made.with_name("older.kbk")).path).problems == []


@every_database
def test_damage_that_the_installation_had_is_told_and_is_no_fault_of_the_file(
    cast: Cast, tmp_path: Path, sql: Callable[..., None]
) -> None:
    furnish(cast)
    sql("UPDATE secrets_app_secretversion SET comment = 'edited' WHERE number = 2")
    made = back_up(actor=OPERATOR, path=tmp_path / "damaged.kbk").path
    proof = verify_backup(made)
    assert [problem.kind for problem in proof.problems] == ["version"]
    out = StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("restore", str(made), "--verify", stdout=out)
    assert "1 problems, all of them older than the backup" in out.getvalue()


def test_a_row_that_was_edited_is_not_laundered(cast: Cast, tmp_path: Path, sql: Callable[..., None]) -> None:
    """Saving would compute its MAC anew, and make it genuine."""
    furnish(cast)
    sql("UPDATE environments_app_membership SET role = 'manager' WHERE role = 'viewer'")
    proof = verify_backup(back_up(actor=OPERATOR, path=tmp_path / "damaged.kbk").path)
    assert any("membership" in problem.object for problem in proof.problems)


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Let no file of this process grow beyond a size, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_backup_and_is_recorded(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(cast)

    def full(descriptor: int, mode: str) -> Any:
        os.close(descriptor)
        return Path("/dev/full").open(mode)

    # That of the backup alone: the database has to record it.
    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(Unwritable, match="cannot be written"):
        back_up(actor=OPERATOR, path=tmp_path / "backups" / "made.kbk")
    assert list((tmp_path / "backups").iterdir()) == []
    ended = AuditEvent.objects.filter(action="backup.finish").get()
    assert (ended.outcome, "Unwritable" in ended.details) == ("failed", True)


def test_a_full_disk_stops_a_proof(made: Path, small_disk: Callable[[int], None]) -> None:
    small_disk(20_000)
    with pytest.raises(BackupError):
        verify_backup(made)
    assert list((configured.KEEPER_DATA_DIR).glob(".proof*")) == []
    assert Secret.objects.count() == 2


def test_what_a_killed_proof_left_is_removed_and_what_another_uses_is_not(made: Path) -> None:
    folder = configured.KEEPER_DATA_DIR
    left, used = folder / ".proof.left.partial", folder / ".proof.used.partial"
    for place in (left, used):
        place.mkdir(parents=True)
        (place / "proof.db").write_bytes(b"rows")
        os.utime(place, (1, 1))
    descriptor = os.open(used, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    verify_backup(made)
    os.close(descriptor)
    assert sorted(folder.glob(".proof*")) == [used]


def test_the_command_says_what_is_wrong(made: Path) -> None:
    made.write_bytes(b"nothing of the kind")
    with pytest.raises(CommandError, match=r"not a Keeper backup\. Nothing was changed"):
        call_command("restore", str(made), "--verify")
    assert SecretVersion.objects.count() == 3


def test_rows_of_an_earlier_release_become_what_its_update_makes_of_them(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from operations_app.backup import create as backup_create

    furnish(cast)
    SyncEntry.objects.update(reason="deleted in Keeper, in the target's recovery window")
    applied = [
        name for name in backup_create.applied_migrations() if name != "sync_app.0010_words_of_withdrawn"
    ]
    monkeypatch.setattr(backup_create, "applied_migrations", lambda: applied)
    earlier = back_up(actor=OPERATOR, path=tmp_path / "earlier.kbk").path
    SyncEntry.objects.update(reason="")
    restore(earlier, replace=True)
    assert {each.reason for each in SyncEntry.objects.all()} == {"deleted in Keeper and in the target"}
