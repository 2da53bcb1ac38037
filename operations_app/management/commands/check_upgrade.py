"""Shows what an update will do to this database, before it, and whether it has arrived, after."""

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as DatabaseProblem
from django.utils import timezone

from core.db.concurrency import reason_of
from core.listing import add_format
from core.ui.times import relative
from operations_app.backup import service as backups
from operations_app.health.processes import last_beat
from operations_app.health.running import WORKER, running
from operations_app.health.schema import installed_version, missing_migrations
from operations_app.health.service import HEARTBEAT_AGE
from operations_app.system.upgrade import LATER, RELEASES, narrowing_of_database, release_of_database, too_old

NEEDS_ATTENTION: Final = 1
CANNOT_UPDATE: Final = 2
_SHOWN: Final = 10
_FRESH: Final = timedelta(hours=24)


class Command(BaseCommand):
    """Reads only. To be run by the new release, before it migrates and after."""

    help = (
        "Show which release the database is of, which migrations wait and whether these only add, whether "
        "a fresh backup exists, and which processes run. Exits with 0 if the update may go on or is done, "
        "1 if something needs attention, 2 if another release has to be gone through or the database does "
        "not tell."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            found = _findings()
        except DatabaseProblem as problem:
            sentence = f"The database does not answer: {reason_of(problem)}."
            found = {"version": installed_version(), "refused": sentence, "attention": []}
        code = CANNOT_UPDATE if found["refused"] else NEEDS_ATTENTION if found["attention"] else 0
        if options["format"] == "json":
            self.stdout.write(json.dumps({"exit_code": code, **found}, default=str, indent=2))
        else:
            self.stdout.write("\n".join(_lines(found)))
        sys.exit(code)


def _findings() -> dict[str, Any]:
    if refused := too_old():
        # Of a schema so old little is known.
        return {"version": installed_version(), "refused": refused, "attention": []}
    missing = missing_migrations()
    found = {
        "version": installed_version(),
        "database": release_of_database(),
        "refused": "",
        "missing_migrations": missing,
        "takes_away": narrowing_of_database() if missing else [],
        "last_backup": backups.last_success(),
        "processes": _processes(),
    }
    return {**found, "attention": list(_attention(found))}


def _processes() -> list[dict[str, Any]]:
    """Return which web processes and workers run; releases before 0.2.0 show a worker's heartbeat alone."""
    try:
        rows = [{"kind": each.kind, "host": each.host, "release": each.release} for each in running()]
    except DatabaseProblem:
        rows = []
    beat = last_beat()
    lives = beat is not None and timezone.now() - beat < HEARTBEAT_AGE
    if lives and not any(row["kind"] == WORKER for row in rows):
        rows.append({"kind": WORKER, "host": "?", "release": "before 0.2.0"})
    return rows


def _attention(found: dict[str, Any]) -> Iterator[str]:
    if found["database"] == LATER:
        yield "The database is of a later release: use that one."
    if found["missing_migrations"]:
        last = found["last_backup"]
        if last is None or timezone.now() - last > _FRESH:
            yield "No backup was finished in the last 24 hours: run `keeper backup` of the running release."
        if found["takes_away"]:
            yield "Stop every web process and worker before `keeper init-db`: the migrations do not only add."
        elif found["database"] != RELEASES[-1].version:
            yield (
                "Stop every web process and worker before `keeper init-db`: only those of "
                f"{RELEASES[-1].version} are known to run on the new schema."
            )
        return
    old = [row for row in found["processes"] if row["release"] != found["version"]]
    if old:
        yield f"{len(old)} processes of another release still run, or did 90 s ago: restart them."


def _lines(found: dict[str, Any]) -> Iterator[str]:
    if found["refused"]:
        yield found["refused"]
        return
    yield f"Database: release {found['database']}; this is {found['version']}"
    if missing := found["missing_migrations"]:
        more = ", …" if len(missing) > _SHOWN else ""
        yield f"Migrations that wait: {len(missing)} ({', '.join(missing[:_SHOWN])}{more})"
        yield from (f"  {each}" for each in found["takes_away"])
        if not found["takes_away"]:
            yield f"  They only add: processes of {RELEASES[-1].version} serve on meanwhile."
    else:
        yield "Migrations that wait: none"
    last = found["last_backup"]
    moment = f"{last:%Y-%m-%d %H:%M} UTC, {relative(last, now=timezone.now())}" if last else "never"
    yield f"Last backup: {moment}"
    for row in found["processes"]:
        yield f"Runs: {row['kind']} on {row['host']}, release {row['release']}"
    yield "Web processes of releases before 0.2.0 do not store that they run."
    yield from (f"Attention: {each}" for each in found["attention"])
    if missing and not found["attention"]:
        yield "Next: `keeper init-db`, restart web processes one by one, then workers, and run this again."
