"""The chained trail against a plain INSERT, by eight writers; and how fast it is verified."""

import threading
import time
from collections.abc import Callable
from random import randrange
from typing import TYPE_CHECKING
from uuid import uuid4

from benchmarks.measuring.scale import CLIENTS, Scale
from benchmarks.measuring.stage import MARIADB, SQLITE, Stage
from benchmarks.measuring.table import Comparison, Figure, Row, Target

if TYPE_CHECKING:
    from audit_app.recording.drafts import EventDraft

TARGETS = {SQLITE: Target(0.8, 1.0), MARIADB: Target(0.3, 1.0)}
VERIFIED = {SQLITE: 200_000, MARIADB: 150_000}
STREAM = "environment:00000000-0000-0000-0000-0000000000be"
_DRAFTS_PER_CALL = 1_000


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure appending and verifying on each database, in a process of Keeper's."""
    rows: list[Row] = []
    for database in stage.databases:
        keeper = stage.keeper(database)
        found = keeper.inside(
            f"{__name__}:measure", rounds=scale.rounds, seconds=scale.seconds, writers=CLIENTS
        )
        rows.append(
            Comparison(
                work=f"append to the audit log, {CLIENTS} writers",
                database=database,
                unit="rows/s",
                keeper=found["chained"],
                other="a plain INSERT by the ORM",
                other_figures=found["plain"],
                target=TARGETS[database],
            )
        )
        verified = keeper.inside(f"{__name__}:verified_per_second", count=scale.verified)
        work = f"verify {scale.verified:,} events, rows/s"
        rows.append(Figure(work, database, verified, minimum=VERIFIED[database]))
    return rows


def measure(*, rounds: int, seconds: float, writers: int) -> dict[str, list[float]]:
    """Return rows a second, for each round, of the trail and of a plain table beside it."""
    from django.db import connection

    from benchmarks.floor.models import Access

    with connection.schema_editor() as editor:
        editor.create_model(Access)
    try:
        _append_chained()
        found: dict[str, list[float]] = {"chained": [], "plain": []}
        for _ in range(rounds):
            found["chained"].append(_rate(_append_chained, seconds, writers))
            found["plain"].append(_rate(_append_plain, seconds, writers))
        return found
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Access)


def verified_per_second(count: int) -> float:
    """Append so many events and return how many a second are verified."""
    from audit_app.recording.recorder import record_many
    from audit_app.verification.stream_verifier import verify

    stream = f"environment:{uuid4()}"
    draft = _draft(stream)
    for start in range(0, count, _DRAFTS_PER_CALL):
        record_many([draft] * min(_DRAFTS_PER_CALL, count - start))
    started = time.perf_counter()
    problems = list(verify(stream))
    if problems:
        raise RuntimeError(f"the trail is damaged: {problems[0]}")
    return count / (time.perf_counter() - started)


def _rate(append: Callable[[], None], seconds: float, writers: int) -> float:
    """Return how often a second so many threads append."""
    from django.db import connection

    counts = [0] * writers
    deadline = time.perf_counter() + seconds

    def write(number: int) -> None:
        # Once in any case, though the machine stood still for as long as that.
        while not counts[number] or time.perf_counter() < deadline:
            append()
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def _append_chained() -> None:
    from audit_app.recording.recorder import commit_record

    draft = _draft(STREAM)
    commit_record(
        actor=draft.actor,
        action=draft.action,
        stream=draft.stream,
        object=draft.object,
        details=draft.details,
    )


def _append_plain() -> None:
    from benchmarks.floor.models import Access

    draft = _draft(STREAM)
    Access.objects.create(
        actor=draft.actor.name,
        action=draft.action,
        object_kind=draft.object.kind,
        object_id=str(draft.object.uuid),
        object_name=draft.object.name,
        outcome=draft.outcome,
        address=draft.actor.address,
        request_id=draft.actor.request_id,
        details='{"number": 1}',
    )


def _draft(stream: str) -> "EventDraft":
    from audit_app.events import actors
    from audit_app.events.actions import Action
    from audit_app.recording.drafts import AuditObject, EventDraft

    return EventDraft(
        actor=actors.Actor(
            kind=actors.ActorKind.TOKEN,
            uuid=uuid4(),
            name="benchmark",
            address="127.0.0.1",
            request_id=uuid4().hex,
        ),
        action=Action.SECRET_REVEAL,
        stream=stream,
        object=AuditObject("secret", uuid4(), _name()),
        details={"number": 1},
    )


def _name() -> str:
    return f"service-{randrange(100):02}/password-{randrange(100):04}"
