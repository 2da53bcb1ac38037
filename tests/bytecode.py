"""Compiled modules are kept below .venv, whatever the environment says about writing them.

The suite starts hundreds of Python processes. Where PYTHONDONTWRITEBYTECODE is set, as containers do, each
would compile Django, boto3 and Keeper anew: 2.6 s of CPU instead of 0.9 s before its first line.
"""

import os
import sys
from typing import Final

# An empty variable is as good as none to Python.
VARIABLES: Final = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{sys.prefix}/pycache"}


def keep() -> None:
    """Keep what this process and its children compile."""
    os.environ.update(VARIABLES)
    sys.dont_write_bytecode = False
    sys.pycache_prefix = VARIABLES["PYTHONPYCACHEPREFIX"]
