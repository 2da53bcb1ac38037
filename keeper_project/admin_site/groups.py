"""The groups of the admin's index: in which one each model is."""

from typing import Final, NamedTuple


class Group(NamedTuple):
    """A group of the index; `models` are labels in the order of the index."""

    key: str
    name: str
    models: tuple[str, ...]


INTERNALS: Final = "internals"
# What lists of other projects are called here.
NAMES: Final = {"auditlog.LogEntry": "Configuration history"}
GROUPS: Final = (
    Group(
        "people",
        "People and access",
        (
            "environments_app.User",
            "auth.Group",
            "environments_app.GroupMember",
            "environments_app.Membership",
            "environments_app.AccessRequest",
            "environments_app.Approval",
            "environments_app.ApprovalEntry",
            "environments_app.AccessConfirmation",
            "environments_app.ServiceToken",
            "environments_app.Trust",
            "environments_app.PersonalToken",
            "environments_app.Session",
            "environments_app.FailedSignIns",
            "environments_app.SecondFactor",
            "environments_app.Passkey",
            "environments_app.SamlProvider",
            "environments_app.SamlGroupMapping",
        ),
    ),
    Group(
        "environments",
        "Environments and keys",
        (
            "environments_app.Environment",
            "secrets_app.DataKey",
            "secrets_app.WrappingKey",
            "secrets_app.KeyMigration",
            "secrets_app.KeyJob",
        ),
    ),
    Group(
        "secrets",
        "Secrets",
        (
            "secrets_app.Secret",
            "secrets_app.SecretVersion",
            "secrets_app.Reference",
            "secrets_app.Share",
        ),
    ),
    Group(
        "sync",
        "Sync",
        (
            "sync_app.Target",
            "sync_app.SyncEntry",
            "sync_app.Run",
            "sync_app.Plan",
            "sync_app.PlanItem",
            "sync_app.ReferenceConsent",
            "sync_app.SyncPause",
        ),
    ),
    Group(
        "rotation",
        "Rotation",
        ("sync_app.RotationPolicy", "sync_app.Rotation", "sync_app.Acknowledgement"),
    ),
    Group(
        "audit",
        "Audit and compliance",
        (
            "audit_app.AuditEvent",
            "auditlog.LogEntry",
            "environments_app.AuditJob",
            "audit_app.Checkpoint",
            "audit_app.SinkState",
            "secrets_app.Sweep",
        ),
    ),
    Group(
        "system",
        "System",
        (
            "keeper_project.ExternalSystem",
            "keeper_project.ScheduledTask",
            "keeper_project.BackupRequest",
            "environments_app.Alert",
            "environments_app.Delivery",
            "environments_app.Recipient",
            "secrets_app.Webhook",
            "audit_app.Installation",
        ),
    ),
    Group(
        INTERNALS,
        "Internals",
        (
            "audit_app.Deployment",
            "audit_app.ReadManifest",
            "audit_app.ReadManifestItem",
            "audit_app.RefusalCount",
            "audit_app.SavedView",
            "audit_app.SearchEntry",
            "audit_app.SearchPosition",
            "audit_app.StreamCursor",
            "audit_app.StreamHead",
            "environments_app.DeviceSignIn",
            "environments_app.KnownNetwork",
            "environments_app.PasswordLink",
            "environments_app.UsedJwt",
            "environments_app.PersonalSettings",
            "environments_app.SamlAssertion",
            "secrets_app.EnvironmentSnapshot",
            "secrets_app.PendingValue",
            "secrets_app.Star",
            "sync_app.KeptCopy",
        ),
    ),
)


def group_of(label: str) -> Group:
    """Return the group of a model; Internals for a model without an entry."""
    return next((group for group in GROUPS if label in group.models), GROUPS[-1])
