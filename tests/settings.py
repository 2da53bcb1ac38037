"""Keeper's settings in the environment of the suite; variables that are set win, as those of `tests.servers` do."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests.servers.__main__ import installation

if "KEEPER_DATA_DIR" not in os.environ:
    os.environ["KEEPER_DATA_DIR"] = tempfile.mkdtemp(prefix="keeper-tests-")
    atexit.register(shutil.rmtree, os.environ["KEEPER_DATA_DIR"], ignore_errors=True)
for name, value in installation(Path(os.environ["KEEPER_DATA_DIR"])).items():
    os.environ.setdefault(name, value)
# What a test starts has the settings of the product.
os.environ["DJANGO_SETTINGS_MODULE"] = "keeper_project.settings"

from keeper_project.settings import *  # noqa: E402, F403
