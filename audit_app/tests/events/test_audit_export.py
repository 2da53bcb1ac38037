"""Bundles of the trail, verified by the script that knows nothing of Keeper."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from audit_app.checkpoints.schedule import anchor_log
from audit_app.events import actors
from audit_app.events.actions import Action
from audit_app.events.actors import NIL
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject, ManifestEntry
from audit_app.recording.recorder import record
from audit_app.tests.keyring import SIGNING_KEYS, ToyKeyring
from audit_app.tests.trail import STREAM, entries, sql, write

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "verify_offline.py"
Lines = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def trail(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a trail with two signed states under two keys, and an unsigned event; return the sink's file."""
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    write(3, details={"text": 'zoë "quoted"\n\x01'})
    write(1, manifest=entries(3))
    anchor_log(at_once=True)
    monkeypatch.setattr(ToyKeyring, "signing_key", SIGNING_KEYS[1])
    write(2)
    anchor_log(at_once=True)
    write(1)
    (file,) = (tmp_path / "sink").glob("*.jsonl")
    return file


def pinned() -> str:
    return keyring().public_keys()[SIGNING_KEYS[0]].hex()


def exported(tmp_path: Path, *arguments: str) -> Path:
    file = tmp_path / "bundle.jsonl"
    call_command("audit_export", str(file), *arguments)
    return file


