"""Why an export of everything is refused or ends."""

from core.errors import KeeperError


class ExportError(KeeperError):
    """It cannot be written as it was asked for; nothing is there under its name."""
