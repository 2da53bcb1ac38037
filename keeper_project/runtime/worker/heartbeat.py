"""Shows whether beat and a worker live: each tick of beat makes a worker store the time."""

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

_KEY: Final = "keeper:heartbeat"


def beat() -> None:
    """Note that a worker carried out a task now: in Redis, or else in the data directory."""
    now = timezone.now().isoformat()
    if settings.REDIS_URL:
        cache.set(_KEY, now, timeout=None)
        return
    # A rename, so no reader sees an incomplete time.
    draft = _file().with_name(f".heartbeat.{os.getpid()}")
    draft.write_text(now, encoding="ascii")
    draft.replace(_file())


def last_beat() -> datetime | None:
    """Return when a worker last carried out the heartbeat's task, or None if none ever did."""
    text = cache.get(_KEY) if settings.REDIS_URL else _read()
    return datetime.fromisoformat(text) if text else None


def _file() -> Path:
    return Path(settings.KEEPER_DATA_DIR) / "heartbeat"


def _read() -> str:
    try:
        return _file().read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
