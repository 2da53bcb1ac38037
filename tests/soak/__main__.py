"""Soaks a Keeper and prints a line a minute and a summary: `python -m tests.soak --minutes 120`.

Exits with 1 if anything was not as it should be. The seed decides what is killed when.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.servers.__main__ import Stopped, stops
from tests.soak.story import Soak


def main() -> int:
    """Soak for as long as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--kill-every", type=float, default=300, help="seconds between two kills (300)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--pace", type=float, default=1.0, help="1: about eight requests a second; 2: half of it"
    )
    options = parser.parse_args()
    stops.heed()
    soak = Soak(options.minutes * 60, options.kill_every, options.seed, _say, options.pace)
    with tempfile.TemporaryDirectory(prefix="keeper-soak-", ignore_cleanup_errors=True) as directory:
        try:
            problems = soak.run(Path(directory))
        except Stopped:
            return 1
    for problem in problems:
        _say(f"PROBLEM: {problem}")
    _say(f"{len(problems)} problems" if problems else "The soak held: 0 problems.")
    return 1 if problems else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
