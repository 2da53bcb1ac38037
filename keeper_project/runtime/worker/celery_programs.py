"""Celery's worker and beat as Keeper runs them: their output is a line of the log, or suppressed."""

import errno
import logging
import os
import shutil
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import django
from celery.apps import beat, worker
from celery.beat import PersistentScheduler
from celery.exceptions import CPendingDeprecationWarning
from celery.worker import state as worker_state
from django.conf import settings
from django.core import checks
from django.db import DatabaseError

logger = logging.getLogger(__name__)
# What begun work may take once its process is asked to stop; less than the supervisor's patience.
FINISH_SECONDS: Final = 20
# What its file takes, several times.
_ROOM_BYTES: Final = 256 * 1024
_say = worker.safe_say  # type: ignore[attr-defined]  # stubs


class Worker(worker.Worker):
    """A worker that prints nothing."""

    def on_before_init(self, quiet: bool = False, **options: Any) -> None:  # noqa: ARG002, FBT001, FBT002 - Celery's
        """Prepare as Celery does, without a banner, whatever was asked for."""
        if not self.app.steps["worker"]:
            _require_broker()
            _require_sound_settings()
            _require_schema()
        super().on_before_init(quiet=True, **options)
        worker.safe_say = _say_errors  # type: ignore[attr-defined]  # stubs

    def on_init_blueprint(self) -> None:
        """Set up logging as Celery does, without what it says of its next version at each lost connection."""
        super().on_init_blueprint()
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)

    def prepare_args(self, **options: Any) -> dict[str, Any]:
        """Leave out gossip and mingling: they have no use here, and fail as a broker returns."""
        return super().prepare_args(**options) | {"without_gossip": True, "without_mingle": True}

    def on_start(self) -> None:
        """Start as Celery does, and show the installation that this worker runs."""
        super().on_start()
        # Not before Django is loaded.
        from operations_app.health.running import WORKER, show_running  # noqa: PLC0415

        show_running(WORKER)

    def on_close(self) -> None:
        """Log that it stops; the signal's handler cannot, since it may interrupt another line."""
        logger.info("the worker stops: what was begun is finished, what waits is left to the next one")
        super().on_close()


class Beat(beat.Beat):
    """A beat that prints nothing."""

    def __init__(self, *given: Any, **options: Any) -> None:
        _require_broker()
        _require_sound_settings()
        super().__init__(*given, **(options | {"quiet": True}))


class Schedule(PersistentScheduler):
    """Beat's schedule; where the disk takes no file, only memory holds when each task was last sent."""

    # The stubs leave these out.
    _store: Any
    schedule_filename: str

    def setup_schedule(self) -> None:
        """Load the schedule, from an empty one in memory if there is no room for its file."""
        try:
            super().setup_schedule()
        except OSError as error:
            logger.warning("beat's schedule is not stored: %s", type(error).__name__, extra={"cause": error})
            if self._store is not None:
                # It would be stored once more where it is collected.
                self._store.cache.clear()
            self.persistence = Unstored  # type: ignore[assignment]  # of a module it needs `open` alone
            super().setup_schedule()

    def schedules_equal(self, *_schedules: Any, **_options: Any) -> bool:
        """Say yes: nothing changes the schedule while it runs.

        Celery compares all entries before each task. In `keeper run`, which has nine tasks a second, that was
        half of beat's time: 2.9 % of a core instead of 1.4.
        """
        return True

    def sync(self) -> None:
        """Store it, or leave that to the next time."""
        try:
            super().sync()
        except OSError:
            # The shelf forgets that it keeps what it has handed out.
            self._store.writeback = True

    def close(self) -> None:
        """Store it a last time."""
        with suppress(OSError):
            super().close()

    def _destroy_open_corrupted_schedule(self, exc: Exception) -> Any:
        """Replace a damaged file, but leave one that a full disk does not let Celery open."""
        if shutil.disk_usage(Path(self.schedule_filename).parent).free < _ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from exc
        return super()._destroy_open_corrupted_schedule(exc)  # type: ignore[misc]  # stubs


class Unstored(dict[str, Any]):
    """A shelf (`shelve`) without a file."""

    @classmethod
    def open(cls, _path: str, *, writeback: bool) -> "Unstored":  # noqa: ARG003 - the signature of shelve.open
        """Return an empty one."""
        return cls()

    def sync(self) -> None:
        """Store nothing."""

    def close(self) -> None:
        """Store nothing."""


def _require_broker() -> None:
    """End a program that no other process could reach: the worker of `keeper run` has beat inside it."""
    if settings.KEEPER_EMBEDDED_WORKER:
        sys.exit("Set REDIS_URL or CELERY_BROKER_URL: without a broker, only `keeper run` can run a worker.")


def _require_sound_settings() -> None:
    """End a program whose settings `keeper run` would refuse: Celery runs the system checks and continues."""
    django.setup()
    errors = [found for found in checks.run_checks() if found.is_serious() and not found.is_silenced()]
    if errors:
        sys.exit("\n".join(f"{found.id}: {found.msg} {found.hint or ''}".rstrip() for found in errors))


def _require_schema() -> None:
    """End a worker whose release the database is not ready for; the release before continues to work."""
    from operations_app.health.service import HealthFailure, schema  # noqa: PLC0415 - not before Django is loaded

    try:
        schema()
    except HealthFailure as failure:
        sys.exit(f"The worker does not start: {failure.for_operators}.")
    except DatabaseError:
        # It waits for a database that is away.
        return


def _say_errors(message: str, file: Any = sys.__stderr__) -> None:
    """Stand in for what announces signals in plain text; a dump of all stacks (SIGUSR1) still comes."""
    if file is not sys.__stdout__:
        _say(message, file)


def end_worker() -> None:
    """Ask the worker to finish begun tasks and end; its process ends after FINISH_SECONDS in any case."""
    worker_state.should_stop = os.EX_SOFTWARE  # type: ignore[assignment]  # stubs
    try:
        threading.Thread(target=_end_late, name="end", daemon=True).start()
    except (MemoryError, RuntimeError):
        # There is no memory for a thread.
        os._exit(os.EX_SOFTWARE)


def _end_late() -> None:
    """End the process after FINISH_SECONDS: a stuck task must not block all others indefinitely."""
    time.sleep(FINISH_SECONDS)
    os._exit(os.EX_SOFTWARE)
