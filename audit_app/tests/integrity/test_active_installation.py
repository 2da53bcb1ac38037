"""Which installation acts: the one of the row that Keeper wrote, in its place, with its lease; and no other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django import Settings

from audit_app.errors import LeaseUnwritable
from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.integrity import active_installation
from audit_app.integrity.active_installation import (
    activate,
    claim_first,
    current,
    is_active,
    note_marks,
    note_restore,
    problems,
    restored_at,
)
from audit_app.models import AuditEvent, Installation
from audit_app.tests.trail import sql, take_away, write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
KEEPER = actors.system()


@pytest.fixture
def lease(settings: Settings, tmp_path: Path) -> Path:
    path = tmp_path / "shared" / "lease"
    settings.KEEPER_LEASE_FILE = str(path)
    return path


def kinds() -> list[str]:
    return [problem.kind for problem in problems()]


def test_before_any_was_activated_each_one_is_and_the_first_stays() -> None:
    assert (is_active(), current(), kinds()) == (True, None, [])
    assert claim_first(actor=KEEPER)
    assert not claim_first(actor=KEEPER)
    assert (is_active(), kinds()) == (True, [])
    assert AuditEvent.objects.filter(action=Action.DEPLOYMENT_ACTIVATE).count() == 1


def test_where_the_row_was_taken_away_nothing_acts() -> None:
    activate(actor=KEEPER)
    take_away(Installation.objects.all())
    assert (is_active(), kinds()) == (False, ["missing"])


@pytest.mark.parametrize("column", ["place", "also", "epoch", "uuid", "since", "mac"])
def test_a_row_that_keeper_did_not_write_lets_nothing_act(column: str) -> None:
    row = activate(actor=KEEPER)
    changed: dict[str, Any] = {
        "place": "x" * 64, "also": f"{row.uuid} {'x' * 64}", "epoch": 7, "uuid": uuid4(), "since": timezone.now(), "mac": b"\0" * 48,
    }  # fmt: skip
    Installation.objects.filter(pk=row.pk).update(**{column: changed[column]})
    assert (is_active(), kinds()) == (False, ["edited"])


def test_a_genuine_row_of_before_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    activate(actor=KEEPER)
    before = Installation.objects.values().get()
    activate(actor=KEEPER)
    assert kinds() == []
    Installation.objects.filter(pk=before["id"]).update(**before)
    assert kinds() == ["replayed"]


def test_one_that_was_activated_elsewhere_does_not_act(monkeypatch: pytest.MonkeyPatch) -> None:
    activate(actor=KEEPER)
    monkeypatch.setattr(active_installation, "_addresses", lambda: ["another place"])
    monkeypatch.setattr(active_installation, "_server_marks", lambda: ["another server"])
    assert (is_active(), kinds()) == (False, [])
    # It does not make itself known either.
    note_marks(actor=KEEPER)
    assert (is_active(), kinds()) == (False, [])


def test_one_mark_in_common_is_enough_and_the_others_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    activate(actor=KEEPER)
    own = active_installation._addresses()
    monkeypatch.setattr(active_installation, "_addresses", lambda: ["b" * 64, *own])
    monkeypatch.setattr(active_installation, "_server_marks", lambda: ["c" * 64])
    for _ in range(2):
        note_marks(actor=KEEPER)
    # Each is an event, once.
    assert AuditEvent.objects.filter(action=Action.DEPLOYMENT_ACTIVATE).count() == 2
    for addresses, servers in ((["b" * 64], []), ([], ["c" * 64]), (own, [])):
        monkeypatch.setattr(active_installation, "_addresses", lambda addresses=addresses: addresses)
        monkeypatch.setattr(active_installation, "_server_marks", lambda servers=servers: servers)
        assert (is_active(), kinds()) == (True, [])
    # Another activation forgets them.
    activate(actor=KEEPER)
    monkeypatch.setattr(active_installation, "_addresses", lambda: ["b" * 64])
    assert not is_active()


def test_a_row_from_before_it_had_other_marks_stays_genuine() -> None:
    row = activate(actor=KEEPER)
    Installation.objects.update(also=None, also_mac=None)
    assert (is_active(), kinds()) == (True, [])
    note_marks(actor=KEEPER)
    # A process of the release before reads the row by the MAC that it knows.
    noted = Installation.objects.get()
    assert bytes(noted.mac) == bytes(row.mac)
    assert (is_active(), kinds()) == (True, [])


def test_marks_of_an_installation_that_another_one_followed_count_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    activate(actor=KEEPER)
    own = active_installation._addresses()
    monkeypatch.setattr(active_installation, "_addresses", lambda: [*own, "b" * 64])
    note_marks(actor=KEEPER)
    # As the release before activates: it leaves the columns that it does not know.
    noted = Installation.objects.get()
    activate(actor=KEEPER)
    Installation.objects.update(also=noted.also, also_mac=noted.also_mac)
    monkeypatch.setattr(active_installation, "_addresses", lambda: ["b" * 64])
    monkeypatch.setattr(active_installation, "_server_marks", list)
    assert (is_active(), kinds()) == (False, [])


def test_no_more_marks_are_kept_than_a_row_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    activate(actor=KEEPER)
    own = active_installation._addresses()
    for number in range(70):
        monkeypatch.setattr(active_installation, "_addresses", lambda number=number: [*own, f"{number:064}"])
        note_marks(actor=KEEPER)
    row = current()
    assert row is not None
    assert len(active_installation._noted(row)) == 64
    assert is_active()


def test_a_restored_database_acts_only_once_it_is_activated() -> None:
    activate(actor=KEEPER)
    assert restored_at() is None
    backup, at = uuid4(), timezone.now()
    note_restore(backup=backup, at=at)
    write(1, action=Action.DEPLOYMENT_RESTORE, stream="system")
    assert (is_active(), restored_at()) == (False, at)
    # The event of the restore names the backup; this one names something else.
    assert kinds() == ["replayed"]
    row = activate(actor=KEEPER)
    assert (is_active(), restored_at(), row.epoch, kinds()) == (True, at, 1, [])


@pytest.mark.parametrize(
    ("change", "acts"),
    [
        (lambda said: {**said, "installation": str(uuid4())}, False),
        (lambda said: {**said, "epoch": said["epoch"] + 1}, False),
        (lambda said: {**said, "mac": "00" * 48}, False),
        (lambda said: {name: value for name, value in said.items() if name != "mac"}, False),
        # Another deployment keeps its own on the same storage.
        (lambda said: {**said, "deployment": str(uuid4())}, True),
        (lambda said: said, True),
    ],
    ids=["another installation", "another epoch", "forged", "no MAC", "another deployment", "its own"],
)
def test_a_lease_that_names_another_installation_lets_nothing_act(
    lease: Path, change: Callable[[dict[str, Any]], dict[str, Any]], acts: bool
) -> None:
    activate(actor=KEEPER)
    assert is_active()
    lease.write_text(json.dumps(change(json.loads(lease.read_text()))))
    assert is_active() is acts


@pytest.mark.parametrize(("content", "acts"), [("{", False), (b"\xff", False), ("[]", True), (None, True)])
def test_a_lease_that_cannot_be_read_counts_as_taken(
    lease: Path, content: str | bytes | None, acts: bool
) -> None:
    activate(actor=KEEPER)
    if content is None:
        lease.unlink()
    else:
        lease.write_bytes(content.encode() if isinstance(content, str) else content)
    assert is_active() is acts


def test_each_activation_counts_on_from_the_lease(lease: Path) -> None:
    first = activate(actor=KEEPER)
    assert json.loads(lease.read_text())["epoch"] == first.epoch == 1
    take_away(Installation.objects.all())
    # A copy of the database that knows less does not go back behind it.
    assert activate(actor=KEEPER).epoch == 2
    assert not list(lease.parent.glob(".lease.*"))


def test_where_the_lease_cannot_be_written_nothing_is_activated(lease: Path) -> None:
    lease.parent.write_text("in the way")
    with pytest.raises(LeaseUnwritable):
        activate(actor=KEEPER)
    assert current() is None
    assert not AuditEvent.objects.filter(action=Action.DEPLOYMENT_ACTIVATE).exists()


def test_the_newest_change_alone_counts_and_only_one_that_was_allowed(lease: Path) -> None:
    row = activate(actor=KEEPER)
    write(1, action=Action.DEPLOYMENT_ACTIVATE, stream="system", outcome="denied")
    write(1, action=Action.DEPLOYMENT_ACTIVATE, stream="environment:a")
    assert active_installation._last_change() == (str(Action.DEPLOYMENT_ACTIVATE), row.uuid)
    assert kinds() == []
    sql("UPDATE audit_app_installation SET epoch = 5")
    assert kinds() == ["edited"]
