"""The heartbeat lies where every process sees it."""

from pathlib import Path

from django.utils import timezone
from pytest_django import Settings

from operations_app.health.processes import beat, last_beat


def test_it_is_a_file_without_redis(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path
    assert last_beat() is None
    before = timezone.now()
    beat()
    noted = last_beat()
    assert noted is not None
    assert before <= noted <= timezone.now()
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat"]


def test_it_is_in_the_cache_with_redis(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path
    settings.REDIS_URL = "redis://shared"
    assert last_beat() is None
    beat()
    assert last_beat() is not None
    assert list(tmp_path.iterdir()) == []
