"""What can be wrong with a backup, or with the place that it is restored to."""

from core.errors import KeeperError


class BackupError(KeeperError):
    """The base of everything that backing up and restoring raise on purpose."""


class Malformed(BackupError):
    """The file is no backup of a format that this release knows."""


class Truncated(BackupError):
    """The file ends before the backup does."""


class Altered(BackupError):
    """Something in the file is not what was written."""


class KeyMissing(BackupError):
    """A key that the backup needs cannot be used here."""


class OtherRelease(BackupError):
    """The backup was made by a release whose tables are not those of this one."""


class Incomplete(BackupError):
    """The rows that came out are not those that the manifest counts."""


class Damaged(BackupError):
    """The backup is genuine and holds damage that its installation had."""


class NotEmpty(BackupError):
    """The database to restore to holds an installation."""


class InUse(BackupError):
    """Processes of Keeper use the database that is to be replaced."""


class RestoreFailed(BackupError):
    """The database does not take what the backup holds."""


class Unwritable(BackupError):
    """A file, or its folder, does not take what has to be written."""
