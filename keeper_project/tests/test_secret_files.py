"""Secrets that an installation makes for itself appear whole, once, for their owner only."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.config.variables import read_or_create
from keeper_project.tests.processes.test_full_disk import SmallDisk, disk

__all__ = ["disk"]


def test_it_makes_a_long_secret_that_only_its_owner_reads(tmp_path: Path) -> None:
    text = read_or_create(tmp_path / "deep" / "secret_key")
    assert len(text) == 64
    assert stat.S_IMODE((tmp_path / "deep" / "secret_key").stat().st_mode) == 0o600


def test_it_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("kept\n")
    assert read_or_create(tmp_path / "secret_key") == "kept"


def test_it_makes_a_different_one_each_time(tmp_path: Path) -> None:
    assert read_or_create(tmp_path / "one") != read_or_create(tmp_path / "two")


def test_it_makes_one_when_several_start_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        texts = set(pool.map(read_or_create, [tmp_path / "secret_key"] * 8))
    assert len(texts) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_it_raises_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        read_or_create(tmp_path / "file" / "secret_key")


def test_a_full_disk_is_left_as_it_was(disk: SmallDisk) -> None:
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        read_or_create(disk.at / "secret_key")
    assert [path.name for path in disk.at.iterdir()] == ["ballast"]
