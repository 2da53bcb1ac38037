"""An export and a verification that are taken while Keeper writes, signs and prunes raise no false alarm."""

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from audit_app.checkpoints.inspection import whole_log
from audit_app.checkpoints.schedule import anchor_log
from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent
from audit_app.recording.recorder import commit_records
from audit_app.retention import bundles
from audit_app.retention.prune import prune
from audit_app.tests.events.test_audit_export import verified
from audit_app.tests.keyring import SIGNING_KEYS
from audit_app.tests.trail import STREAM, draft, entries, write
from audit_app.verification import stream_verifier, stream_walker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

WRITERS, EXPORTS = 3, 4


@pytest.fixture(autouse=True)
def sink(settings: Settings, tmp_path: Path, transactional_db: None) -> Path:
    """Make a log of which most may be pruned, sign it, and return the folder of the sink."""
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    settings.KEEPER_AUDIT_ARCHIVE_DIR = str(tmp_path / "archive")
    real = timezone.now
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.utils.timezone.now", lambda: real() - timedelta(days=200))
        write(20, action=Action.SIGN_IN)
        write(2, details={"number": 1})
        anchor_log(at_once=True)
    write(3)
    anchor_log(at_once=True)
    return tmp_path / "sink"


@contextmanager
def in_the_background(*works: Callable[[], Any]) -> Iterator[None]:
    """Repeat works in threads of their own until the block ends; what one raises is raised."""
    over = Event()

    def repeat(work: Callable[[], Any]) -> None:
        try:
            while not over.is_set():
                work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(repeat, work) for work in works]
        try:
            yield
        finally:
            over.set()
        for each in running:
            each.result()


def elsewhere(work: Callable[[], Any]) -> Any:
    """Do something by another connection while this one waits."""

    def closed() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(closed).result()


def pruned(archive: Path) -> None:
    prune(
        actor=actors.system(),
        before=timezone.now() - timedelta(days=100),
        bundle=archive / "b",
        operator="a test",
    )


def means(sink: Path) -> list[str]:
    (file,) = sink.glob("*.jsonl")
    held = sink.parent / "held.jsonl"
    held.write_bytes(file.read_bytes())
    return ["--public-key", keyring().public_keys()[SIGNING_KEYS[0]].hex(), "--checkpoint", str(held)]


def export(folder: Path, name: str) -> Path:
    call_command("audit_export", str(folder / name), stdout=io.StringIO())
    return folder / name


def test_an_export_while_others_write_and_sign_is_sound(tmp_path: Path, sink: Path) -> None:
    """They also open streams and make manifests; the checkpoint is fetched first, as documented."""
    numbers = iter(range(1_000_000))

    def record() -> None:
        number = next(numbers)
        commit_records([draft(), draft(stream=f"environment:{number}", manifest=entries(2))])

    with in_the_background(*[record] * WRITERS, lambda: anchor_log(at_once=True)):
        for turn in range(EXPORTS):
            brought = means(sink)
            code, said = verified(export(tmp_path, f"bundle-{turn}"), *brought)
            assert code == 0, said
    assert AuditEvent.objects.filter(stream=STREAM).count() > 25


def test_an_export_in_the_documented_order_is_never_called_rewound(tmp_path: Path, sink: Path) -> None:
    """In the other order it may be older than the checkpoint, and is named so."""
    bundle = export(tmp_path, "bundle")
    write(2)
    anchor_log(at_once=True)
    code, said = verified(bundle, *means(sink))
    assert code == 3
    assert any("events 26 to 27, which checkpoint 3, held elsewhere, names" in line for line in said), said
    assert not any("rewound" in line for line in said)
    assert verified(export(tmp_path, "again"), *means(sink))[0] == 0


def test_retention_during_an_export_changes_nothing_in_it(
    tmp_path: Path, sink: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, brought, once = bundles._manifests, means(sink), iter([True])

    def meanwhile(*given: Any) -> Iterator[bytes]:
        # Retention writes a bundle itself.
        if next(once, False):
            elsewhere(lambda: pruned(tmp_path / "archive"))
        return real(*given)

    monkeypatch.setattr(bundles, "_manifests", meanwhile)
    code, said = verified(export(tmp_path, "bundle"), *brought)
    assert code == 0, said
    monkeypatch.undo()
    assert AuditEvent.objects.filter(action=Action.TRAIL_PRUNE).exists()
    with pytest.raises(CommandError, match="run `keeper checkpoint` first, then export again"):
        export(tmp_path, "uncovered")
    assert not (tmp_path / "uncovered").exists()
    anchor_log(at_once=True)
    assert verified(export(tmp_path, "covered"), *means(sink))[0] == 0


def test_retention_during_a_verification_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, once = stream_walker.first_damage, iter([True])

    def meanwhile(stream: str, **given: Any) -> Any:
        if stream == STREAM and next(once, False):
            elsewhere(lambda: pruned(tmp_path / "archive"))
        return real(stream, **given)

    monkeypatch.setattr(stream_verifier, "first_damage", meanwhile)
    assert list(whole_log()) == []
    assert AuditEvent.objects.filter(action=Action.TRAIL_PRUNE).exists()


def test_a_stream_that_begins_during_a_verification_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    real, names = stream_verifier.all_streams, iter(("before", "after"))

    def meanwhile() -> list[str]:
        elsewhere(lambda: commit_records([draft(stream=f"environment:{next(names)}")]))
        found = real()
        elsewhere(lambda: commit_records([draft(stream=f"environment:{next(names)}")]))
        return found

    monkeypatch.setattr(stream_verifier, "all_streams", meanwhile)
    assert list(stream_verifier._dropped_streams()) == []


def test_events_during_a_verification_are_no_damage() -> None:
    with in_the_background(
        lambda: commit_records([draft(), draft(stream="environment:b")]), lambda: anchor_log(at_once=True)
    ):
        for _ in range(EXPORTS):
            assert [json.dumps(problem.message) for problem in whole_log()] == []
