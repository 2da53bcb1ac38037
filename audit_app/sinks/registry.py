"""The places outside the database that settings and administrators name, by the scheme of their addresses."""

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from django.conf import settings

from audit_app.crypto.hash_chain import Link
from audit_app.errors import BadSink
from audit_app.sinks.base import Sink, UnusableSink, stored_event_sinks
from audit_app.sinks.file import FileSink
from audit_app.sinks.formats import FORMATS, milliseconds
from audit_app.sinks.hec import HecSink
from audit_app.sinks.syslog import LOCAL, SyslogSink
from audit_app.sinks.webhook import HttpEndpoint, WebhookSink, hidden_address
from core.canonical_json import canonical_json

__all__ = ["Sink", "checkpoint_sinks", "configured_event_sinks", "event_sinks", "sink_at"]

_SYSLOG_PORTS: Final = MappingProxyType({"syslog": 601, "syslog+tls": 6514})
_HEC_PORT: Final = 8088
_EVENTS: Final = "events"


def checkpoint_sinks() -> list[Sink]:
    """Return the sinks of checkpoints, in the order of KEEPER_AUDIT_SINKS."""
    return [sink_at(address, what="checkpoints") for address in settings.KEEPER_AUDIT_SINKS]


def configured_event_sinks() -> list[Sink]:
    """Return the sinks of KEEPER_EVENT_SINKS, in order. Raises BadSink for one that is none."""
    return [sink_at(address, what=_EVENTS) for address in settings.KEEPER_EVENT_SINKS]


def event_sinks() -> list[Sink]:
    """Return all sinks of events: those of the settings, then those that administrators added."""
    sinks = configured_event_sinks()
    for row in stored_event_sinks():
        try:
            sink = sink_at(row.address, what=_EVENTS, name=row.name, credential=row.credential, ca=row.ca)
        except BadSink:
            sink = UnusableSink(row.name)
        sink.exists = row.exists
        sinks.append(sink)
    return sinks


@dataclass(frozen=True, kw_only=True)
class _Given:
    """An address in parts, and what is not part of it."""

    parts: SplitResult
    what: str
    name: str
    credential: Callable[[], str]
    ca: str

    def options(self, *names: str) -> dict[str, str]:
        """Return the parameters of the address. Raises BadSink for one without a meaning here."""
        options = dict(parse_qsl(self.parts.query, keep_blank_values=True))
        if set(options) - {*names, "format"}:
            raise BadSink(f"{self.parts.scheme}: takes the parameters {', '.join((*names, 'format'))}")
        return options


def sink_at(
    address: str, *, what: str, name: str = "", credential: Callable[[], str] | None = None, ca: str = ""
) -> Sink:
    """Return the sink at an address; `what` names the lines that it is to take.

    `name` is what a sink is called whose address is none of the settings, and `credential` opens its own.
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
    given = _Given(parts=parts, what=what, name=name, credential=credential or _token_of_settings, ca=ca)
    sink = _KINDS[parts.scheme](given)
    if what == _EVENTS:
        _set_format(sink, dict(parse_qsl(parts.query)))
    return sink


def _set_format(sink: Sink, options: Mapping[str, str]) -> None:
    line = FORMATS.get(options.get("format", "json"))
    if line is None:
        raise BadSink(f"format is one of: {', '.join(FORMATS)}")
    sink.line = line
    if isinstance(sink, HecSink):
        sink.line = partial(_hec_line, line, options)


def _hec_line(line: Callable[[Link], bytes], options: Mapping[str, str], link: Link) -> bytes:
    """Return an event in Splunk's envelope."""
    text = line(link).decode()
    envelope = {
        "time": milliseconds(link.fields) / 1000,
        "host": urlsplit(settings.KEEPER_URL).hostname or socket.gethostname(),
        "source": options.get("source", "keeper"),
        "sourcetype": options.get("sourcetype", "keeper:audit"),
        "event": json.loads(text) if text.startswith("{") else text.rstrip("\n"),
    }
    if index := options.get("index"):
        envelope["index"] = index
    return canonical_json(envelope) + b"\n"


