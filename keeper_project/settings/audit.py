"""The audit log: where its checkpoints and events go, how long it stays, and the history of configuration."""

from core.config.variables import Group
from keeper_project.settings.installation import KEEPER_DATA_DIR

_audit = Group("Audit log", page="audit.md")
KEEPER_AUDIT_SINKS = _audit.several(
    "KEEPER_AUDIT_SINKS",
    ("file",),
    help="Where signed checkpoints go each minute: `file` (folder anchors in KEEPER_DATA_DIR), "
    "file:/DIRECTORY, "
    "s3://BUCKET/PREFIX?region=R&retain_days=N, syslog:, syslog+tls://HOST, https://HOST/PATH. Choose "
    "places that "
    "database administrators cannot write to, and at least one of the first three, which Keeper can read "
    "back.",
)
KEEPER_EVENT_SINKS = _audit.several(
    "KEEPER_EVENT_SINKS",
    help="Where each event goes after its commit, for a SIEM: file, file:/DIRECTORY, syslog:, "
    "syslog://HOST:601, syslog+tls://HOST, https://HOST/PATH, hec://HOST:8088, s3://BUCKET/PREFIX; with "
    "?format=json, cef or ocsf. Administrators add others in the admin, each with its credential.",
)
KEEPER_AUDIT_HTTP_TOKEN = _audit.text(
    "KEEPER_AUDIT_HTTP_TOKEN", help="Bearer token for HTTP sinks, and token for hec: sinks."
)
KEEPER_AUDIT_RETENTION_DAYS = _audit.whole(
    "KEEPER_AUDIT_RETENTION_DAYS",
    0,
    unit="days",
    help="Time that events stay in the database, at least 90. Older ones are sealed in a bundle once a "
    "month; "
    "reads, sign-ins and refusals of that time are then deleted. 0 keeps all.",
)
KEEPER_AUDIT_ARCHIVE_DIR = _audit.text(
    "KEEPER_AUDIT_ARCHIVE_DIR",
    unset="audit-archive in KEEPER_DATA_DIR",
    help="Folder for these bundles. Copy them elsewhere.",
) or str(KEEPER_DATA_DIR / "audit-archive")

AUDITLOG_INCLUDE_ALL_MODELS = False
# audit_app.middleware names actor and address; auditlog's own believes any X-Forwarded-For.
AUDITLOG_DISABLE_REMOTE_ADDR = True
# Sealed and hashed columns are left out by name; a system check refuses one that is forgotten.
AUDITLOG_INCLUDE_TRACKING_MODELS = [
    {"model": "environments_app.Environment", "exclude_fields": ["row_mac"]},
    {"model": "environments_app.Membership", "exclude_fields": ["row_mac"]},
    {"model": "environments_app.SamlGroupMapping", "exclude_fields": ["row_mac"]},
    {"model": "environments_app.GroupMember", "exclude_fields": ["row_mac"]},
    {
        "model": "environments_app.ServiceToken",
        "exclude_fields": ["row_mac", "secret_hash", "last_used_at", "last_used_address"],
    },
    {
        "model": "environments_app.Trust",
        "exclude_fields": ["row_mac", "last_used_at", "last_refused_at", "last_refusal"],
    },
    {"model": "environments_app.User", "exclude_fields": ["row_mac", "password", "last_login"]},
    {"model": "environments_app.Recipient", "exclude_fields": ["row_mac"]},
    {"model": "secrets_app.Webhook", "exclude_fields": ["row_mac", "sealed", "data_key"]},
    {"model": "auth.Group", "exclude_fields": [], "m2m_fields": ["permissions"]},
    {
        "model": "sync_app.Target",
        "exclude_fields": [
            "row_mac",
            "credentials",
            "data_key",
            "due_at",
            "last_success_at",
            "last_failure_at",
            "last_error",
            "failures",
            "updated_at",
        ],
    },
    {
        "model": "sync_app.RotationPolicy",
        "exclude_fields": ["row_mac", "credentials", "data_key", "due_at", "last_rotated_at", "updated_at"],
    },
]
