"""Runs the benchmarks and prints their table: `python -m benchmarks [--only NAME] [--quick] [--write] …`."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    audit_append,
    bulk_creation,
    chart,
    idle,
    load,
    long_list,
    long_pages,
    one_secret,
    one_write,
    resealing,
    rewrapping,
    sync_push,
    table,
    whole_environment,
    write_among_many,
)
from benchmarks.scale import QUICK, USUAL, Scale
from benchmarks.stage import MARIADB, ROOT, SQLITE, Stage
from benchmarks.table import Row

DOCUMENT = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "images" / "performance.svg"
# The long lists come last: they leave a hundred thousand secrets and a million events behind.
BENCHMARKS: dict[str, Callable[[Stage, Scale], list[Row]]] = {
    "one_secret": one_secret.run,
    "one_write": one_write.run,
    "write_among_many": write_among_many.run,
    "whole_environment": whole_environment.run,
    "bulk_creation": bulk_creation.run,
    "resealing": resealing.run,
    "rewrapping": rewrapping.run,
    "sync_push": sync_push.run,
    "audit_append": audit_append.run,
    "idle": idle.run,
    "load": load.run,
    "long_list": long_list.run,
    "long_pages": long_pages.run,
}


def main() -> int:
    """Run what the arguments choose."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(BENCHMARKS), help="repeatable")
    parser.add_argument("--database", action="append", choices=[SQLITE, MARIADB], help="repeatable")
    parser.add_argument("--quick", action="store_true", help="prove that they run; the ratios mean little")
    parser.add_argument(
        "--write", action="store_true", help=f"put table and chart into {DOCUMENT.relative_to(ROOT)}"
    )
    parser.add_argument("--listed", type=int, help="how many secrets the long lists hold (100,000)")
    options = parser.parse_args()
    scale = QUICK if options.quick else USUAL
    if options.listed:
        scale = replace(scale, listed=options.listed)
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="keeper-bench-", ignore_cleanup_errors=True) as directory,
        Stage(Path(directory), options.database or [SQLITE, MARIADB]) as stage,
    ):
        for name in [name for name in BENCHMARKS if name in (options.only or BENCHMARKS)]:
            started = time.monotonic()
            found = BENCHMARKS[name](stage, scale)
            rows += found
            # At once, so that a run which ends early has told what it found.
            sys.stderr.write(f"{table.markdown(found)}\n{name}: {time.monotonic() - started:.0f} s\n")
    text = table.markdown(rows)
    sys.stdout.write(text + "\n")
    if options.write:
        table.write(DOCUMENT, text)
        chart.write(CHART, chart.svg(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