def _token_of_settings() -> str:
    return str(settings.KEEPER_AUDIT_HTTP_TOKEN)


def _file(given: _Given) -> Sink:
    parts = given.parts
    usual = Path(settings.KEEPER_DATA_DIR) / ("anchors" if given.what == "checkpoints" else given.what)
    directory = Path(parts.path) if parts.path else usual
    if parts.netloc or not directory.is_absolute():
        raise BadSink("a file sink is written file:/absolute/directory")
    if given.name:
        raise BadSink("files are named by KEEPER_EVENT_SINKS alone: they are the host's")
    return FileSink(directory, given.what)


def _syslog(given: _Given) -> Sink:
    parts, tls = given.parts, given.parts.scheme == "syslog+tls"
    if given.name and not tls:
        raise BadSink("here syslog goes over TLS: syslog+tls://host:6514")
    if not parts.hostname:
        if tls:
            raise BadSink("syslog over TLS needs a host: syslog+tls://host:6514")
        return SyslogSink(given.what, path=parts.path or LOCAL)
    port = parts.port or _SYSLOG_PORTS[parts.scheme]
    return SyslogSink(given.what, name=given.name, host=parts.hostname, port=port, tls=tls, ca=given.ca)


def _s3(given: _Given) -> Sink:
    if not given.parts.hostname:
        raise BadSink("an S3 sink is written s3://bucket/prefix?region=…&endpoint=…&retain_days=…")
    options = given.options("region", "endpoint", "retain_days")
    days = options.get("retain_days", "0")
    if not days.isdecimal():
        raise BadSink("retain_days of an S3 sink is a number of days")
    # Only here, since they load the AWS SDK, which takes time and memory.
    from audit_app.sinks.s3 import S3Sink  # noqa: PLC0415
    from audit_app.sinks.s3_events import S3EventSink  # noqa: PLC0415

    bucket, prefix = given.parts.hostname, given.parts.path.strip("/")
    return (S3EventSink if given.what == _EVENTS else S3Sink)(
        given.name or f"{given.what}:s3://{bucket}/{prefix}",
        bucket=bucket,
        prefix=prefix,
        region=options.get("region", settings.AWS_REGION),
        endpoint=options.get("endpoint", ""),
        retain_days=int(days),
        credential=given.credential if given.name else str,
    )


def _webhook(given: _Given) -> Sink:
    if not given.parts.hostname:
        raise BadSink("an HTTP sink is written https://host/path")
    address = given.parts.geturl()
    name = given.name or f"{given.what}:{hidden_address(address)}"
    return WebhookSink(_endpoint(given, name, address))


def _hec(given: _Given) -> Sink:
    parts = given.parts
    if not parts.hostname or given.what != _EVENTS:
        raise BadSink("a collector of events is written hec://host:8088?index=…&ack=1")
    options = given.options("index", "source", "sourcetype", "ack")
    if options.get("ack", "0") not in {"0", "1"}:
        raise BadSink("ack of a collector is 1 or 0")
    scheme = "http" if parts.scheme == "hec+http" else "https"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    address = f"{scheme}://{host}:{parts.port or _HEC_PORT}{parts.path}"
    name = given.name or f"{given.what}:{parts.scheme}:{host}:{parts.port or _HEC_PORT}"
    return HecSink(name, _endpoint(given, name, address), acknowledged=options.get("ack") == "1")


def _endpoint(given: _Given, name: str, address: str) -> HttpEndpoint:
    return HttpEndpoint(sink=name, address=address, credential=given.credential, ca=given.ca)


_KINDS: Final[Mapping[str, Callable[[_Given], Sink]]] = MappingProxyType(
    {
        "file": _file,
        "syslog": _syslog,
        "syslog+tls": _syslog,
        "s3": _s3,
        "https": _webhook,
        "http": _webhook,
        "hec": _hec,
        "hec+http": _hec,
    }
)
