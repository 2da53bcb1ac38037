"""Watches the statements of an act: how the database plans each, and how much it read for it."""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

_PLANNED: Final = re.compile(r"^\s*(?:SELECT|UPDATE|DELETE|INSERT\b.*\bSELECT)\b", re.IGNORECASE | re.DOTALL)
_TABLES: Final = re.compile(
    r'(?:\bFROM|\bJOIN|\bUPDATE|,)\s+["`]?(\w+)["`]?(?:\s+(?:AS\s+)?["`]?(\w+)["`]?)?', re.IGNORECASE
)
_SQLITE_SCAN: Final = re.compile(r"^SCAN (?:TABLE )?(\w+)")
_SORTS: Final = re.compile(r"USE TEMP B-TREE FOR ORDER BY|Using filesort|Using temporary")
# SQLite calls after so many instructions of its virtual machine; a row takes three at the least.
_INSTRUCTIONS: Final = 1_000
# Rows that MariaDB, and thousands of instructions that SQLite may need for one statement.
_MOST: Final = {"mysql": 3_000, "sqlite": 100}


@dataclass
class Statement:
    """A statement that was executed, and what it made the database do."""

    sql: str
    parameters: Any
    work: int = 0


@contextmanager
def watched() -> Iterator[list[Statement]]:
    """Collect the statements that the block executes."""
    found: list[Statement] = []
    with _counting(found) as rows_read:

        def watch(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
            found.extend(_parts(sql, parameters))
            before = rows_read()
            result = execute(sql, parameters, many, context)
            # MariaDB's own count would take the results of further statements that were sent along.
            if not _goes_with_others(sql):
                found[-1].work += rows_read() - before
            return result

        with connection.execute_wrapper(watch):
            yield found


def faults(statements: Collection[Statement], tables: Collection[str], *, times: int = 1) -> dict[str, str]:
    """Return table → statement and plan for each that scans one of these tables, or reads very much of it.

    `times` as much may be read by what looks through a bounded number of rows.
    """
    found: dict[str, str] = {}
    for statement in statements:
        aliases = {alias or name: name for name, alias in _TABLES.findall(statement.sql)}
        aliases |= {name: name for name, _ in _TABLES.findall(statement.sql)}
        plan = _plan(statement)
        text = "\n".join([statement.sql, *plan, f"work: {statement.work}"])
        # The first rows of an index that has the order of the list are no scan; `work` shows how many.
        stops_early = " LIMIT " in statement.sql and not _SORTS.search(text)
        scanned = {aliases.get(name, name) for name in _scanned(plan)}
        found |= {table: text for table in scanned & set(tables) if not stops_early}
        if statement.work > times * _MOST[connection.vendor]:
            found |= dict.fromkeys(set(aliases.values()) & set(tables), text)
    return found


def _parts(sql: str, parameters: Any) -> Iterator[Statement]:
    """Yield each of the statements that go to MariaDB together, with its own parameters."""
    if not _goes_with_others(sql):
        yield Statement(sql, parameters)
        return
    rest = list(parameters)
    for part in sql.split("; "):
        count = part.count("%s")
        yield Statement(part, rest[:count])
        rest = rest[count:]


def _goes_with_others(sql: str) -> bool:
    return connection.vendor == "mysql" and "; " in sql


def _scanned(plan: list[str]) -> Iterator[str]:
    """Yield the names, in the statement, of the tables that a plan reads from one end to the other."""
    for line in plan:
        if connection.vendor == "sqlite":
            if match := _SQLITE_SCAN.match(line):
                yield match[1]
        elif re.search(r"\btype=(?:ALL|index)\b", line):
            yield line.partition("table=")[2].partition(" ")[0]


def _plan(statement: Statement) -> list[str]:
    if not _PLANNED.match(statement.sql):
        return []
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {statement.sql}", statement.parameters)
        columns = [column[0] for column in cursor.description]
        rows = cursor.fetchall()
    if connection.vendor == "sqlite":
        return [str(row[-1]) for row in rows]
    return [" ".join(f"{name}={value}" for name, value in zip(columns, row, strict=True)) for row in rows]


@contextmanager
def _counting(found: list[Statement]) -> Iterator[Callable[[], int]]:
    """Yield what returns the rows that MariaDB has read so far; SQLite's work goes to the statement at once."""
    connection.ensure_connection()
    if connection.vendor == "mysql":
        yield _rows_read
        return

    def tick() -> None:
        # SQLite reads rows while they are fetched, after the statement was executed.
        if found:
            found[-1].work += 1

    connection.connection.set_progress_handler(tick, _INSTRUCTIONS)
    try:
        yield int
    finally:
        connection.connection.set_progress_handler(None, 0)


def _rows_read() -> int:
    # Not by Django's cursor, which would come here again.
    with connection.connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Rows_read'")
        return int(cursor.fetchone()[1])
