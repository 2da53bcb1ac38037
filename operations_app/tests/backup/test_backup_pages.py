"""The page Backups shows what there is, and releases what a restore suspended."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from environments_app.models import Alert, ServiceToken, User
from environments_app.tests.cast import Cast
from operations_app.backup import service as backup
from operations_app.backup.restore import restore
from operations_app.tests.backup.making import OPERATOR, furnish


@pytest.fixture
def page(cast: Cast, signed_in: Callable[[User], Client], settings: Settings, tmp_path: Path) -> Client:
    settings.KEEPER_BACKUP_DIR = str(tmp_path / "backups")
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    furnish(cast)
    return signed_in(cast.root)


def test_it_shows_each_backup(page: Client) -> None:
    assert "No backups yet" in page.get("/backups").content.decode()
    backup.make(actor=OPERATOR)
    (each,) = backup.list_backups(actor=OPERATOR)
    text = page.get("/backups").content.decode()
    assert each.name in text
    assert "not verified" in text


def test_it_shows_why_a_verification_failed(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    backup.make(actor=OPERATOR)
    (each,) = backup.list_backups(actor=OPERATOR)
    failed = subprocess.CompletedProcess([], 1, "", "a warning\nCommandError: the key is missing\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert not backup.verify(actor=OPERATOR, name=each.name)
    text = page.get("/backups").content.decode()
    assert "the key is missing" in text
    assert "CommandError" not in text + str(Alert.objects.get(kind="backup-failed").lines)


def test_it_releases_one_thing_at_a_time(
    cast: Cast, page: Client, signed_in: Callable[[User], Client]
) -> None:
    backup.make(actor=OPERATOR)
    restore(backup.find_kept(backup.list_backups(actor=OPERATOR)[0].name), replace=True)
    again = signed_in(cast.root)
    text = again.get("/backups").content.decode()
    assert "This installation is not active" in text
    token = ServiceToken.objects.get()
    path = f"/backups/release/service-token/{token.uuid}"
    assert path in text
    assert again.post(path).status_code == 302
    assert ServiceToken.objects.get().suspended_at is None
    assert path not in again.get("/backups").content.decode()
