"""A file that Keeper's keys seal and sign, and that does not hold what it says: it is neither proved nor restored."""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import models
from pytest_django import Settings

from audit_app.models import MAC_LENGTH
from environments_app.tests.cast import Cast
from operations_app.backup import create
from operations_app.backup import restore as backup_restore
from operations_app.backup.archive import rows
from operations_app.backup.archive.format import (
    BackupWriter,
    ChunkReader,
    ChunkWriter,
    _stream_key,
    open_backup,
)
from operations_app.backup.archive.manifest import Head, Manifest
from operations_app.backup.create import back_up
from operations_app.backup.errors import Altered, BackupError, Incomplete, Malformed, Truncated
from operations_app.backup.restore import restore
from operations_app.backup.verification import verified_backup, verify_backup
from operations_app.tests.backup.making import OPERATOR, furnish
from secrets_app.models import Secret

SECRETS = rows.label(Secret)


@pytest.fixture(autouse=True)
def _here(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"


def stored() -> dict[str, list[bytes]]:
    return {rows.label(model): list(rows.lines(model)) for model in rows.tables()}


def require_refused(made: Path, error: type[BackupError], match: str) -> None:
    """Require that a file is not proved, and that a restore of it changes nothing."""
    with pytest.raises(error, match=match):
        verify_backup(made)
    before = stored()
    with pytest.raises(error, match=match):
        restore(made, replace=True, despite_damage=True)
    assert stored() == before


def recounted(by: int) -> Callable[[Manifest], Manifest]:
    def told(manifest: Manifest) -> Manifest:
        return replace(manifest, counts={**manifest.counts, SECRETS: manifest.counts[SECRETS] + by})

    return told


def without_a_count(manifest: Manifest) -> Manifest:
    return replace(manifest, counts={name: n for name, n in manifest.counts.items() if name != SECRETS})


def with_a_count_more(manifest: Manifest) -> Manifest:
    return replace(manifest, counts={**manifest.counts, "secrets_app.Another": 0})


def headed(**changes: Any) -> Callable[[Manifest], Manifest]:
    def told(manifest: Manifest) -> Manifest:
        return replace(
            manifest, heads={stream: replace(head, **changes) for stream, head in manifest.heads.items()}
        )

    return told


def without_a_head(manifest: Manifest) -> Manifest:
    return replace(manifest, heads=dict(list(manifest.heads.items())[1:]))


def with_a_head_more(manifest: Manifest) -> Manifest:
    return replace(manifest, heads={**manifest.heads, "another": Head(sequence=1, hash="00")})


@pytest.mark.parametrize(
    ("tells", "error", "match"),
    [
        (recounted(1), Incomplete, SECRETS),
        (recounted(-1), Incomplete, SECRETS),
        (without_a_count, Incomplete, SECRETS),
        (with_a_count_more, Incomplete, "its list of tables"),
        (headed(sequence=1), Altered, "the heads of the audit log"),
        (headed(hash="00" * 32), Altered, "the heads of the audit log"),
        (without_a_head, Altered, "the heads of the audit log"),
        (with_a_head_more, Altered, "the heads of the audit log"),
    ],
)
def test_a_manifest_that_says_another_thing_than_the_rows(
    cast: Cast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tells: Callable[[Manifest], Manifest],
    error: type[BackupError],
    match: str,
) -> None:
    furnish(cast)
    tell = create._manifest
    with monkeypatch.context() as while_made:
        while_made.setattr(create, "_manifest", lambda *given: tells(tell(*given)))
        made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    require_refused(made, error, match)


def test_a_manifest_that_names_another_deployment(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(cast)
    with monkeypatch.context() as while_made:
        while_made.setattr(create, "deployment_uuid", lambda: UUID(int=7))
        made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    require_refused(made, Altered, "another deployment")


Lines = list[Any]


def renamed(lines: Lines) -> Lines:
    return [{**lines[0], "table": "secrets_app.Another"}, *lines[1:]]


def reordered(lines: Lines) -> Lines:
    columns = lines[0]["columns"]
    return [{**lines[0], "columns": [columns[1], columns[0], *columns[2:]]}, *lines[1:]]


def with_a_column_less(lines: Lines) -> Lines:
    return [{**lines[0], "columns": lines[0]["columns"][:-1]}, *lines[1:]]


def without_a_table(lines: Lines) -> Lines:
    return lines[1:]


def edited(column: str, value: Any) -> Callable[[Lines], Lines]:
    def with_it(lines: Lines) -> Lines:
        at = lines[0]["columns"].index(column)
        return [lines[0], *([*line[:at], value, *line[at + 1 :]] for line in lines[1:])]

    with_it.__name__ = f"{column} {value!r}"
    return with_it


def longer(lines: Lines) -> Lines:
    return [lines[0], *([*line, "more"] for line in lines[1:])]


def shorter(lines: Lines) -> Lines:
    return [lines[0], *(line[:-1] for line in lines[1:])]


@pytest.mark.parametrize(
    ("holds", "error", "match"),
    [
        (renamed, Incomplete, "does not know"),
        (reordered, Incomplete, "not those of this release"),
        (with_a_column_less, Incomplete, "not those of this release"),
        (longer, Altered, "what its columns never do"),
        (shorter, Altered, "what its columns never do"),
        (edited("uuid", "no uuid"), Altered, "what its columns never do"),
        (edited("uuid", 7), Altered, "what its columns never do"),
        (edited("row_mac", "no base64!"), Altered, "what its columns never do"),
        (edited("created_at", "yesterday"), Altered, "what its columns never do"),
        (edited("environment_id", 99_999), Altered, "fit together"),
        (edited("name", None), Altered, "fit together"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_rows_that_are_none_of_this_release(
    cast: Cast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    holds: Callable[[Lines], Lines],
    error: type[BackupError],
    match: str,
) -> None:
    furnish(cast)
    lines = rows.lines

    def other(model: type[models.Model], progress: Any = None) -> Iterator[bytes]:
        if model is not Secret:
            yield from lines(model)
            return
        for line in holds([json.loads(each) for each in lines(model)]):
            yield json.dumps(line).encode() + b"\n"

    with monkeypatch.context() as while_made:
        while_made.setattr(rows, "lines", other)
        made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    require_refused(made, error, match)


def test_a_row_before_its_table(cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, first = rows.lines, rows.tables()[0]

    def other(model: type[models.Model], progress: Any = None) -> Iterator[bytes]:
        if model is first:
            yield b"[1]\n"
        yield from lines(model)

    with monkeypatch.context() as while_made:
        while_made.setattr(rows, "lines", other)
        made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    require_refused(made, Altered, "before its table")


def test_a_content_that_is_not_whole(cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk is genuine, the last one too, and the rows in them break off."""
    finish = BackupWriter.finish

    def early(self: Any) -> Any:
        self.payload.flush()
        with monkeypatch.context() as at_the_end:
            at_the_end.setattr(self._chunks, "write", len)
            self.payload.close()
        return finish(self)

    with monkeypatch.context() as while_made:
        while_made.setattr(BackupWriter, "finish", early)
        made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    require_refused(made, Altered, "not whole")


@pytest.mark.parametrize(
    "changes",
    [{"version": 0}, {"version": 99}, {"format": "another"}, {"backup": "none"}, {"heads": []}],
    ids=str,
)
def test_a_manifest_of_another_format(cast: Cast, tmp_path: Path, changes: dict[str, Any]) -> None:
    made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    with open_backup(made) as file:
        content = file.manifest.to_bytes()
    assert Manifest.from_bytes(content).to_bytes() == content
    with pytest.raises(Malformed):
        Manifest.from_bytes(json.dumps({**json.loads(content), **changes}).encode())


def test_a_file_that_ends_where_its_rows_would_begin(cast: Cast, tmp_path: Path) -> None:
    made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    content = made.read_bytes()
    begins = 12 + int.from_bytes(content[8:12], "big")
    for more in (0, 1, 31, 32):
        made.write_bytes(content[: begins + more])
        with pytest.raises(Truncated):
            verify_backup(made)


def test_rows_that_are_exchanged_after_the_proof(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds the file key seals other rows behind the same manifest, and signs nothing."""
    furnish(cast)
    made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    genuine = made.read_bytes()
    begins = 12 + int.from_bytes(genuine[8:12], "big")

    @contextmanager
    def exchanged(path: Path, progress: Any) -> Iterator[Any]:
        with verified_backup(path, progress) as (proof, opened):
            key = _stream_key(opened.key, genuine[:begins])
            sealed, size = io.BytesIO(), len(genuine) - begins - MAC_LENGTH
            honest = ChunkReader(io.BytesIO(genuine[begins:]), key, size=size).readall()
            edited = gzip.compress(gzip.decompress(honest).replace(b"payments/key", b"payments/kez"))
            chunks = ChunkWriter(sealed, key)
            chunks.write(edited.ljust(len(honest), b"\0"))
            chunks.finish()
            made.write_bytes(genuine[:begins] + sealed.getvalue() + genuine[-MAC_LENGTH:])
            assert made.stat().st_size == len(genuine)
            yield proof, opened

    monkeypatch.setattr(backup_restore, "verified_backup", exchanged)
    before = stored()
    with pytest.raises(Altered, match="exchanged after it was proved"):
        restore(made, replace=True)
    assert stored() == before
