"""The log of Keeper: one JSON object a line, to the console and to a file, and never a credential.

The file rotates, and several processes may write it at once.
"""

import fcntl
import logging
import logging.config
import os
import sys
import time
from contextlib import suppress
from datetime import date
from http import HTTPStatus
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, TextIO
from uuid import UUID

import structlog
from django.conf import settings
from structlog.typing import EventDict, Processor, WrappedLogger

from keeper_project.observability.outages import OutageFilter
from keeper_project.observability.redaction import redact_line

FILE_BYTES: Final = 20 * 1024 * 1024
FILE_BACKUPS: Final = 5
NO_FILE: Final = "-"
# Their own standard output is a command's answer (`issue_token` prints a token, alone); that of what
# serves is its log.
COMMANDS: Final = frozenset({"keeper", "manage.py", "django-admin"})
SERVING: Final = frozenset({"run", "runserver"})

# At DEBUG most of these write what they send and receive: plain data keys, SQL with its
# parameters, messages, assertions. The level of Keeper's own logs never opens them.
QUIET: Final = {
    "amqp": "WARNING",
    "boto3": "WARNING",
    "botocore": "WARNING",
    # A line for each task that is sent, received and done, thirty a minute where nothing happens; what a
    # task did that counts is an event, and one that fails is an error.
    "celery.app.trace": "WARNING",
    "celery.beat": "WARNING",
    "celery.worker.strategy": "WARNING",
    "django.db.backends": "INFO",
    "django.template": "INFO",
    "hvac": "WARNING",
    "kombu": "WARNING",
    # It misses the host name of a broker that is a folder.
    "kombu.connection": "ERROR",
    "requests": "WARNING",
    "s3transfer": "WARNING",
    # Below this both write what the identity provider answers; refusals are logged by Keeper.
    "djangosaml2": "CRITICAL",
    "saml2": "CRITICAL",
    "urllib3": "WARNING",
    "xmlschema": "WARNING",
}


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders a record once for all that write it; the file asks for the line twice, to measure it first."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, which its filters have left as it is written."""
        lines: dict[LineFormatter, str] = record.__dict__.setdefault("rendered_lines", {})
        if self not in lines:
            lines[self] = super().format(record)
        return lines[self]


def configure(config: dict[str, Any]) -> None:
    """Configure the standard library's logging and structlog alike.

    `config` is settings.LOGGING: `level` (a level's name) and `file` (a path, or "-" for no
    file). The console gets text for people when DEBUG is on or a terminal shows it.
    """
    answers = Path(sys.argv[0]).name in COMMANDS and SERVING.isdisjoint(sys.argv[1:2])
    stream = sys.stderr if answers else sys.stdout
    readable = settings.DEBUG or stream.isatty()
    handlers: dict[str, Any] = {
        "console": {
            "class": "logging.StreamHandler",
            "stream": stream,
            "formatter": "readable" if readable else "json",
            "filters": ["outages"],
            # A terminal shows warnings and errors; the rest is in the file.
            "level": "WARNING" if _is_watched(stream, config) and not answers else "NOTSET",
        }
    }
    if config["file"] != NO_FILE:
        handlers["file"] = {
            "()": "keeper_project.observability.logging.SharedRotatingFileHandler",
            "path": config["file"],
            "max_bytes": FILE_BYTES,
            "backups": FILE_BACKUPS,
            "formatter": "json",
            "filters": ["outages"],
        }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": _formatter(_json()),
                "readable": _formatter(_readable(colors=stream.isatty())),
            },
            "filters": {"refused": {"()": lambda: _tell_refused}, "outages": {"()": OutageFilter}},
            "handlers": handlers,
            "root": {"level": config["level"].upper(), "handlers": list(handlers)},
            "loggers": _loggers(),
        }
    )
    # Python itself would write them to standard error, over several lines.
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _is_watched(stream: TextIO, config: dict[str, Any]) -> bool:
    return stream.isatty() and not settings.DEBUG and config["file"] != NO_FILE


