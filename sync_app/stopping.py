"""Says whether the worker was asked to stop, so that long work is left off where another can take it up."""

from celery.signals import worker_shutting_down

from sync_app.errors import WorkerStops

_asked = False


def leave_off_if_asked() -> None:
    """Raise WorkerStops if the worker was asked to stop."""
    if _asked:
        raise WorkerStops("the worker stops: another carries this on")


def is_asked() -> bool:
    """Say whether the worker was asked to stop; never in a process that is no worker."""
    return _asked


@worker_shutting_down.connect
def _note(**_signal: object) -> None:
    # In a handler of a signal: whatever takes a lock could wait for itself.
    global _asked  # noqa: PLW0603 - what happens to the process as a whole
    _asked = True