def verified(bundle: Path, *arguments: str) -> tuple[int, list[str]]:
    # As the auditor runs it: isolated, so that nothing of Keeper can be imported.
    command = [sys.executable, "-I", str(SCRIPT), str(bundle), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_a_sound_bundle_is_verified_with_what_the_auditor_brought(tmp_path: Path, trail: Path) -> None:
    bundle = exported(tmp_path)
    code, said = verified(bundle, "--public-key", pinned(), "--checkpoint", str(trail))
    assert (code, said[0]) == (0, "2 checkpoints, 9 events, 1 manifests, 0 problems")
    unproven = "\n".join(said[1:])
    assert "MACs of the events were not checked" in unproven
    # The export's own event and the one after the last checkpoint.
    assert "2 events are newer than what is signed" in unproven
    assert "pinned" not in unproven
    assert bundle.stat().st_mode & 0o077 == 0
    assert AuditEvent.objects.filter(action="trail.export").count() == 1


def test_it_says_what_nobody_brought(tmp_path: Path) -> None:
    code, said = verified(exported(tmp_path))
    assert code == 0
    assert any("No public key was pinned" in sentence for sentence in said)
    assert any("No checkpoint from elsewhere" in sentence for sentence in said)


def test_one_stream_alone_is_verified_and_said_to_be_alone(tmp_path: Path, trail: Path) -> None:
    code, said = verified(
        exported(tmp_path, "--stream", STREAM),
        *("--public-key", pinned(), "--checkpoint", str(trail), "--stream", STREAM),
    )
    assert code == 0
    assert said[-1] == "not proven: Only 1 streams were exported."


def test_a_stream_that_does_not_exist_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is no stream environment:none"):
        exported(tmp_path, "--stream", STREAM, "--stream", "environment:none")
    assert not (tmp_path / "bundle.jsonl").exists()


def test_one_stream_takes_no_names_of_another_along(tmp_path: Path) -> None:
    record(
        actor=actors.system(),
        action=Action.SECRET_EXPORT,
        stream="another",
        object=AuditObject("environment", NIL, "another"),
        manifest=[ManifestEntry(str(NIL), 1, "another/secret")],
    )
    assert "another/secret" in exported(tmp_path).read_text()
    (tmp_path / "bundle.jsonl").unlink()
    alone = exported(tmp_path, "--stream", STREAM).read_text()
    assert '"kind":"manifest"' in alone
    assert "another/secret" not in alone


def event(lines: Lines, sequence: int) -> dict[str, Any]:
    """Return an event of the environment's stream."""
    return next(
        line for line in lines if line.get("stream") == STREAM and f'"sequence":{sequence},' in line["text"]
    )


def edit(lines: Lines) -> None:
    event(lines, 2)["text"] = event(lines, 2)["text"].replace("alice", "mallory")


def recompute(lines: Lines) -> None:
    edit(lines)
    previous = event(lines, 1)["hash"]
    for sequence in range(2, 8):
        line = event(lines, sequence)
        line["previous"] = previous
        line["hash"] = previous = hashlib.sha256(bytes.fromhex(previous) + line["text"].encode()).hexdigest()


def swap(lines: Lines) -> None:
    one, other = lines.index(event(lines, 2)), lines.index(event(lines, 3))
    lines[one], lines[other] = lines[other], lines[one]


def cut(lines: Lines) -> None:
    for sequence in (6, 7):
        lines.remove(event(lines, sequence))
    lines[-1]["counts"]["event"] -= 2


def drop(lines: Lines) -> None:
    gone = [line for line in lines if line.get("stream") == STREAM]
    for line in gone:
        lines.remove(line)
    lines[-1]["counts"]["event"] -= len(gone)


def set_back(lines: Lines) -> None:
    """Leave the trail as it was at the first checkpoint."""
    cut(lines)
    lines.remove(event(lines, 5))
    lines.remove([line for line in lines if line["kind"] == "checkpoint"][1])
    lines[-1]["counts"].update(event=lines[-1]["counts"]["event"] - 1, checkpoint=1)
    lines[0]["as_of"] = lines[0]["as_of"].replace("20", "21", 1)


def remove(sequence: int) -> Callable[[Lines], None]:
    return lambda lines: lines.remove(event(lines, sequence))


def sign_with_another_key(lines: Lines) -> None:
    """Replace the key of the newest checkpoint, whose signature then is another's."""
    checkpoint = [line for line in lines if line["kind"] == "checkpoint"][1]
    own = keyring().sign(b"", key_id=SIGNING_KEYS[1]).public_key.hex()
    checkpoint["checkpoint"] = checkpoint["checkpoint"].replace(own, "ab" * 32)


def edit_manifest(lines: Lines) -> None:
    next(line for line in lines if line["kind"] == "manifest")["read"][0][1] = 9


TAMPERS = [
    (edit, f"edited: event {STREAM} #2"),
    (recompute, f"forked: event {STREAM} #4"),
    (swap, f"missing: event {STREAM} #2"),
    (remove(2), f"missing: event {STREAM} #2"),
    (cut, f"truncated: event {STREAM} #6"),
    (drop, f"missing: stream {STREAM}"),
    (set_back, "rewound: checkpoint 2, held elsewhere"),
    (sign_with_another_key, "edited: checkpoint 2"),
    (edit_manifest, "edited: manifest"),
    (lambda lines: lines.pop(), "truncated: bundle"),
    (
        lambda lines: lines.remove(next(line for line in lines if line["kind"] == "manifest")),
        "missing: manifest",
    ),
]


@pytest.mark.parametrize(("tamper", "told"), TAMPERS)
def test_a_tampered_bundle_is_named(
    tmp_path: Path, trail: Path, tamper: Callable[[Lines], None], told: str
) -> None:
    bundle = exported(tmp_path)
    lines = [json.loads(line) for line in bundle.read_text().splitlines()]
    tamper(lines)
    texts = (json.dumps(line, separators=(",", ":"), sort_keys=True, ensure_ascii=False) for line in lines)
    bundle.write_text("".join(f"{text}\n" for text in texts))
    code, said = verified(bundle, "--public-key", pinned(), "--checkpoint", str(trail))
    assert code == 1
    assert any(line.startswith(told) for line in said), said


def test_another_pinned_key_is_no_proof(tmp_path: Path) -> None:
    code, said = verified(exported(tmp_path), "--public-key", "cd" * 32)
    assert code == 1
    assert said[0].startswith("forged: checkpoint 1: neither a trusted key")


def test_what_is_damaged_in_the_database_is_exported_and_named(tmp_path: Path) -> None:
    sql("UPDATE audit_app_auditevent SET actor_name = 'mallory' WHERE stream = %s AND sequence = 2", STREAM)
    code, said = verified(exported(tmp_path))
    assert (code, said[0][:30]) == (1, f"edited: event {STREAM} #2:"[:30])


def test_what_is_no_bundle_cannot_be_read(tmp_path: Path) -> None:
    for text in ("", "{}", "[]", "x"):
        (tmp_path / "none").write_text(text)
        assert verified(tmp_path / "none")[0] == 2


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    bundle = exported(tmp_path)
    with pytest.raises(CommandError, match="File exists"):
        call_command("audit_export", str(bundle))
