"""Reads and writes the links of the chain in plain SQL.

Everything recorded passes here; through the ORM these few statements were most of the cost.
"""

from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import closing
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, connections

from audit_app.crypto.hash_chain import EventFields, Link
from core.db import bulk
from core.db.bulk import in_batches
from core.db.statements import (
    Precondition,
    Statement,
    all_rows,
    have_rows,
    write,
    write_all,
    written_and_committed,
)

Head: TypeAlias = tuple[int, bytes]

_EVENTS = "audit_app_auditevent"
_HEADS = "audit_app_streamhead"
_TEXT_COLUMNS = EventFields._fields[:-1]
_COLUMNS = (*_TEXT_COLUMNS, "manifest_id", "previous_hash", "hash", "mac")
_BINARY_COLUMNS = frozenset({"previous_hash", "hash", "mac"})
_UUID_COLUMNS = frozenset({"uuid", "actor_uuid", "object_uuid"})
_ITEMS_PER_INSERT = 500
_ROWS_PER_FETCH = 500
# More are stored by the statements of `bulk_sql`.
_ROWS_AT_ONCE = 100
# What MariaDB raises for a head that has moved (`move_or_fail`).
_NOT_NULL = 1048
_ITEMS = "audit_app_readmanifestitem"
_ITEM_COLUMNS = ("manifest_id", "secret_uuid", "number", "name", "row_digest", "version_digest")


class Move(NamedTuple):
    """A stream's head as it was when it was locked, and where it goes."""

    stream: str
    since: Head
    to: Head


class Entry(NamedTuple):
    """A link to be stored: its time as `stored_time` gives it, and the id of the manifest it names."""

    link: Link
    at: Any
    manifest_id: int | None


def locked_heads(streams: Collection[str]) -> dict[str, Head]:
    """Return the (sequence, hash) of those streams that are open, and lock them until the transaction ends.

    They are locked in the order of their names. On SQLite the lock is the transaction itself, which is
    IMMEDIATE.
    """
    database = connections[DEFAULT_DB_ALIAS]
    lock = " FOR UPDATE" if database.features.has_select_for_update else ""
    marks = ", ".join(["%s"] * len(streams))
    sql = f"SELECT stream, sequence, hash FROM {_HEADS} WHERE stream IN ({marks}) ORDER BY stream{lock}"  # noqa: S608 - our own names
    return heads_of(all_rows(database, sql, sorted(streams)))


def lock_head(stream: str, preconditions: Sequence[Precondition]) -> dict[str, Head]:
    """Lock the head of a stream as `locked_heads` does, and ask what an act requires once it is locked.

    It is the last lock of a transaction. The question is a statement of its own: MariaDB would answer one
    within the lock before it waits. Raises the error of the first precondition that does not hold.
    """
    heads = locked_heads({stream})
    if preconditions:
        answers = have_rows([each.query for each in preconditions])
        for precondition, has_row in zip(preconditions, answers, strict=True):
            if has_row:
                raise precondition.error
    return heads


def heads_to_see(streams: Collection[str]) -> Statement:
    """Return the query of the heads of those streams that are open, without a lock (`heads_of`)."""
    marks = ", ".join(["%s"] * len(streams))
    return Statement(f"SELECT stream, sequence, hash FROM {_HEADS} WHERE stream IN ({marks})", [*streams])  # noqa: S608 - our own names


def heads_of(rows: Iterable[Sequence[Any]]) -> dict[str, Head]:
    """Return the (sequence, hash) of the streams of rows."""
    return {stream: (sequence, bytes(hashed)) for stream, sequence, hashed in rows}


def open_head(stream: str, genesis: bytes) -> None:
    """Create a stream's head, unless a concurrent transaction has."""
    with connection.cursor() as cursor:
        cursor.execute(_statements(connection.vendor).open_head, [stream, genesis])


def append(entries: Sequence[Entry], moves: Sequence[Move], *, is_last: bool = False) -> bool:
    """Store links that follow locked heads, and move the heads; return whether each stood where it was seen.

    If one did not, the caller rolls back. What is the last of its transaction is committed along with it
    where that saves a way to a server.
    """
    # The connection itself: its proxy looks the thread's one up at each use.
    database = connections[DEFAULT_DB_ALIAS]
    rows, insert = [_row(entry) for entry in entries], _insert(database.vendor)
    move_head = _statements(database.vendor).move_head
    if database.vendor == "mysql" and len(rows) <= _ROWS_AT_ONCE:
        stored = Statement(insert.head + ", ".join([insert.row] * len(rows)), [*chain.from_iterable(rows)])
        return _append_at_once(stored, moves, is_last=is_last and len(database.atomic_blocks) == 1)
    if len(rows) > 1:
        bulk.insert(insert, rows)
    else:
        write(database, insert.head + insert.row, rows[0])
    return all(write(database, move_head, _moved(move))[0] == 1 for move in moves)


