"""The errors of the project itself; api_errors maps them, and those of all apps, to HTTP."""


class KeeperError(Exception):
    """The base of everything that keeper_project raises on purpose."""
