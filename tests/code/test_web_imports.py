"""What a web process loads at its start: nothing that few requests need."""

import os
import subprocess
import sys
from pathlib import Path

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
