"""Writers of the trail that are killed and started again; test_killed_writers.py runs it as a program.

    python -m audit_app.tests.writers WRITERS KILLS SEED DATABASE_KILLS

Each writer is a process of its own, forked so that it starts at once. It notes an event as answered
after its commit came back. In the end the trail is verified, and JSON says what came of it. Where the
database is to be killed, a line `database` asks whoever started this program to do so.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import django

django.setup()

from django.core.management import call_command  # noqa: E402 - models are loaded only now
from django.db import DatabaseError, connection, connections  # noqa: E402

from audit_app.events.actions import Action  # noqa: E402
from audit_app.interfaces import keyring  # noqa: E402
from audit_app.models import AuditEvent, StreamHead  # noqa: E402
from audit_app.recording.recorder import commit_record  # noqa: E402
from audit_app.tests.trail import ALICE, SECRET, STREAM, entries  # noqa: E402
from audit_app.verification.stream_verifier import verify  # noqa: E402

READ = entries(2)
# Between two kills: some commits of a writer.
PAUSES = (0.02, 0.2)
# Of a note: a UUID in hexadecimal digits, and the end of the line.
LINE_BYTES = 33


def write(answered: Path) -> NoReturn:
    """Record events until killed, and note each that was answered."""
    notes = os.open(answered, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    turn = 0
    while True:
        turn += 1
        try:
            receipt = commit_record(
                actor=ALICE,
                action=Action.SECRET_REVEAL,
                stream=STREAM if turn % 3 else "environment:b",
                object=SECRET,
                manifest=READ if turn % 5 == 0 else None,
            )
        except DatabaseError:
            # The database is away or busy: nothing was answered.
            connection.close()
            time.sleep(0.05)
            continue
        os.write(notes, receipt.event_uuid.hex.encode() + b"\n")


def started(answered: Path) -> int:
    """Start a writer, and return its process id."""
    if pid := os.fork():
        return pid
    write(answered)


def until_answered(answered: Path, count: int) -> None:
    """Wait until so many events were answered altogether."""
    while not answered.exists() or answered.stat().st_size < count * LINE_BYTES:
        time.sleep(0.02)


def main() -> None:
    """Start the writers, kill one after another, and judge what they left."""
    writers, kills, seed, database_kills = (int(text) for text in sys.argv[1:5])
    chance = random.Random(seed)
    if AuditEvent._meta.db_table not in connection.introspection.table_names():
        call_command("migrate", verbosity=0)
    keyring().open_all()
    # A child must not share its parent's connection.
    connections.close_all()
    with tempfile.TemporaryDirectory() as folder:
        answered = Path(folder) / "answered"
        running = [started(answered) for _ in range(writers)]
        moments = {(turn + 1) * kills // (database_kills + 1) for turn in range(database_kills)}
        for turn in range(kills):
            # There is a commit for each kill, however slow the machine is.
            until_answered(answered, turn + 1)
            if turn in moments:
                sys.stdout.write("database\n")
                sys.stdout.flush()
            time.sleep(chance.uniform(*PAUSES))
            victim = chance.randrange(writers)
            os.kill(running[victim], signal.SIGKILL)
            os.waitpid(running[victim], 0)
            running[victim] = started(answered)
        # Until those that were started last have written.
        until_answered(answered, answered.stat().st_size // LINE_BYTES + writers)
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        told = {UUID(line) for line in answered.read_text().split()}
    problems = [f"{problem.kind} {problem.object}: {problem.message}" for problem in verify()]
    stored = set(AuditEvent.objects.values_list("uuid", flat=True))
    heads = sum(StreamHead.objects.values_list("sequence", flat=True))
    found = {"problems": problems, "answered": len(told), "lost": len(told - stored)}
    sys.stdout.write(json.dumps({**found, "gaps": heads - len(stored)}) + "\n")


if __name__ == "__main__":
    main()
