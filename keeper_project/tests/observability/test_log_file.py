"""One log file, several writers: it rotates once and loses no line."""

import logging
import stat
from pathlib import Path

import pytest

from keeper_project.observability.logging import SharedRotatingFileHandler
from keeper_project.tests.processes.test_full_disk import SmallDisk, disk

__all__ = ["disk"]


def handler(path: Path, *, max_bytes: int = 1000) -> SharedRotatingFileHandler:
    return SharedRotatingFileHandler(str(path), max_bytes=max_bytes, backups=3)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("keeper", logging.INFO, __file__, 1, text, None, None)


def test_it_makes_no_file_before_the_first_line(tmp_path: Path) -> None:
    writer = handler(tmp_path / "logs" / "keeper.log")
    assert not (tmp_path / "logs" / "keeper.log").exists()
    writer.close()


def test_it_makes_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    writer = handler(tmp_path / "keeper.log")
    writer.emit(record("x"))
    writer.close()
    assert stat.S_IMODE((tmp_path / "keeper.log").stat().st_mode) == 0o600


def test_it_rotates_once_for_two_writers(tmp_path: Path) -> None:
    one, two = handler(tmp_path / "keeper.log"), handler(tmp_path / "keeper.log")
    for writer in (one, two):
        writer.emit(record("a" * 450))
    for writer in (one, two):
        writer.emit(record("b" * 450))
    one.close()
    two.close()
    assert (tmp_path / "keeper.log.1").read_text().split() == ["a" * 450, "a" * 450]
    assert (tmp_path / "keeper.log").read_text().split() == ["b" * 450, "b" * 450]
    assert not (tmp_path / "keeper.log.2").exists()


def test_it_follows_a_file_that_another_process_moved(tmp_path: Path) -> None:
    writer = handler(tmp_path / "keeper.log")
    writer.emit(record("old"))
    (tmp_path / "keeper.log").rename(tmp_path / "moved")
    writer.emit(record("new"))
    writer.close()
    assert (tmp_path / "moved").read_text() == "old\n"
    assert (tmp_path / "keeper.log").read_text() == "new\n"


def test_it_makes_the_file_again_when_it_was_removed(tmp_path: Path) -> None:
    writer = handler(tmp_path / "keeper.log")
    writer.emit(record("old"))
    (tmp_path / "keeper.log").unlink()
    writer.emit(record("new"))
    writer.close()
    assert (tmp_path / "keeper.log").read_text() == "new\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux alone has a device that is full")
def test_a_full_disk_is_one_line_and_lines_go_on_when_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keeper.log"
    path.symlink_to("/dev/full")
    writer = handler(path)
    for number in range(100):
        writer.emit(record(f"lost {number}"))
    assert capsys.readouterr().err == f"keeper: {path} takes no lines: No space left on device.\n"
    path.unlink()
    writer.emit(record("kept"))
    writer.close()
    assert path.read_text() == "kept\n"


def test_a_line_that_was_cut_does_not_take_the_next_one_along(disk: SmallDisk) -> None:
    path = disk.at / "keeper.log"
    writer = handler(path, max_bytes=1 << 20)
    writer.emit(record("before"))
    disk.fill()
    writer.emit(record("c" * 10_000))
    disk.free()
    writer.emit(record("after"))
    writer.close()
    first, cut, last = path.read_text().splitlines()
    assert (first, set(cut), last) == ("before", {"c"}, "after")
