"""The errors of the project itself; api_errors maps them, and those of all apps, to HTTP."""


class KeeperError(Exception):
    """The base of everything that keeper_project raises on purpose."""


class BadQuery(KeeperError):
    """A query parameter is unknown or is not what it can be; `reason` repeats no input."""

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter
        self.reason = reason
