"""A worker keeps its slots when the folder of their locks is gone."""

import shutil
from pathlib import Path

import pytest

from core import workers
from core.workers import slot


def test_a_folder_that_was_tidied_away_takes_no_work_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "slots"
    folder.mkdir()
    monkeypatch.setattr(workers, "_folder", folder)
    monkeypatch.setattr(workers, "_concurrency", 4)
    with slot("rotation", share=1 / 4) as is_free:
        assert is_free
    shutil.rmtree(folder)
    with slot("rotation", share=1 / 4) as is_free:
        assert is_free
        with slot("rotation", share=1 / 4) as is_free_too:
            assert not is_free_too
