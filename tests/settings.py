"""Keeper's settings in the environment of the suite; variables that are set win, as those of `tests.servers` do."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.servers.__main__ import installation

if "KEEPER_DATA_DIR" not in os.environ:
    os.environ["KEEPER_DATA_DIR"] = tempfile.mkdtemp(prefix="keeper-tests-")
    atexit.register(shutil.rmtree, os.environ["KEEPER_DATA_DIR"], ignore_errors=True)
for name, value in installation(Path(os.environ["KEEPER_DATA_DIR"])).items():
    os.environ.setdefault(name, value)
# What a test starts has the settings of the product.
os.environ["DJANGO_SETTINGS_MODULE"] = "keeper_project.settings"

from keeper_project.settings import *  # noqa: E402, F403

# A file: connections to one database in memory fail where others wait for each other. Kept where there is no disk.
_default: dict[str, Any] = DATABASES["default"]  # noqa: F405
if _default["ENGINE"] == "core.db.sqlite3":
    _folder = tempfile.mkdtemp(
        prefix="keeper-tests-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    )
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    # Which of two tests finds the connection too old would be a matter of time.
    _default["CONN_MAX_AGE"] = None
    _default["TEST"] = {"NAME": f"{_folder}/keeper.db"}
