"""The embedded broker: Kombu's folder of messages, in which each appears whole and stays until it is done.

Kombu itself opens a message's file under its name before it writes it, and removes it before anybody works on
it. A worker that looks in between reads half of a message; one that is killed takes with it what it held.
"""

import fcntl
import logging
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any, Final, TextIO
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import filesystem, virtual
from kombu.utils.json import dumps, loads

# Nobody looks for names that end like this.
_DRAFT: Final = ".draft"
_TAKEN: Final = ".taken"
# What a killed worker held is given back once: what kills each worker that takes it would stop all work.
_AGAIN: Final = "_again"
logger = logging.getLogger(__name__)


class QoS(virtual.QoS):
    """Has a message's file removed when the message is done."""

    channel: "Channel"

    def ack(self, delivery_tag: str) -> None:
        """Note that a message is done."""
        self.channel.forget(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's
        """Give a message back, or note that nobody will do it."""
        if not requeue:
            self.channel.forget(delivery_tag)
        super().reject(delivery_tag, requeue=requeue)


class Channel(filesystem.Channel):
    """Writes a message aside and then gives it its name; takes it by another name, and a lock for its life.

    The kernel ends the lock with the process, and so tells the others what is nobody's any more.
    """

    QoS = QoS

    def __init__(self, *given: Any, **options: Any) -> None:
        self._held: dict[str, tuple[Path, TextIO]] = {}
        self._acknowledged: set[str] = set()
        super().__init__(*given, **options)

    def basic_consume(
        self,
        queue: str,
        no_ack: bool,  # noqa: FBT001 - Kombu's
        callback: Callable[..., Any] | None,
        consumer_tag: str | None,
        **options: Any,
    ) -> str:
        """Consume from a queue, and keep its messages until they are acknowledged, if they will be."""
        if not no_ack:
            self._acknowledged.add(queue)
        return super().basic_consume(queue, no_ack, callback, consumer_tag, **options)

    def forget(self, delivery_tag: str) -> None:
        """Remove a message that is done; one that is not held here is nobody's business."""
        if held := self._held.pop(delivery_tag, None):
            taken, file = held
            taken.unlink(missing_ok=True)
            file.close()

    # The bases name the message differently.
    def _put(self, queue: str, payload: dict[str, Any], **_options: Any) -> None:  # type: ignore[override]
        name = f"{time.time_ns():020d}_{uuid4()}.{queue}.msg"
        folder = Path(self.data_folder_out)
        draft = folder / f"{name}{_DRAFT}"
        try:
            draft.write_text(dumps(payload), encoding="utf-8")
            draft.rename(folder / name)
        except OSError as error:
            raise ChannelError(f"cannot add a message to {folder}") from error

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 - Kombu's
        folder = Path(self.data_folder_in)
        self._give_back_of_the_dead(folder, queue)
        for name in sorted(path.name for path in folder.iterdir()):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder / f"{name}{_TAKEN}"
            file = _moved(folder / name, taken)
            if file is None:
                continue  # Another worker has it.
            payload = loads(file.read())
            if queue in self._acknowledged:
                self._held[payload["properties"]["delivery_tag"]] = (taken, file)
            else:
                taken.unlink()
                file.close()
            return payload
        raise Empty

    def _restore(self, message: Any) -> None:
        if held := self._held.pop(message.delivery_tag, None):
            taken, file = held
            taken.rename(taken.with_suffix(""))
            file.close()

    def _give_back_of_the_dead(self, folder: Path, queue: str) -> None:
        own = {taken for taken, _ in self._held.values()}
        for taken in set(folder.glob(f"*.{queue}.msg{_TAKEN}")) - own:
            first, _, rest = taken.with_suffix("").name.partition(".")
            file = _moved(taken, folder / f"{first}{_AGAIN}.{rest}")
            if file is None:
                continue
            if first.endswith(_AGAIN):
                (folder / f"{first}{_AGAIN}.{rest}").unlink()
                logger.error("two workers died of a task, which is left out: %s", _task(file))
            file.close()


class Transport(filesystem.Transport):
    """What `filesystem://` means to Keeper."""

    Channel = Channel


def _moved(path: Path, to: Path) -> TextIO | None:
    """Lock a message and give it another name; None if somebody else has or had it."""
    try:
        file = path.open(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.rename(to)
    except (BlockingIOError, FileNotFoundError):
        file.close()
        return None
    return file


def _task(file: TextIO) -> str:
    return str(loads(file.read())["headers"].get("task", "unknown"))
