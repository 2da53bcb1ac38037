"""The embedded broker's folders are made before they are used."""

from pathlib import Path

from celery import Celery
from pytest_django import Settings

from keeper_project.broker import folders, make_folders


def test_it_makes_every_folder_for_its_owner(settings: Settings, tmp_path: Path) -> None:
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(tmp_path / "broker" / "messages"),
        "data_folder_out": str(tmp_path / "broker" / "messages"),
        "control_folder": str(tmp_path / "broker" / "control"),
    }
    make_folders()
    make_folders()
    assert [folder.name for folder in folders()] == ["control", "messages"]
    assert all(folder.is_dir() and folder.stat().st_mode & 0o077 == 0 for folder in folders())


def test_it_makes_nothing_for_another_broker(settings: Settings) -> None:
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {}
    assert folders() == []
    make_folders()


def test_the_transport_uses_them(settings: Settings, tmp_path: Path) -> None:
    folder = str(tmp_path / "messages")
    options = {
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": str(tmp_path / "control"),
    }
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = options
    make_folders()
    app = Celery("test", broker="filesystem://", set_as_current=False)
    app.conf.broker_transport_options = options
    app.send_task("a.task")
    assert len(list((tmp_path / "messages").iterdir())) == 1
