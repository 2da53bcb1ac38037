"""What the children of `keeper run` do: serve pages and API, and carry out background work."""

import importlib
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final

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
    server.serve(target_loader=partial(_logged, application), wrap_loader=False)


def _logged(application: Any) -> Any:
    # The server has just configured logging for itself, which closes the handlers of everybody else.
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    return application


def worker(*, threads: int, level: str) -> Child:
    """Return the worker: one Celery process with threads, and beat inside it."""
    app.loader.import_default_modules()
    options = ["--pool", "threads", "--concurrency", str(threads), "--loglevel", level, "--beat"]
    # There is one worker: it has nobody to gossip with.
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    # `keeper run` has just made the checks.
    start: Callable[..., Any] = app.start
    return Child("worker", partial(_work, start, ["--quiet", "--skip-checks", "worker", *options, *alone]))


def _work(start: Callable[..., Any], arguments: list[str]) -> None:
    # Celery fears pickled messages under root; Keeper takes JSON alone.
    warnings.filterwarnings("ignore", message="You're running")
    start(arguments)
