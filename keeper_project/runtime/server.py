"""What the children of `keeper run` do: serve pages and API, and carry out background work."""

import importlib
import logging
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from celery import Celery, current_app
from celery.beat import Service
from celery.bootsteps import StartStopStep
from django.conf import settings
from django.urls import get_resolver
from django.utils.log import configure_logging
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.log import logger as logger_of_server

from core.config.sizes import CONNECTIONS, OTHER_DESCRIPTORS, SERVER_THREADS
from core.http.requests import Front
from keeper_project.runtime.request_threads import RequestThreads
from keeper_project.runtime.stuck_connections import close_stuck_connections
from keeper_project.runtime.supervisor import Child
from keeper_project.runtime.worker.celery_programs import FINISH_SECONDS, end_worker
from operations_app.health import processes

MakeFront = Callable[[], Front]

WEB_SERVER: Final = "web server"
READ_ENGINE: Final = "read engine"
WORKER: Final = "worker"
# What the head of a request may take, and a connection that is kept for the next one.
HEAD_SECONDS: Final = 20
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)
_REPEAT_SECONDS: Final = 0.1
logger = logging.getLogger(__name__)


def web(*, host: str, port: int, workers: int, threads: int) -> Child:
    """Return the web server: granian, whose worker processes run Django by threads.

    Loads all of it here, which the worker processes then share.
    """
    wsgi = importlib.import_module("keeper_project.wsgi")
    # Otherwise the first request would load the views, and each process collect the names of all pages.
    _ = get_resolver().reverse_dict
    serve = partial(
        serve_pages, wsgi.application, host=host, port=port, workers=workers, threads=threads,
        make_front=wsgi.front,
    )  # fmt: skip
    return Child(WEB_SERVER, serve, required=True)


def engine() -> Child:
    """Return the read engine, which serves the plain reads of all processes of the web server."""
    importlib.import_module("keeper_project.wsgi")
    # They read the models, which the line above has loaded.
    door = importlib.import_module("gateway_app.engine.client").open_door()
    serve = importlib.import_module("gateway_app.engine.process").serve_reads
    return Child(READ_ENGINE, partial(serve, door, ready=partial(processes.note_ready, READ_ENGINE)))


def serve_pages(
    application: Any, *, host: str, port: int, workers: int, threads: int, make_front: MakeFront | None = None
) -> None:
    """Serve a WSGI application until a signal asks to stop; `make_front` is called in each process."""
    server = Granian(
        "loaded already",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=SERVER_THREADS,
        backpressure=_connections(),
        # Of HTTP/2 without TLS no proxy makes use, and looking for it has no deadline.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
        workers_kill_timeout=FINISH_SECONDS,
        websockets=False,
        log_level=LogLevels.warning,
    )
    _hear_stops()
    logger_of_server.addFilter(_means_something)
    server.serve(target_loader=partial(_begun, application, port, threads, make_front), wrap_loader=False)


def _connections() -> int:
    """Return how many connections a process takes at a time, after raising the limit of descriptors to that.

    With more connections than descriptors the server would do nothing but try to accept the next one.
    """
    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + OTHER_DESCRIPTORS
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return CONNECTIONS
    limit = wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, highest))
    return max(limit // 2, limit - OTHER_DESCRIPTORS)


def _means_something(line: logging.LogRecord) -> bool:
    """Leave out the server's advice on threads, which takes them for threads of the application."""
    return "Python threads" not in line.getMessage()


def _begun(application: Any, port: int, threads: int, make_front: MakeFront | None) -> Any:
    """Return the application to a worker process that has just been forked."""
    _hear_stops()
    # The server has just configured logging for itself, which closes the handlers of everybody else.
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    # The socket listens by now.
    processes.note_ready(WEB_SERVER)
    fronted: dict[str, Any] = {}
    if make_front:
        fronted["front"] = make_front()
        from gateway_app.refusals import refusal_form  # noqa: PLC0415 - it takes what the application has loaded
        from operations_app.health import running  # noqa: PLC0415 - a model, and no program waits for it

        fronted["form"] = refusal_form
        running.show_running(running.WEB)
    longest = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    made = RequestThreads(application, threads, longest=longest, **fronted)
    close_stuck_connections(port, has_late_bodies=made.has_late_bodies)
    return made


def _hear_stops() -> None:
    """Have a thread of its own take the signals that ask this process to stop, and call their handlers.

    To be called before there are other threads, which then leave those signals alone. Granian's main thread
    sleeps in a lock until a handler lets it go, and only a signal given to itself wakes it for that: of two
    at once (from a process that stops all, and from the parent) Linux may deliver both to another thread.
    """
    # What a worker inherits from its parent would stop nothing here.
    for number in _STOPS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    threading.Thread(target=_take_stops, name="stops", daemon=True).start()


def _take_stops() -> None:
    number = signal.sigwait(_STOPS)
    # Granian may be about to set it.
    while not callable(handler := signal.getsignal(number)):
        time.sleep(_REPEAT_SECONDS)
    # Once. A worker's signal stores one message until Granian takes it, so that it may come early. A second
    # message waits for room while it holds Python's lock: the process would hang, with its open
    # transactions, until it is killed.
    handler(number, None)


class Beat(threading.Thread):
    """Celery's scheduler as a thread; the worker ends with it, so that the supervisor starts both again."""

    def __init__(self, celery: Celery) -> None:
        super().__init__(name="beat", daemon=True)
        self.service = Service(celery, scheduler_cls=celery.conf.beat_scheduler)
        self._is_stopping = False

    def run(self) -> None:
        try:
            self.service.start()
        finally:
            if not self._is_stopping:
                logger.error("beat ended: the worker ends too, since nothing would be due any more")
                end_worker()

    def ask_to_stop(self) -> None:
        """Return at once: it takes it seconds, and until then tasks would still be started."""
        self._is_stopping = True
        self.service.stop()

    def stop(self) -> None:
        """Wait until it has stored when each task was last sent."""
        self.ask_to_stop()
        self.join()


class Schedule(StartStopStep):
    """Beat inside the worker: the process that Celery would start holds a copy of everything."""

    def create(self, parent: Any) -> Any:
        """Return the scheduler, which starts as the worker does."""
        parent.schedule = Beat(parent.app)
        return parent.schedule

    def stop(self, parent: Any) -> None:
        parent.schedule.ask_to_stop()


def worker(*, threads: int, level: str) -> Child:
    """Return the worker: one Celery process with threads, and beat inside it."""
    current_app.loader.import_default_modules()
    current_app.steps["worker"].add(Schedule)
    made = partial(
        current_app.Worker,
        pool_cls="threads",
        concurrency=threads,
        loglevel=level,
        quiet=True,
        # There is one worker: it has no peers for gossip.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    return Child(WORKER, partial(_work, made))


def _work(made: Callable[[], Any]) -> None:
    # `keeper run` has checked. To go over all models again would give the child 5 MB of copies of its own.
    os.environ["CELERY_SKIP_CHECKS"] = "1"
    # Celery fears pickled messages under root; Keeper takes JSON alone.
    warnings.filterwarnings("ignore", message="You're running")
    running = made()
    running.start()
    running.schedule.stop()
    sys.exit(running.exitcode)
