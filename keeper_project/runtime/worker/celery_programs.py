"""Celery's worker and beat as Keeper runs them: their output is a line of the log, or suppressed."""

import logging
import sys
import warnings
from datetime import datetime, timedelta
from typing import Any, Final

import django
from celery.apps import beat, worker
from celery.beat import Scheduler
from celery.exceptions import CPendingDeprecationWarning
from django.conf import settings
from django.core import checks
from django.db import Error as DatabaseProblem
from django.db import connection
from django.utils import timezone

logger = logging.getLogger(__name__)
# Each entry of the schedule is due within this time.
_NEVER: Final = timedelta(days=1)
_say = worker.safe_say  # type: ignore[attr-defined]  # stubs


class Worker(worker.Worker):
    """A worker that prints nothing."""

    def on_before_init(self, quiet: bool = False, **options: Any) -> None:  # noqa: ARG002, FBT001, FBT002 - Celery's
        """Prepare as Celery does, without a banner, whatever was asked for."""
        if not self.app.steps["worker"]:
            _require_broker()
            _require_sound_settings()
        super().on_before_init(quiet=True, **options)
        worker.safe_say = _say_errors  # type: ignore[attr-defined]  # stubs

    def on_init_blueprint(self) -> None:
        """Set up logging as Celery does, without what it says of its next version at each lost connection."""
        super().on_init_blueprint()
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)

    def prepare_args(self, **options: Any) -> dict[str, Any]:
        """Leave out gossip and mingling: they have no use here, and fail as a broker returns."""
        return super().prepare_args(**options) | {"without_gossip": True, "without_mingle": True}

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


class Schedule(Scheduler):
    """Beat's schedule, which begins at the last runs that the database has.

    The scheduler that Celery takes by default keeps them in a file of pickles.
    """

    def setup_schedule(self) -> None:
        """Send at once what became due while no beat ran, or never ran."""
        super().setup_schedule()
        known, now = _last_runs(), timezone.now()
        for entry in self.schedule.values():
            # A clock that was ahead must not hold a task off.
            entry.last_run_at = min(known.get(str(entry.task), now - _NEVER), now)


def _last_runs() -> dict[str, datetime]:
    """Return when each task last began, as far as the database answers."""
    # Django's models, which this module may be loaded before.
    from keeper_project.models import ScheduledTask  # noqa: PLC0415

    try:
        rows = ScheduledTask.objects.filter(started_at__isnull=False).values_list("task", "started_at")
        return {task: at for task, at in rows if at}
    except DatabaseProblem as problem:
        logger.warning("the last runs are not known: %s", type(problem).__name__, extra={"cause": problem})
        return {}
    finally:
        # Beat asks the database nothing else.
        connection.close()


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


def _say_errors(message: str, file: Any = sys.__stderr__) -> None:
    """Stand in for what announces signals in plain text; a dump of all stacks (SIGUSR1) still comes."""
    if file is not sys.__stdout__:
        _say(message, file)
