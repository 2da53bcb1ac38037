"""The benchmarks run; what they measure is no matter of the suite."""

import importlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from benchmarks import audit_append, chart, idle, table
from benchmarks.__main__ import BENCHMARKS
from benchmarks.client import Endpoint, UnexpectedAnswer, all_of, for_seconds
from benchmarks.stage import SQLITE, WEB_THREADS
from benchmarks.table import Comparison, Figure, Target
from keeper_project.management.commands import run


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
        assert importlib.import_module(f"benchmarks.{name}").run is measure


def test_the_floor_is_served_by_as_many_threads_as_keeper() -> None:
    assert WEB_THREADS == run.WEB_THREADS


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


def test_a_ratio_says_how_many_times_better_keeper_is() -> None:
    assert comparison([200.0, 300.0, 100.0], [100.0, 100.0, 100.0]).ratio == 2
    assert comparison([5.0], [10.0], less_is_better=True).ratio == 2


def test_a_ratio_below_its_target_stands_in_bold() -> None:
    met, missed = comparison([10.0], [10.0]), comparison([9.0], [10.0])
    assert "**" not in table.markdown([met])
    assert "**0.90**" in table.markdown([missed])
    assert "**1.30**" in table.markdown([comparison([1.3], [1.0], target=Target(1.2, 1.0, at_most=True))])
    assert "**3.00**" in table.markdown([Figure("statements", SQLITE, 3, maximum=2)])


def test_the_chart_shows_each_ratio_that_has_a_target_and_is_xml() -> None:
    rows: list[table.Row] = [
        comparison([2.0], [1.0], work="<met>"),
        comparison([1e-9], [1.0]),
        comparison([1.0], [1.0], target=None),
        Figure("statements", SQLITE, 3, maximum=2),
    ]
    drawn = ET.fromstring(chart.svg(rows))
    bars = [bar for bar in drawn.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class") != "back"]
    assert [bar.get("class") for bar in bars] == ["met", "missed"]
    assert all(float(bar.get("width", "0")) > 0 for bar in bars)


def test_memory_is_that_of_a_process_and_its_children() -> None:
    own = idle.memory_mb(os.getpid())
    program = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        # It has its memory once it runs.
        child.stdout.readline()
        assert idle.memory_mb(os.getpid()) > own > idle.memory_mb(child.pid) > 0
        child.communicate(b"\n")


def test_it_writes_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write(document, "new")
    assert document.read_text() == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"
    document.write_text("no markers\n")
    with pytest.raises(ValueError, match="lacks the lines"):
        table.write(document, "new")
    assert document.read_text() == "no markers\n"
