"""The places outside the database that KEEPER_AUDIT_SINKS names, by the scheme of their addresses."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from audit_app.errors import BadSink
from audit_app.sinks.base import Sink
from audit_app.sinks.file import FileSink

__all__ = ["Sink", "checkpoint_sinks", "sink_at"]


def checkpoint_sinks() -> list[Sink]:
    """Return the sinks of checkpoints, in the order of KEEPER_AUDIT_SINKS."""
    return [sink_at(address, what="checkpoints") for address in settings.KEEPER_AUDIT_SINKS]


def sink_at(address: str, *, what: str) -> Sink:
    """Return the sink at an address; `what` names the lines that it is to take.

    Raises BadSink if the address names no kind of sink, or not all that this kind needs.
    """
    parts = urlsplit(address if ":" in address else f"{address}:")
    if parts.scheme not in _KINDS:
        raise BadSink(f"{parts.scheme or address!r} is no kind of sink: use {', '.join(_KINDS)}")
    return _KINDS[parts.scheme](parts, what)


def _file(parts: SplitResult, what: str) -> Sink:
    if parts.netloc:
        raise BadSink("write a file sink as file:/absolute/directory")
    directory = Path(parts.path) if parts.path else Path(settings.KEEPER_DATA_DIR) / "anchors"
    if not directory.is_absolute():
        raise BadSink("the directory of a file sink is absolute, as in file:/var/lib/keeper-anchors")
    return FileSink(directory, what)


_KINDS: Final = MappingProxyType[str, Callable[[SplitResult, str], Sink]]({"file": _file})
