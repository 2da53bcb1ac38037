"""Downloads of a backup: the sealed file alone, by administrators with a fresh proof, recorded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, Deployment
from environments_app.errors import ConfirmationNeeded, Forbidden
from environments_app.models import User, UserRole
from environments_app.tests.cast import Cast
from operations_app.backup.create import back_up
from operations_app.backup.errors import Altered, BackupError, Malformed
from operations_app.backup.requests import open_sealed
from operations_app.tests.backup.making import OPERATOR

Events = Callable[..., list[AuditEvent]]
NAME = "keeper-20261124T000000-0000000a.kbk"


@pytest.fixture
def made(cast: Cast, settings: Settings, tmp_path: Path) -> Path:
    settings.KEEPER_BACKUP_DIR = str(tmp_path / "backups")
    return back_up(actor=OPERATOR, path=tmp_path / "backups" / NAME).path


def test_an_administrator_downloads_the_file_as_it_is(
    made: Path, cast: Cast, signed_in: Callable[..., Client], events: Events
) -> None:
    answer: Any = signed_in(cast.root).post(reverse("backups"), {"download": NAME})
    assert answer.streaming
    assert b"".join(answer.streaming_content) == made.read_bytes()
    assert f'filename="{NAME}"' in answer["Content-Disposition"]
    assert answer["Content-Type"] == "application/octet-stream"
    (event,) = events(Action.BACKUP_DOWNLOAD)
    assert (event.object_name, event.actor_name) == (NAME, "root")


def test_who_may_download(
    made: Path, cast: Cast, signed_in: Callable[..., Client], events: Events, settings: Settings
) -> None:
    for user in (cast.alice, User.objects.create_user("ada", role=UserRole.AUDITOR)):
        with pytest.raises(Forbidden):
            open_sealed(actor=cast.principal(user), name=NAME)
    with pytest.raises(ConfirmationNeeded):
        open_sealed(actor=replace(cast.principal(cast.root), confirmed=False), name=NAME)
    assert {event.outcome for event in events(Action.BACKUP_DOWNLOAD)} == {"denied"}
    settings.KEEPER_REAUTH_SECONDS = -1
    answer = signed_in(cast.root).post(reverse("backups"), {"download": NAME})
    assert answer["Location"].startswith(reverse("confirm"))


@pytest.mark.parametrize(
    "name", ["", "..", "../secret", f"../backups/{NAME}", "/etc/hosts", f"{NAME}/", "x.kbk", f"{NAME}\n"]
)
def test_no_name_leads_out_of_the_folder(
    made: Path, cast: Cast, signed_in: Callable[..., Client], events: Events, name: str
) -> None:
    (made.parent.parent / "secret").write_text("secret")
    with pytest.raises(Malformed):
        open_sealed(actor=cast.principal(cast.root), name=name)
    page = signed_in(cast.root).post(reverse("backups"), {"download": name}, follow=True)
    assert "There is no backup of this name." in page.content.decode()
    assert not events(Action.BACKUP_DOWNLOAD)


def test_a_link_is_not_followed(made: Path, cast: Cast) -> None:
    made.rename(made.with_name("elsewhere"))
    made.symlink_to(made.with_name("elsewhere"))
    with pytest.raises(Malformed):
        open_sealed(actor=cast.principal(cast.root), name=NAME)


@pytest.mark.parametrize("content", [b"", b"a text that somebody put there", None])
def test_what_is_no_whole_sealed_backup_is_refused(
    made: Path, cast: Cast, events: Events, content: bytes | None
) -> None:
    whole = made.read_bytes()
    made.write_bytes(content if content is not None else whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(Altered if content is None else BackupError):
        open_sealed(actor=cast.principal(cast.root), name=NAME)
    assert not events(Action.BACKUP_DOWNLOAD)


def test_a_backup_of_another_installation_is_refused(
    made: Path, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Deployment().uuid
    monkeypatch.setattr("operations_app.backup.requests.deployment_uuid", lambda: other)
    with pytest.raises(Malformed):
        open_sealed(actor=cast.principal(cast.root), name=NAME)
