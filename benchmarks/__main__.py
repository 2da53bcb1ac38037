"""Runs the benchmarks and prints their table: `python -m benchmarks [NAME …] [--quick] [--write] …`."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import idle, memory
from benchmarks.lists import long_list
from benchmarks.measuring import conditions, table
from benchmarks.measuring.scale import BY_ID, BY_NAME, PEERS, QUICK, USUAL, Scale
from benchmarks.measuring.stage import MARIADB, SQLITE, Stage
from benchmarks.measuring.table import Row
from benchmarks.reads import one_secret, polling, protocols, whole_environment
from benchmarks.servers import ROOT
from benchmarks.sync import fan_out, sync_push
from benchmarks.writes import audit_append, bulk_creation, one_write, resealing
from tests.servers.__main__ import stops

DOCUMENT = ROOT / "benchmarks" / "results" / "README.md"
DATABASES = {SQLITE.lower(): SQLITE, MARIADB.lower(): MARIADB}
# Those over many secrets come first, and among them `memory` last: it starts these Keepers again, with their
# worker.
BENCHMARKS: dict[str, Callable[[Stage, Scale], list[Row]]] = {
    "one_secret": one_secret.run,
    "one_write": one_write.run,
    "protocols": protocols.run,
    "polling": polling.run,
    "long_list": long_list.run,
    "memory": memory.run,
    "whole_environment": whole_environment.run,
    "bulk_creation": bulk_creation.run,
    "resealing": resealing.run,
    "sync_push": sync_push.run,
    "fan_out": fan_out.run,
    "audit_append": audit_append.run,
    "idle": idle.run,
}


def main() -> int:
    """Run what the arguments choose."""
    options = _parser().parse_args()
    scale = _scale(options)
    databases = [DATABASES[name] for name in options.database or DATABASES]
    names = [name for name in BENCHMARKS if name in (options.names or BENCHMARKS)]
    load_before = os.getloadavg()[0]
    stops.heed()
    with tempfile.TemporaryDirectory(prefix="keeper-bench-", ignore_cleanup_errors=True) as directory:
        conditions.require_disk(Path(directory))
        with Stage(Path(directory), databases) as stage:
            rows = [row for name in names for row in _rows(name, stage, scale, alone=len(names) == 1)]
        heading = conditions.heading(Path(directory), load_before)
    text = f"{heading}\n\n{table.markdown(rows)}"
    sys.stdout.write(text + "\n")
    if options.write:
        table.write(DOCUMENT, text)
    return 0


def _rows(name: str, stage: Stage, scale: Scale, *, alone: bool) -> list[Row]:
    """Run one benchmark; beside others its rows are printed at once, for a run that ends early."""
    started = time.monotonic()
    found = BENCHMARKS[name](stage, scale)
    if not alone:
        sys.stderr.write(table.markdown(found) + "\n")
    sys.stderr.write(f"{name}: {time.monotonic() - started:.0f} s\n")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", choices=[[], *BENCHMARKS], help=", ".join(BENCHMARKS)
    )
    parser.add_argument("--database", action="append", type=str.lower, choices=[*DATABASES])
    parser.add_argument("--secrets", action="append", type=int, help="over how many single values are read")
    parser.add_argument("--seconds", type=float, help="of each competitor, in all rounds together (5)")
    parser.add_argument("--rounds", type=int, help="how often each has its turn (5)")
    parser.add_argument("--clients", action="append", type=int, help="for single values (1 and 8)")
    parser.add_argument("--peer", action="append", choices=PEERS, help="for single values (both)")
    parser.add_argument("--by", action="append", choices=[BY_ID, BY_NAME], help="how single values are read")
    parser.add_argument("--quick", action="store_true", help="prove that they run; the ratios mean little")
    parser.add_argument(
        "--write", action="store_true", help=f"put the table into {DOCUMENT.relative_to(ROOT)}"
    )
    parser.epilog = "All options but --quick, --write and the single numbers are repeatable."
    return parser


def _scale(options: argparse.Namespace) -> Scale:
    usual = QUICK if options.quick else USUAL
    rounds = options.rounds or usual.rounds
    return replace(
        usual,
        rounds=rounds,
        seconds=options.seconds / rounds if options.seconds else usual.seconds,
        sizes=tuple(options.secrets or usual.sizes),
        peers=tuple(options.peer or usual.peers),
        clients=tuple(options.clients or usual.clients),
        ways=tuple(options.by or usual.ways),
    )


if __name__ == "__main__":
    sys.exit(main())
