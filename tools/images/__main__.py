"""Builds this tree's image and that of an earlier commit, and judges: `python -m tools.images [--previous COMMIT]`."""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools.images.bases import make_bases
from tools.images.engine import ROOT, Engine, Failed
from tools.images.proof import judge_image, judge_production, judge_upgrade, note

_IMAGE = "localhost/keeper-images:new"
_PREVIOUS = "localhost/keeper-images:previous"


def main() -> int:
    """Do all of it; return 1 where a demand is not met."""
    parser = argparse.ArgumentParser(prog="make images")
    parser.add_argument("--previous", default="", help="commit or tag to update from")
    parser.add_argument("--built", action="store_true", help="judge the images of the last run again")
    options = parser.parse_args()
    previous = options.previous or _previous()
    engine = Engine()
    try:
        if not options.built:
            _build(engine, previous)
        judge_image(engine, _IMAGE)
        judge_upgrade(engine, _PREVIOUS, _IMAGE)
        judge_production(engine, _IMAGE)
    except Failed as failure:
        note(str(failure))
        return 1
    note("all demands are met")
    return 0


def _build(engine: Engine, previous: str) -> None:
    make_bases(engine)
    note("the bases are here")
    with tempfile.TemporaryDirectory(prefix="previous-") as folder:
        _check_out(previous, Path(folder))
        engine.build(Path(folder), _PREVIOUS)
    note(f"the image of {previous} is built")
    engine.build(ROOT, _IMAGE)
    note("the image of this tree is built")


def _previous() -> str:
    """Return the release before this one, as pyproject.toml records it."""
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["keeper"]["previous"]
    return found


def _check_out(commit: str, folder: Path) -> None:
    archive = folder / "tree.tar"
    archive.write_bytes(
        subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    )
    subprocess.run(["tar", "-x", "-f", archive, "-C", folder], check=True)
    archive.unlink()


if __name__ == "__main__":
    sys.exit(main())
