"""kpr, the client of Keeper: runs programs with their secrets."""

__version__ = "0.1.0"
# The newest level of the API that this client was written for (GET /api/version).
API_LEVEL = 1
