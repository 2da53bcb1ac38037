"""What the children of `keeper run` do: serve pages and API, and carry out background work."""

import importlib
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from celery.beat import EmbeddedService
from celery.bootsteps import StartStopStep
from django.conf import settings
from django.urls import get_resolver
from django.utils.log import configure_logging
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from keeper_project.celery import app
from keeper_project.supervising import Child

# What an answer may take once the server is asked to stop; less than the supervisor's patience.
FINISH_SECONDS: Final = 20
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)
_REPEAT_SECONDS: Final = 0.1


def web(*, host: str, port: int, workers: int, threads: int) -> Child:
    """Return the web server: granian, whose worker processes run Django by threads.

    Loads all of it here, which the worker processes then share.
    """
    application = importlib.import_module("keeper_project.wsgi").application
    # Otherwise the first request would load the views.
    _ = get_resolver().url_patterns
    return Child(
        "web server",
        partial(serve_pages, application, host=host, port=port, workers=workers, threads=threads),
    )


def serve_pages(application: Any, *, host: str, port: int, workers: int, threads: int) -> None:
    """Serve a WSGI application until a signal asks to stop."""
    server = Granian(
        "loaded already",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        workers_kill_timeout=FINISH_SECONDS,
        websockets=False,
        log_level=LogLevels.warning,
    )
    _hear_stops()
    server.serve(target_loader=partial(_begun, application), wrap_loader=False)


def _begun(application: Any) -> Any:
    """Return the application to a worker process that has just been forked."""
    _hear_stops()
    # The server has just configured logging for itself, which closes the handlers of everybody else.
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    return application


def _hear_stops() -> None:
    """Have a thread of its own take the signals that ask this process to stop, and call their handlers.

    To be called before there are other threads, which then leave those signals alone. Granian's main thread
    sleeps in a lock until a handler lets it go, and only a signal given to itself wakes it for that: of two
    at once (from whoever stops all processes, and from the parent) Linux may give both to another thread.
    """
    # What a worker inherits from its parent would stop nothing here.
    for number in _STOPS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    threading.Thread(target=_take_stops, name="stops", daemon=True).start()


def _take_stops() -> None:
    number = signal.sigwait(_STOPS)
    # Again and again: Granian may be about to set its handler, or what that lets go.
    while True:
        if callable(handler := signal.getsignal(number)):
            handler(number, None)
        time.sleep(_REPEAT_SECONDS)


class Schedule(StartStopStep):
    """Beat as a thread of the worker: the process that Celery would start holds a copy of everything."""

    def create(self, parent: Any) -> Any:
        """Return the scheduler, which starts and stops as the worker does."""
        parent.schedule = EmbeddedService(parent.app, thread=True)
        return parent.schedule

    def stop(self, parent: Any) -> None:
        """Ask it to end, which takes it seconds: until then tasks would go on being begun."""
        parent.schedule.service.stop()


def worker(*, threads: int, level: str) -> Child:
    """Return the worker: one Celery process with threads, and beat inside it."""
    app.loader.import_default_modules()
    app.steps["worker"].add(Schedule)
    made = partial(
        app.Worker,
        pool_cls="threads",
        concurrency=threads,
        loglevel=level,
        quiet=True,
        # There is one worker: it has nobody to gossip with.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    return Child("worker", partial(_work, made))


def _work(made: Callable[[], Any]) -> None:
    # Celery fears pickled messages under root; Keeper takes JSON alone.
    warnings.filterwarnings("ignore", message="You're running")
    running = made()
    running.start()
    running.schedule.stop()
    sys.exit(running.exitcode)
