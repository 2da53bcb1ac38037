"""What is done inside a Keeper's own process: `python -m benchmarks.inside WHAT ...` prints JSON.

Preparing needs no measuring; measuring here goes round HTTP on purpose.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import django


def prepare() -> dict[str, Any]:
    """Issue an editor's token for each environment; return the tokens and the environments' ids."""
    from environments_app.authorization.principals import system_principal
    from environments_app.models import Environment
    from environments_app.tokens.service import issue

    environments = list(Environment.objects.all())
    actor = system_principal(is_admin=True)
    tokens = {
        each.name: issue(actor=actor, environment=each, role="editor", name="benchmark")[1]
        for each in environments
    }
    return {"tokens": tokens, "environments": {each.name: each.pk for each in environments}}


def fill(environment: str, count: str) -> dict[str, int]:
    """Insert so many secrets into an environment by SQL in bulk, without versions."""
    from benchmarks.lists.long_list import insert_names

    insert_names(environment, int(count))
    return {"inserted": int(count)}


def statements(token: str, *paths: str) -> dict[str, list[str]]:
    """Return the SQL statements that each path costs once the process is warm."""
    from benchmarks.measuring.statements import statements_of

    return {path: statements_of(path, token) for path in paths}


def append(rounds: str, seconds: str, writers: str) -> dict[str, list[float]]:
    """Return the rows a second of the chained trail and of a plain table, for each round."""
    from benchmarks.writes.audit_append import measure

    return measure(rounds=int(rounds), seconds=float(seconds), writers=int(writers))


def append_indexes(rounds: str, seconds: str, writers: str) -> dict[str, list[float]]:
    """Return rows a second: appends with and without the indexes of the search, and filling its table."""
    from benchmarks.writes.audit_append import measure_indexes

    return measure_indexes(rounds=int(rounds), seconds=float(seconds), writers=int(writers))


def verify(count: str) -> dict[str, float]:
    """Return how many events a second verification reads, over a stream of so many."""
    from benchmarks.writes.audit_append import verified_per_second

    return {"per_second": verified_per_second(int(count))}


def events() -> dict[str, int]:
    """Return how many events there are."""
    from audit_app.models import AuditEvent

    return {"events": AuditEvent.objects.count()}


def reseal(rounds: str) -> dict[str, list[float]]:
    """Return the values a second of a rotation and of a bare loop, for each round."""
    from benchmarks.writes.resealing import measure

    return measure(rounds=int(rounds))


def push(backend: str, server: str, rounds: str) -> dict[str, list[float]]:
    """Return the milliseconds of pushes and passes of the sync and of bare loops, for each round."""
    from benchmarks.sync.sync_push import measure

    return measure(backend, json.loads(server), rounds=int(rounds))


def fan_out(servers: str) -> dict[str, dict[str, float]]:
    """Return what a delivery of `development` to three systems at once costs."""
    from benchmarks.sync.fan_out import measure

    return measure(json.loads(servers))


def bare_fan_out(servers: str, count: str) -> dict[str, dict[str, float]]:
    """Return what bare loops of the same writes cost."""
    from benchmarks.sync.fan_out import measure_bare

    return measure_bare(json.loads(servers), int(count))


def pages(secrets: str, events: str) -> dict[str, dict[str, list[float]]]:
    """Return what the first and the deepest page of each long list cost."""
    from benchmarks.lists.long_pages import measure

    return measure(int(secrets), int(events))


def admin_pages(secrets: str, events: str) -> dict[str, dict[str, list[float]]]:
    """Return what the pages of the admin cost over so many rows."""
    from benchmarks.lists.admin_lists import measure

    return measure(int(secrets), int(events))


def rewrap(key: str) -> dict[str, float]:
    """Return what wrapping all data keys under another key of KMS costs."""
    from benchmarks.writes.rewrapping import measure

    return measure(key)


COMMANDS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "fill": fill,
    "statements": statements,
    "append": append,
    "append_indexes": append_indexes,
    "verify": verify,
    "events": events,
    "reseal": reseal,
    "rewrap": rewrap,
    "pages": pages,
    "admin_pages": admin_pages,
    "push": push,
    "fan_out": fan_out,
    "bare_fan_out": bare_fan_out,
}


def main() -> None:
    """Set Django up and carry out what the arguments name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")
    # Standard output is the answer; what is logged goes to the file alone.
    answer, sys.stdout = sys.stdout, sys.stderr
    django.setup()
    from audit_app.interfaces import keyring

    keyring().open_all()
    name, *arguments = sys.argv[1:]
    answer.write(json.dumps(COMMANDS[name](*arguments)) + "\n")


if __name__ == "__main__":
    main()
