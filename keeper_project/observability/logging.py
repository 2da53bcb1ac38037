"""Configures logging: one JSON object a line, to the console and to a file, and never a credential."""

import logging.config
import sys
from datetime import date
from http import HTTPStatus
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
            "()": "keeper_project.observability.log_file.SharedRotatingFileHandler",
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
