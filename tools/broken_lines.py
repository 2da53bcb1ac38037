"""Breaks chosen lines of Keeper, one at a time, and proves that the suite notices each: `make broken-lines`.

A test that passes on broken code asserts nothing. The entries are in `broken_lines.toml`. The tree that is broken
is a copy.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_TIMEOUT_SECONDS: Final = 400


@dataclass(frozen=True, kw_only=True)
class Break:
    """A line, its replacement, and the tests that notice; `also` is a second pair of them."""

    what: str
    file: str
    line: str
    broken: str
    tests: str
    also: list[str] | None = None

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """What is replaced by what."""
        return [(self.line, self.broken), *([(self.also[0], self.also[1])] if self.also else [])]


BREAKS: Final = [
    Break(**row) for row in tomllib.loads((ROOT / "tools/broken_lines.toml").read_text())["break"]
]


def misplaced() -> list[str]:
    """Return what is broken nowhere or at several places, because the code has changed."""
    return [
        f"{each.what}: {line!r} is {count} times in {each.file}"
        for each in BREAKS
        for line, _ in each.replacements
        if (count := (ROOT / each.file).read_text().count(line)) != 1
    ]


def main() -> int:
    """Break the lines whose description holds each given word; print what noticed; 1 if something did not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="words of the descriptions (all lines)")
    words = parser.parse_args().words
    if drift := misplaced():
        sys.stderr.write("\n".join(drift) + "\n")
        return 1
    wanted = [each for each in BREAKS if all(word in each.what for word in words)]
    with tempfile.TemporaryDirectory(prefix="keeper-broken-") as directory:
        tree = _copy(Path(directory))
        failing = [tests for tests in sorted({each.tests for each in wanted}) if _run(tree, tests) != 0]
        if failing:
            sys.stderr.write("these fail before anything is broken:\n" + "\n".join(failing) + "\n")
            return 1
        unnoticed = [each for each in wanted if not _is_noticed(tree, each)]
    sys.stdout.write(f"{len(wanted) - len(unnoticed)} of {len(wanted)} noticed\n")
    return 1 if unnoticed else 0


def _copy(directory: Path) -> Path:
    """Return a copy of the tree, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    tree = directory / "keeper"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def _is_noticed(tree: Path, broken: Break) -> bool:
    """Run the tests of a break on the broken tree; a run that cannot begin notices nothing."""
    path = tree / broken.file
    whole = path.read_text()
    text = whole
    for line, replacement in broken.replacements:
        text = text.replace(line, replacement)
    path.write_text(text)
    try:
        code = _run(tree, broken.tests)
    finally:
        path.write_text(whole)
    # 1 is that of tests that failed; any other means that they did not run.
    noticed = code == 1
    found = "noticed" if noticed else f"NOT NOTICED (pytest ended with {code})"
    sys.stdout.write(f"{found}: {broken.what}\n")
    sys.stdout.flush()
    return noticed


def _run(tree: Path, tests: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    done = subprocess.run(
        command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, timeout=_TIMEOUT_SECONDS,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