def _append_at_once(stored: Statement, moves: Sequence[Move], *, is_last: bool) -> bool:
    """Store links and move heads by one message to MariaDB."""
    statements = _statements("mysql")
    if not is_last:
        moved = write_all([stored, *(Statement(statements.move_head, _moved(move)) for move in moves)])
        return [each.changed for each in moved[1:]] == [1] * len(moves)
    # Heads first, in the order in which all lock them: what does not follow them is not stored.
    moved_or_failed = [
        Statement(statements.move_or_fail, [*move.since, *move.to, move.stream]) for move in moves
    ]
    try:
        written_and_committed([*moved_or_failed, stored])
    except IntegrityError as error:
        if error.args[:1] != (_NOT_NULL,):
            raise
        return False
    return True


def _moved(move: Move) -> list[Any]:
    (sequence, hashed), (before, _) = move.to, move.since
    return [sequence, hashed, move.stream, before]


def insert_items(manifest_id: int, items: Sequence[Sequence[Any]]) -> None:
    """Store the items of a manifest: a secret's uuid in hexadecimal, a version's number, a name.

    All have the digests of a secret that was created besides, or none has.
    """
    if not items:
        return
    columns = _ITEM_COLUMNS[: 1 + len(items[0])]
    insert = bulk.insert_into(_ITEMS, columns, binary=frozenset(), vendor=connection.vendor)
    bulk.insert(insert, [(manifest_id, *item) for item in items])


def stored_time(at: datetime) -> Any:
    """Return a time as the driver takes it."""
    return connection.ops.adapt_datetimefield_value(at)


def remove(ids: Sequence[int]) -> int:
    """Delete events by id, for retention alone; return how many there were."""
    removed = 0
    with connection.cursor() as cursor:
        for batch in in_batches(ids, _ITEMS_PER_INSERT):
            marks = ", ".join(["%s"] * len(batch))
            cursor.execute(f"DELETE FROM {_EVENTS} WHERE id IN ({marks})", batch)  # noqa: S608 - our own names
            removed += cursor.rowcount
    return removed


def links(stream: str, *, after: int, until: int, limit: int) -> list[Link]:
    """Return the stored links of a stream with after < sequence <= until, in order."""
    with connection.cursor() as cursor:
        cursor.execute(_statements(connection.vendor).links, [stream, after, until, limit])
        return [_link(row) for row in cursor.fetchall()]


class CanonicalLink(NamedTuple):
    """A link whose canonical bytes the database has put together."""

    # The row's position in lists, which are ordered by id.
    id: int
    sequence: int
    canonical: bytes
    previous_hash: bytes
    hash: bytes
    mac: bytes


def canonical_links(
    stream: str, *, after: int, until: int, limit: int
) -> Generator[Sequence[CanonicalLink], None, None]:
    """Yield links as `links` returns them, by batches, with the bytes that were hashed in place of fields.

    For many events this is several times as fast. The bytes are right if they hash to the link's
    hash; otherwise use `links`: databases encode a few characters differently, and refuse invalid text. No
    other statement may run before all is taken, or the generator closed.
    """
    with connection.wrap_database_errors, closing(_streaming_cursor()) as cursor:
        cursor.execute(_statements(connection.vendor).canonical_links, [stream, after, until, limit])
        while batch := cursor.fetchmany(_ROWS_PER_FETCH):
            yield batch


def _streaming_cursor() -> Any:
    """Return a cursor that takes rows as they come: the server finds the next while these are verified."""
    if connection.vendor != "mysql":
        return connection.cursor()
    # The driver is not there where SQLite alone is used.
    from core.db.mariadb.waiting import StreamingCursor  # noqa: PLC0415

    connection.ensure_connection()
    return connection.connection.cursor(StreamingCursor)


class _Statements(NamedTuple):
    open_head: str
    move_head: str
    # The same on MariaDB, where another head is an error: what follows in the message is not carried out.
    move_or_fail: str
    links: str
    canonical_links: str


@cache
def _insert(vendor: str) -> bulk.Insert:
    return bulk.insert_into(_EVENTS, _COLUMNS, binary=_BINARY_COLUMNS, vendor=vendor)


