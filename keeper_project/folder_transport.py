"""The embedded broker: Kombu's folder of messages, in which each appears whole or not at all.

Kombu itself opens a message's file under its name before it writes it. A worker that looks in between reads
half of a message, and ends of it.
"""

import time
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps, loads


class Channel(filesystem.Channel):
    """Writes a message aside and then gives it its name; takes it by a name that nobody looks for."""

    # The bases name the message differently.
    def _put(self, queue: str, payload: dict[str, Any], **_options: Any) -> None:  # type: ignore[override]
        name = f"{time.time_ns():020d}_{uuid4()}.{queue}.msg"
        folder = Path(self.data_folder_out)
        try:
            _aside(folder, name).write_text(dumps(payload), encoding="utf-8")
            _aside(folder, name).rename(folder / name)
        except OSError as error:
            raise ChannelError(f"cannot add a message to {folder}") from error

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 - Kombu's
        folder = Path(self.data_folder_in)
        for name in sorted(path.name for path in folder.iterdir()):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = _aside(folder, name)
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:
                continue  # Another worker has it.
            found = taken.read_text(encoding="utf-8")
            taken.unlink()
            return loads(found)
        raise Empty


class Transport(filesystem.Transport):
    """What `filesystem://` means to Keeper."""

    Channel = Channel


def _aside(folder: Path, name: str) -> Path:
    return folder / f".{name}"
