"""The places outside the database that settings name, by the scheme of their addresses."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from django.conf import settings

from audit_app.errors import BadSink
from audit_app.sinks.base import Sink
from audit_app.sinks.file import FileSink
from audit_app.sinks.syslog import LOCAL, SyslogSink
from audit_app.sinks.webhook import WebhookSink

__all__ = ["Sink", "checkpoint_sinks", "event_sinks", "sink_at"]

_SYSLOG_PORTS: Final = MappingProxyType({"syslog": 601, "syslog+tls": 6514})


def checkpoint_sinks() -> list[Sink]:
    """Return the sinks of checkpoints, in the order of KEEPER_AUDIT_SINKS."""
    return [sink_at(address, what="checkpoints") for address in settings.KEEPER_AUDIT_SINKS]


def event_sinks() -> list[Sink]:
    """Return the sinks of events, in the order of KEEPER_EVENT_SINKS. Raises BadSink for one that is none."""
    sinks = [sink_at(address, what="events") for address in settings.KEEPER_EVENT_SINKS]
    if any(sink.kind == "s3" for sink in sinks):
        raise BadSink("S3 takes checkpoints and no events: use file:, syslog: or https:")
    return sinks


def sink_at(address: str, *, what: str) -> Sink:
    """Return the sink at an address; `what` names the lines that it is to take.

    Raises BadSink if the address names no kind of sink, or not all that this kind needs; the message
    does not repeat it.
    """
    try:
        parts = urlsplit(address if ":" in address else f"{address}:")
        has_port = parts.port is not None
    except ValueError as error:
        raise BadSink("an address of a sink is none") from error
    if parts.scheme not in _KINDS:
        raise BadSink(f"an address begins with none of: {', '.join(f'{kind}:' for kind in _KINDS)}")
    if parts.password or parts.username or (has_port and not parts.hostname):
        raise BadSink("the address of a sink holds no user or password")
    return _KINDS[parts.scheme](parts, what)


def _file(parts: SplitResult, what: str) -> Sink:
    usual = Path(settings.KEEPER_DATA_DIR) / ("anchors" if what == "checkpoints" else what)
    directory = Path(parts.path) if parts.path else usual
    if parts.netloc or not directory.is_absolute():
        raise BadSink("a file sink is written file:/absolute/directory")
    return FileSink(directory, what)


def _syslog(parts: SplitResult, what: str) -> Sink:
    if not parts.hostname:
        if parts.scheme != "syslog":
            raise BadSink("syslog over TLS needs a host: syslog+tls://host:6514")
        return SyslogSink(what, path=parts.path or LOCAL)
    port = parts.port or _SYSLOG_PORTS[parts.scheme]
    return SyslogSink(what, host=parts.hostname, port=port, tls=parts.scheme == "syslog+tls")


def _s3(parts: SplitResult, what: str) -> Sink:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.hostname or set(options) - {"region", "endpoint", "retain_days"}:
        raise BadSink("an S3 sink is written s3://bucket/prefix?region=…&endpoint=…&retain_days=…")
    days = options.get("retain_days", "0")
    if not days.isdecimal():
        raise BadSink("retain_days of an S3 sink is a number of days")
    # Only here, since it loads the AWS SDK, which takes time and memory.
    from audit_app.sinks.s3 import S3Sink  # noqa: PLC0415

    return S3Sink(
        what,
        bucket=parts.hostname,
        prefix=parts.path.strip("/"),
        region=options.get("region", settings.AWS_REGION),
        endpoint=options.get("endpoint", ""),
        retain_days=int(days),
    )


def _webhook(parts: SplitResult, what: str) -> Sink:
    if not parts.hostname:
        raise BadSink("an HTTP sink is written https://host/path")
    return WebhookSink(what, parts.geturl())


_KINDS: Final[Mapping[str, Callable[[SplitResult, str], Sink]]] = MappingProxyType(
    {"file": _file, "syslog": _syslog, "syslog+tls": _syslog, "s3": _s3, "https": _webhook, "http": _webhook}
)