@cache
def _statements(vendor: str) -> _Statements:
    """Return the SQL of a database vendor; the names in it are all our own."""
    quote = connection.ops.quote_name
    head, event, manifest = _HEADS, _EVENTS, "audit_app_readmanifest"
    binary = connection.ops.binary_placeholder_sql(b"")  # type: ignore[arg-type]  # the stub knows only Case
    # MariaDB locks the existing row as a writer does. `INSERT IGNORE` reads it: of two who wait for the
    # one who makes the head, each then waits for the other before it may write.
    there = "ON DUPLICATE KEY UPDATE sequence = sequence" if vendor == "mysql" else "ON CONFLICT DO NOTHING"
    proof = "e.previous_hash, e.hash, e.mac"
    part = (
        f"FROM {event} e LEFT JOIN {manifest} m ON m.id = e.manifest_id "
        "WHERE e.stream = %s AND e.sequence > %s AND e.sequence <= %s ORDER BY e.sequence LIMIT %s"
    )
    read = ", ".join(_canonical(vendor, f"e.{quote(column)}", column) for column in _TEXT_COLUMNS)
    return _Statements(
        open_head=f"INSERT INTO {head} (stream, sequence, hash) VALUES (%s, 0, {binary}) {there}",  # noqa: S608 - our own names
        move_head=f"UPDATE {head} SET sequence = %s, hash = {binary} WHERE stream = %s AND sequence = %s",  # noqa: S608 - our own names
        move_or_fail=(
            f"UPDATE {head} SET sequence = IF(sequence = %s AND hash = {binary}, %s, NULL), "  # noqa: S608 - our own names
            f"hash = {binary} WHERE stream = %s"
        ),
        links=f"SELECT {read}, m.digest, {proof} {part}",
        canonical_links=f"SELECT e.id, e.sequence, {_canonical_bytes(vendor)}, {proof} {part}",
    )


def _canonical_bytes(vendor: str) -> str:
    """Return the SQL that writes what `chain.canonical_bytes` writes, in the order of its keys.

    Each text is quoted by the database's own function for JSON, so that none can pass for another.
    """
    quote = connection.ops.quote_name
    named = {column: _canonical(vendor, f"e.{quote(column)}", column) for column in _TEXT_COLUMNS}
    if vendor == "sqlite":
        pairs = ", ".join(
            f"'{key}', {text}" for key, text in sorted((named | {"manifest": "m.digest"}).items())
        )
        return f"CAST(json_object({pairs}) AS BLOB)"
    # MariaDB's JSON_OBJECT puts spaces between its parts.
    texts = {column: f"JSON_QUOTE({text})" for column, text in named.items()}
    texts["sequence"] = named["sequence"]
    texts["manifest"] = "COALESCE(JSON_QUOTE(m.digest), 'null')"
    parts: list[str] = []
    for column in sorted(texts):
        parts += [f"""'{"," if parts else "{"}"{column}":'""", texts[column]]
    parts.append("'}'")
    return f"CAST(CONCAT({', '.join(parts)}) AS BINARY)"


def _canonical(vendor: str, expression: str, column: str) -> str:
    """Return the SQL that gives a column as its hash covers it; Python would take longer for each row."""
    if column == "at":
        # Stored in UTC without an offset; SQLite omits zero microseconds.
        if vendor == "sqlite":
            end = f"CASE WHEN instr({expression}, '.') THEN '' ELSE '.000000' END"
            return f"replace({expression}, ' ', 'T') || {end} || '+00:00'"
        return f"DATE_FORMAT({expression}, '%%Y-%%m-%%dT%%H:%%i:%%s.%%f+00:00')"
    if column in _UUID_COLUMNS and connection.features.has_native_uuid_field:
        return f"REPLACE(CAST({expression} AS CHAR), '-', '')"
    return expression


def _row(entry: Entry) -> list[Any]:
    (fields, *chained), at, manifest_id = entry
    values: list[Any] = [*fields, *chained]
    values[_AT], values[_MANIFEST] = at, manifest_id
    return values


def _link(row: Sequence[Any]) -> Link:
    binary = row[-3:]
    if any(type(value) is not bytes for value in binary):
        binary = [stored_bytes(value) for value in binary]
    return Link(EventFields._make(row[:-3]), *binary)


def stored_bytes(stored: object) -> bytes:
    """Return a binary column's bytes; empty if it was edited to another type."""
    return bytes(stored) if isinstance(stored, bytes | bytearray | memoryview) else b""


_AT, _MANIFEST = _COLUMNS.index("at"), _COLUMNS.index("manifest_id")
