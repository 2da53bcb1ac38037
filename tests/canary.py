"""A value to look for, in whatever way something may have written it down, wherever that may be."""

import base64
import json
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import yaml
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.utils.html import escape

# Each encoding changes something of it.
CANARY = 'c4n4ry-7Qz é"<&\\ 1+1=2%~'


def encodings(text: str = CANARY) -> dict[str, bytes]:
    """Return a text as it might stand somewhere, by the name of the encoding."""
    plain = text.encode()
    found = {
        "plain": plain,
        "utf-16": text.encode("utf-16-le"),
        "utf-16-be": text.encode("utf-16-be"),
        "latin-1": text.encode("latin-1"),
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
        "url": quote(text, safe="").encode(),
        "form": quote_plus(text).encode(),
        "json": json.dumps(text)[1:-1].encode(),
        "json-utf8": json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        "html": escape(text).encode(),
        "csv": text.replace('"', '""').encode(),
        "yaml": yaml.safe_dump(text).strip().strip('"').encode(),
        "repr": repr(text)[1:-1].encode(),
        "unicode-escape": text.encode("unicode-escape"),
    }
    for shift in range(3):
        # Inside something longer the base64 of it looks otherwise, by where it begins.
        whole = base64.b64encode(b"\0" * shift + plain)
        found[f"base64+{shift}"] = whole[4 if shift else 0 : -4]
        found[f"base64url+{shift}"] = base64.urlsafe_b64encode(b"\0" * shift + plain)[4 if shift else 0 : -4]
    return found


def found_in(content: bytes) -> list[str]:
    """Return the encodings in which the canary stands in some bytes."""
    return [name for name, needle in encodings().items() if needle in content]


def traces(
    *, caplog: pytest.LogCaptureFixture, folders: Iterable[Path] = (), answers: Iterable[bytes] = ()
) -> list[str]:
    """Return every place where the canary stands: logs, database, mail, cache, files, answers."""
    places = {
        **dict(_logs(caplog)),
        **dict(_rows()),
        **{f"mail {number}": message.message().as_bytes() for number, message in enumerate(mail.outbox)},
        "cache": pickle.dumps(dict(getattr(cache, "_cache", {}))),
        **{
            f"file {path.name}": path.read_bytes()
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file()
        },
        **{f"answer {number}": content for number, content in enumerate(answers)},
    }
    return [f"{place}: {name}" for place, content in places.items() for name in found_in(content)]


def _logs(caplog: pytest.LogCaptureFixture) -> Iterator[tuple[str, bytes]]:
    for number, record in enumerate(caplog.records):
        told = [record.getMessage(), repr(record.args), record.exc_text or "", repr(record.exc_info)]
        others = {name: value for name, value in record.__dict__.items() if name not in {"exc_info", "args"}}
        yield f"log {record.name} {number}", "\n".join([*told, repr(others)]).encode("utf-8", "replace")


def _rows() -> Iterator[tuple[str, bytes]]:
    """Yield every cell of every table, as it is stored."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for number, row in enumerate(cursor.fetchall()):
                cells = [
                    bytes(c) if isinstance(c, bytes | bytearray | memoryview) else str(c).encode()
                    for c in row
                ]
                yield f"table {table} row {number}", b"\0".join(cells)