def _loggers() -> dict[str, Any]:
    # Django's own handlers go: one of them mails tracebacks with local variables.
    django = {name: {"handlers": [], "propagate": True} for name in ("django", "django.server")}
    refused = {"django.request": {"filters": ["refused"]}}
    return django | refused | {name: {"level": level} for name, level in QUIET.items()}


def _tell_refused(record: logging.LogRecord) -> bool:
    """Make a request that was refused (4xx: a mistyped field, no such page) one line of information."""
    if HTTPStatus.BAD_REQUEST <= getattr(record, "status_code", 0) < HTTPStatus.INTERNAL_SERVER_ERROR:
        record.levelno, record.levelname = logging.INFO, "INFO"
        return logging.getLogger(record.name).isEnabledFor(logging.INFO)
    return True


def _formatter(renderers: list[Processor]) -> dict[str, Any]:
    return {
        "()": LineFormatter,
        "foreign_pre_chain": _shared(),
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers, redact_line],
    }


def _shared() -> list[Processor]:
    """Return what every line gets, whether structlog or the standard library began it."""
    return [
        structlog.contextvars.merge_contextvars,
        _with_request,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    ]


def _with_request(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Add what Django leaves out: it logs a refused request once the middleware that binds these is left."""
    request = getattr(line.get("_record"), "request", None)
    for name, attribute in (("request_id", "request_id"), ("address", "client_address")):
        if value := getattr(request, attribute, None):
            line.setdefault(name, value)
    return line


def _json() -> list[Processor]:
    # The plain traceback: structlog's dictionary form can carry local variables.
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(sort_keys=True, default=_named),
    ]


def _named(value: object) -> str:
    """Stand in for what JSON does not know: by its type alone, since a repr may hold anything."""
    if isinstance(value, UUID | date | Path):
        return str(value)
    return f"<{type(value).__qualname__}>"


def _readable(*, colors: bool) -> list[Processor]:
    # Its default formatter prints local variables where `rich` is installed.
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


# How often a full disk is reported.
_EVERY_SECONDS: Final = 60.0


class SharedRotatingFileHandler(RotatingFileHandler):
    """Rotates once, whichever process finds the file full.

    The standard handler rotates per process: the second one would move the fresh file away
    and lose a generation. This one holds a lock while it rotates, and follows the file when
    another process has rotated it. The file is readable by its owner only.
    """

    def __init__(self, path: str, *, max_bytes: int, backups: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", delay=True)
        self._report_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.stream is not None and self._moved_away():
                self._reopen()
        except OSError:
            self.handleError(record)
        else:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Report one line a minute that the file takes none; the console has all of them.

        The file is opened again for the next line: what it could not write would come before each later one.
        """
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()
        with suppress(OSError):
            if time.monotonic() >= self._report_at:
                self._report_at = time.monotonic() + _EVERY_SECONDS
                sys.stderr.write(f"keeper: {self.baseFilename} takes no lines: {error.strerror}.\n")

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - the standard library's name
        """Return whether a record is too much for the file, with what other processes have written to it."""
        # Since Python 3.13 the standard handler asks its own position alone.
        if self.stream is not None:
            self.stream.seek(0, os.SEEK_END)
        return bool(super().shouldRollover(record))

    def doRollover(self) -> None:  # noqa: N802 - the standard library's name
        """Rotate, unless another process just did."""
        with Path(f"{self.baseFilename}.lock").open("w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._moved_away():
                self._reopen()
            else:
                super().doRollover()

    def _open(self) -> TextIOWrapper:
        # With the first line: a command that writes none leaves no folder.
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.baseFilename, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        stream = os.fdopen(descriptor, "a", encoding="utf-8")
        written = os.fstat(descriptor).st_size
        if written and os.pread(descriptor, 1, written - 1) != b"\n":
            # A full disk took a part of the last line.
            stream.write("\n")
        return stream

    def _moved_away(self) -> bool:
        try:
            named = Path(self.baseFilename).stat()
        except FileNotFoundError:
            return True
        return self.stream is None or not os.path.samestat(named, os.fstat(self.stream.fileno()))

    def _reopen(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close()
        self.stream = self._open()
