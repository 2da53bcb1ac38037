"""kpr, the client of Keeper: runs programs with their secrets."""

import sys

# First, before a module that older Pythons do not understand; in words that each of them does.
if sys.version_info < (3, 10):  # noqa: UP036 - the archive and a checkout reach it with any Python
    sys.exit(
        f"kpr needs Python 3.10 or newer, and this is Python {sys.version_info[0]}.{sys.version_info[1]}: "
        "install a newer one, and start kpr with it, for example: python3.11 kpr.pyz"
    )

__version__ = "0.1.0"
# The newest level of the API that this client was written for (GET /api/version).
API_LEVEL = 1
