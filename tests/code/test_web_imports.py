"""What a web process loads at its start: nothing that few requests need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Each takes seconds of a start, or tens of megabytes, and is needed by few requests if any.
RARELY_NEEDED = {"boto3", "moto", "psycopg", "pytest", "saml2"}
PROBE = "import sys, keeper_project.wsgi, keeper_project.urls; print(*sys.modules)"


def test_a_web_process_loads_nothing_that_it_rarely_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**os.environ, "KEEPER_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "KEEPER_LOG_FILE": "-"},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "keeper_project" in loaded
    assert not loaded & (RARELY_NEEDED)


# Pages, backends and the OpenAPI document: half of the CPU of a short command.
OF_PAGES = {
    "keeper_project.urls",
    "operations_app.admin",
    "sync_app.backends.registry",
    "drf_spectacular.plumbing",
}
COMMAND = """
import atexit, sys
sys.argv = ["keeper", *{arguments!r}]
atexit.register(lambda: print("LOADED", *sys.modules))
from keeper_project.runtime.cli import main
main()
"""


@pytest.mark.parametrize(
    "arguments", [["status", "--help"], ["tokens", "--help"], ["verify-audit", "--help"]]
)
def test_a_command_loads_neither_pages_nor_backends(tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.format(arguments=arguments)],
        env={**os.environ, "KEEPER_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "KEEPER_LOG_FILE": "-"},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "keeper_project.runtime.cli" in loaded
    assert not loaded & OF_PAGES
