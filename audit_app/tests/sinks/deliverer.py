"""Writes events, and delivers them in processes that are killed.

test_killed_delivery.py asks it over its pipes. A delivery is a process of its own, forked so that it starts at
once, and waits until it is let go. `SINK` in the environment has the sink's address, `ca` and `token`.
"""

import hashlib
import json
import os
import random
import resource
import signal
import time
from typing import Any, NoReturn
from unittest.mock import patch
from uuid import UUID

from django.conf import settings
from django.db import connections

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent, SinkState, StreamHead
from audit_app.recording.drafts import AuditObject, EventDraft
from audit_app.recording.recorder import record_many
from audit_app.sinks import delivery
from audit_app.sinks.base import StoredSink
from audit_app.sinks.s3_events import S3EventSink
from tests.answers import answer

NAME = "events:siem"
STREAMS = ["environment:a", "environment:b", "environment:c", "refusals", "system"]
ACTIONS = [Action.SECRET_REVEAL, Action.SECRET_UPDATE, Action.TOKEN_ISSUE, Action.SESSION_END, Action.REFUSAL]
NAMES = ["app/db", "pipe|equals=\\", "two\nlines", "\u202egnp.exe", "x" * 200]
draw = random.Random(20_261)


def rows() -> list[StoredSink]:
    """Return the one sink."""
    given = json.loads(os.environ["SINK"])
    return [StoredSink(NAME, given["address"], given["ca"], lambda: given["token"], lambda: True)]


def write(count: int) -> dict[str, Any]:
    """Record so many events, in bulk."""
    for begin in range(0, count, 500):
        record_many([_draft() for _ in range(begin, min(begin + 500, count))])
    return {}


def _draft() -> EventDraft:
    number = draw.randrange(1, 500)
    return EventDraft(
        actor=Actor(
            kind=draw.choice([ActorKind.USER, ActorKind.TOKEN]), uuid=UUID(int=number), name=draw.choice(NAMES),
            address=draw.choice(["192.0.2.1", "2001:db8::1", ""]), request_id=f"{number:032x}",
        ),
        action=draw.choice(ACTIONS),
        stream=draw.choice(STREAMS),
        object=AuditObject("secret", UUID(int=number), draw.choice(NAMES)),
        outcome=draw.choice([Outcome.ALLOWED, Outcome.ALLOWED, Outcome.DENIED]),
        details={"number": number, "reason": draw.choice(NAMES)},
    )  # fmt: skip


def fork(seconds: float, dies_at: int, dies: str) -> dict[str, Any]:
    """Start a delivery that waits; it dies `before` or `after` it notes what the sink took for the nth time."""
    global _go
    connections.close_all()
    waits, _go = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(_go)
        os.read(waits, 1)
        _deliver(seconds, dies_at, dies)
    os.close(waits)
    return {"pid": pid}


_go = 0


def _deliver(seconds: float, dies_at: int, dies: str) -> NoReturn:
    noted, times = delivery.taken, 0

    def note(*arguments: Any) -> None:
        nonlocal times
        times += 1
        if times == dies_at and dies == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        noted(*arguments)
        if times == dies_at and dies == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    # S3 waits for no more events than there are.
    S3EventSink.gathers = 0
    # A sink that hangs is left sooner.
    with patch.multiple(delivery, taken=note, _WRITE_SECONDS=seconds):
        delivery.deliver_events(at_once=True)
    os._exit(0)


def go(pid: int) -> dict[str, Any]:
    """Let a delivery begin, and return how it ended: the signal, its seconds, and those of the processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    os.write(_go, b"g")
    os.close(_go)
    _, status = os.waitpid(pid, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
    # What the lease of one that was killed is for: another takes over after two minutes.
    SinkState.objects.update(leased_until=None)
    return {
        "killed": os.WIFSIGNALED(status),
        "seconds": time.monotonic() - began,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "error": SinkState.objects.get(name=NAME).error,
    }


def state() -> dict[str, Any]:
    """Return how far the sink is behind, and what each stream holds: its head, and a digest of the ids."""
    found = {}
    for stream, head in StreamHead.objects.values_list("stream", "sequence"):
        uuids = AuditEvent.objects.filter(stream=stream).order_by("sequence").values_list("uuid", flat=True)
        found[stream] = [head, digest(uuid.hex for uuid in uuids.iterator(chunk_size=2_000))]
    return {"behind": delivery.lag(SinkState.objects.filter(name=NAME)), "streams": found}


def digest(uuids: Any) -> str:
    """Return what stands for ids in their order."""
    return hashlib.sha256("\n".join(uuids).encode()).hexdigest()


def main() -> None:
    """Answer what is asked."""
    settings.KEEPER_STORED_EVENT_SINKS = "audit_app.tests.sinks.deliverer.rows"
    keyring().open_all()
    # From its first event on.
    SinkState.objects.create(name=NAME)
    answer(write, fork, go, state)
