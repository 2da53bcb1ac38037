"""The folders of the embedded broker, which its transport expects to exist."""

from pathlib import Path

from django.conf import settings

_FOLDERS = ("data_folder_in", "data_folder_out", "control_folder")


def folders() -> list[Path]:
    """Return the folders of the filesystem broker; none where another broker is used."""
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    return sorted({Path(str(options[name])) for name in _FOLDERS if name in options})


def make_folders() -> None:
    """Make the broker's folders, for their owner only."""
    for folder in folders():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
