"""Keeper as `make run` starts it, in mixed use while its processes are killed; `make soak` is the long form."""

from pathlib import Path

from tests.soak.story import Soak

SEED = 20_261_127


def test_it_serves_on_when_its_processes_are_killed(tmp_path: Path, schema: Path | None) -> None:
    lines: list[str] = []
    soak = Soak(
        seconds=14, kill_every=5, seed=SEED, say=lines.append, report_every=4, module="tests.soak.hasty"
    )
    problems = soak.run(tmp_path, schema)
    assert not problems, "\n".join([*problems, *lines])
    assert soak.kills.total() == 2
