"""The benchmarks run; what they measure is no matter of the suite."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import islice
from mmap import PROT_READ, mmap
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from benchmarks import sizing
from benchmarks.__main__ import BENCHMARKS
from benchmarks.measuring import conditions, table
from benchmarks.measuring.client import Endpoint, Load, UnexpectedAnswer, all_of, for_seconds
from benchmarks.measuring.processes import memory_alone_mb, memory_mb
from benchmarks.measuring.scale import QUICK
from benchmarks.measuring.stage import SQLITE
from benchmarks.measuring.table import Comparison, Figure, Target
from benchmarks.measuring.turns import Competitor, compared, in_turns
from benchmarks.servers import ROOT, DurableMariaDb
from benchmarks.writes import audit_append
from tests.servers.mariadb import MariaDb


def comparison(keeper: list[float], other: list[float], **options: Any) -> Comparison:
    given: dict[str, Any] = {
        "work": "a read",
        "database": SQLITE,
        "unit": "ms",
        "target": Target(1.0, 1.5),
        **options,
    }
    return Comparison(keeper=keeper, other="another", other_figures=other, **given)


def test_each_benchmark_is_a_module_of_its_name() -> None:
    for name, measure in BENCHMARKS.items():
        assert measure.__module__.rpartition(".")[2] == name


@pytest.mark.django_db(transaction=True)
def test_it_measures_the_trail_beside_a_plain_table() -> None:
    found = audit_append.measure(rounds=1, seconds=1.0, writers=1)
    assert found["chained"][0] > 0
    assert found["plain"][0] > 0
    assert audit_append.verified_per_second(20) > 0


@pytest.mark.django_db(transaction=True)
def test_its_client_counts_answers_and_refuses_errors(live_server: LiveServer) -> None:
    port = live_server.thread.port
    endpoint = Endpoint(port, {})
    request = endpoint.request("GET", "/healthz")
    assert len(all_of(port, [request] * 5, clients=2).latencies) == 5
    assert for_seconds(port, [request], clients=2, seconds=1.0).per_second > 0
    with pytest.raises(UnexpectedAnswer):
        endpoint.call("GET", "/api/whoami")


def test_reads_are_random_ones_of_all_and_the_same_for_a_seed() -> None:
    endpoint, paths = Endpoint(1, {"Authorization": "Bearer of"}), [f"/{number}" for number in range(50)]
    reads = list(islice(endpoint.random_reads(paths, seed=7), 2_000))
    assert {read.split()[1].decode() for read in reads} == set(paths)
    assert reads == list(islice(endpoint.random_reads(paths, seed=7), 2_000))
    assert endpoint.request("GET", "/7") in reads


def test_its_mariadb_has_each_commit_on_the_disk(tmp_path: Path) -> None:
    usual, durable = MariaDb(tmp_path).command(), DurableMariaDb(tmp_path).command()
    assert any("flush-log" in part for part in usual)
    assert not any("flush-log" in part or "sync" in part for part in durable)


def test_competitors_have_their_turns_in_each_round_forwards_and_back() -> None:
    order = []

    def send(name: str, _clients: int, seconds: float) -> Load:
        order.append(name)
        return Load(seconds, [0.5])

    competitors = {name: Competitor(partial(send, name), set) for name in "ab"}
    found = in_turns(competitors, replace(QUICK, rounds=2, seconds=1), clients=1)
    assert order == ["a", "b", *"ab", *"ba"]
    assert [turn.per_second for turn in found["a"]] == [1, 1]
    row = compared("a read", SQLITE, found["a"], "another", found["b"], alone=True)
    assert (row.ratio, row.unit, row.keeper_cpu_us) == (1, "p50 ms", 0)


def test_a_ratio_says_how_many_times_better_keeper_is() -> None:
    assert comparison([200.0, 300.0, 100.0], [100.0, 100.0, 100.0]).ratio == 2
    assert comparison([5.0], [10.0], less_is_better=True).ratio == 2


def test_a_ratio_below_its_target_stands_in_bold() -> None:
    met, missed = comparison([10.0], [10.0]), comparison([9.0], [10.0])
    assert "**" not in table.markdown([met])
    assert "**0.90**" in table.markdown([missed])
    assert "**1.30**" in table.markdown([comparison([1.3], [1.0], target=Target(1.2, 1.0, at_most=True))])
    assert "**3.00**" in table.markdown([Figure("statements", SQLITE, 3, maximum=2)])


def test_memory_is_that_of_a_process_and_its_children() -> None:
    own = memory_mb(os.getpid())
    program = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        # It has its memory once it runs.
        child.stdout.readline()
        assert memory_mb(os.getpid()) > own > memory_mb(child.pid) > 0
        child.communicate(b"\n")


def test_memory_without_a_mapped_file_is_less_by_what_was_read_of_it(tmp_path: Path) -> None:
    (tmp_path / "database").write_bytes(bytes(40_000_000))
    with (tmp_path / "database").open("rb") as file, mmap(file.fileno(), 0, prot=PROT_READ) as mapped:
        assert sum(mapped[::4096]) == 0
        whole = memory_alone_mb(os.getpid(), tmp_path / "other")
        # Less by what this process shares with another one of the suite, which counts once in one of the two.
        assert 30 < whole - memory_alone_mb(os.getpid(), tmp_path) < 42
        assert whole > memory_mb(os.getpid())


def test_it_writes_between_the_markers_and_keeps_what_was_there_as_history(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    begin, end, history = table.BEGIN, table.END, table.HISTORY
    document.write_text(f"a\n{begin}\nat 1\n\n| one |\n{end}\nb\n{history}\n")
    table.write(document, "at 2\n\n| two |")
    table.write(document, "at 3\n\n| three |")
    before, _, kept = document.read_text().partition(history)
    assert before == f"a\n{begin}\nat 3\n\n| three |\n{end}\nb\n"
    assert kept.index("<summary>at 2</summary>\n\n| two |") < kept.index("<summary>at 1</summary>\n\n| one |")
    document.write_text("no markers\n")
    with pytest.raises(ValueError, match="lacks one of the lines"):
        table.write(document, "new")
    assert document.read_text() == "no markers\n"


def test_it_refuses_databases_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(conditions, "file_system", lambda _: "ext4")
    conditions.require_disk(tmp_path)
    monkeypatch.setattr(conditions, "file_system", lambda _: "tmpfs")
    with pytest.raises(conditions.NotOnDisk, match="TMPDIR"):
        conditions.require_disk(tmp_path)


def test_its_heading_names_the_commit_and_the_load() -> None:
    heading = conditions.heading(ROOT, 0.5)
    assert heading.startswith("Measured at commit ")
    assert "load 0.5 before" in heading
    assert conditions.file_system(Path("/proc")) == "proc"


def test_the_sizing_simulation_answers_what_a_design_carries_and_names_the_limit_of_what_it_does_not() -> (
    None
):
    light = sizing.Simulation(sizing.Design(), reads=100, writes=5, seconds=1).run()
    assert light.is_good
    assert light.answered == 1
    # One head takes one commit at a time, however many processes there are.
    heavy = sizing.Design(processes=8, environments=1, database_cores=16)
    found = sizing.Simulation(heavy, reads=0, writes=2_000, seconds=1).run()
    assert not found.is_good
    assert found.limit == "a head"
    # Environments on servers and chains of their own share no lock.
    spread = replace(heavy, environments=64, databases=8, heads=8, processes=16)
    assert sizing.Simulation(spread, reads=0, writes=2_000, seconds=1).run().is_good
