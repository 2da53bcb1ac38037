"""How long secrets stay, and how often they are checked."""

from keeper_project.config.variables import Group

_secrets = Group("Secrets")
KEEPER_DELETED_RETENTION_DAYS = _secrets.whole(
    "KEEPER_DELETED_RETENTION_DAYS",
    30,
    unit="days",
    help="Time in which a deleted secret can be restored before it is destroyed. 0 keeps it without limit.",
)
KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS = _secrets.whole(
    "KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS",
    24,
    unit="hours",
    help="Time between integrity scans, which decrypt every stored value and compare it with the audit log. "
    "0 disables them.",
)
