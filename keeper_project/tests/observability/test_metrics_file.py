"""The files of metrics are those of the Prometheus client, and a disk without room ends nothing."""

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import mmap_dict

from keeper_project.observability.metrics_file import MetricsFile

# The client is not typed there.
CLIENT: Any = mmap_dict
NAMES = [f"name {'long' * number} {number}" for number in range(40)]
# What the disk does: takes all, takes a part of it, or nothing.
DISK = st.sampled_from(["all", "all", "part", "nothing"])
CHANGES = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 1000), DISK), min_size=1, max_size=60)


def read(path: Path) -> dict[str, float]:
    """Return what a scrape finds, by the client's own reader."""
    if not path.exists():
        return {}
    values = CLIENT.MmapedDict.read_all_values_from_file(str(path))
    return {json.loads(key)[0]: value for key, value, _, _ in values}


@example([(NAMES[0], 0, "nothing")])
@example([(NAMES[0], 1, "part"), (NAMES[0], 2, "all")])
@example([(NAMES[39], 1, "all"), (NAMES[39], 1000, "part"), (NAMES[39], 2, "nothing")])
@given(CHANGES)
def test_a_scrape_finds_whole_values_whatever_the_disk_takes(
    changes: list[tuple[str, int, str]],
) -> None:
    write = os.pwrite
    taken = "all"

    def pwrite(descriptor: int, data: bytes, place: int) -> int:
        if taken == "nothing":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2] if taken == "part" else data, place)

    written: dict[str, set[float]] = {}
    with tempfile.TemporaryDirectory() as folder, patch("os.pwrite", pwrite):
        path = Path(folder) / "counter_1.db"
        file: Any = MetricsFile(str(path))
        for name, value, takes in changes:
            taken = takes
            file.write_value(CLIENT.mmap_key(name, name, [], [], "help"), float(value), 0.0)
            written.setdefault(name, {0.0}).add(float(value))
            assert all(value in written[name] for name, value in read(path).items())
        taken = "all"
        file.write_value(CLIENT.mmap_key("last", "last", [], [], "help"), 1.0, 0.0)
        last = {name: float(value) for name, value, _ in changes} | {"last": 1.0}
        assert read(path) == last
        file.close()
        # Another process of the same number goes on where it was.
        again: Any = MetricsFile(str(path))
        assert again.read_value(CLIENT.mmap_key("last", "last", [], [], "help"))[0] == 1.0
        assert list(Path(folder).iterdir()) == [path]


def test_it_grows_beyond_its_first_size(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    file: Any = MetricsFile(str(path))
    for number in range(3000):
        file.write_value(CLIENT.mmap_key(f"name {number}", "", [], [], "help"), float(number), 0.0)
    assert read(path) == {f"name {number}": float(number) for number in range(3000)}
