"""The index of the admin: the group of each model, and counts of what needs attention in each group.

A count links to the list of exactly those rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse

from audit_app.admin_pages.filters import PARAMETER, attention_of
from audit_app.checkpoints import schedule as checkpoints_schedule
from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows
from operations_app.backup import service as backup


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
            "environments_app.Review",
            "environments_app.ReviewItem",
            "environments_app.Departure",
            "environments_app.ServiceToken",
            "environments_app.Trust",
            "environments_app.ProgramRelease",
            "environments_app.PersonalToken",
            "environments_app.Session",
            "environments_app.FailedSignIns",
            "environments_app.SecondFactor",
            "environments_app.Passkey",
            "environments_app.ConnectedSignIn",
            "environments_app.OidcProvider",
            "environments_app.OidcClientKey",
            "environments_app.SamlProvider",
            "environments_app.SamlGroupMapping",
            "environments_app.ScimClient",
            "environments_app.ProvisionedUser",
            "environments_app.ProvisionedGroup",
        ),
    ),
    Group(
        "secrets",
        "Environments, secrets and keys",
        (
            "environments_app.Environment",
            "secrets_app.Secret",
            "secrets_app.SecretVersion",
            "secrets_app.Reference",
            "secrets_app.Share",
            "secrets_app.WrappedRead",
            "secrets_app.DataKey",
            "secrets_app.WrappingKey",
            "secrets_app.KeyMigration",
            "secrets_app.KeyJob",
        ),
    ),
    Group(
        "sync",
        "Sync and rotation",
        (
            "sync_app.Target",
            "sync_app.SyncEntry",
            "sync_app.Run",
            "sync_app.Plan",
            "sync_app.PlanItem",
            "sync_app.ReferenceConsent",
            "sync_app.SyncPause",
            "sync_app.Migration",
            "sync_app.MountRule",
            "sync_app.RotationPolicy",
            "sync_app.Rotation",
            "sync_app.Acknowledgement",
        ),
    ),
    Group(
        "audit",
        "Audit log and reports",
        (
            "audit_app.AuditEvent",
            "auditlog.LogEntry",
            "environments_app.AuditJob",
            "audit_app.Checkpoint",
            "audit_app.SinkState",
            "environments_app.EventSink",
            "secrets_app.Sweep",
        ),
    ),
    Group(
        "system",
        "System",
        (
            "keeper_project.ExternalSystem",
            "keeper_project.ScheduledTask",
            "keeper_project.RunningProcess",
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
            "audit_app.UsageEntry",
            "audit_app.ManifestUse",
            "audit_app.SecretUse",
            "audit_app.UsagePosition",
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
            "secrets_app.DepartureValue",
            "secrets_app.Star",
            "secrets_app.VersionOrigin",
            "secrets_app.ChangePosition",
            "secrets_app.LastAsked",
            "sync_app.KeptCopy",
            "sync_app.MigrationLine",
            "sync_app.SourceCredentials",
        ),
    ),
)


def group_of(label: str) -> Group:
    """Return the group of a model; Internals for a model without an entry."""
    return next((group for group in GROUPS if label in group.models), GROUPS[-1])


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Something that needs an operator, and where it is listed; `count` is None where nothing is counted."""

    label: str
    tone: str
    url: str
    count: int | None = None


def attention_by_group(site: AdminSite, request: HttpRequest) -> dict[str, list[Counted]]:
    """Return what needs attention in each group; one statement for each condition of a page."""
    groups: dict[str, list[Counted]] = {"system": [*_backups(request)], "audit": [*_checkpoints()]}
    for model, page in site._registry.items():  # noqa: SLF001 - the site has no other list of its pages
        if page.has_view_permission(request):
            group = groups.setdefault(group_of(model._meta.label).key, [])
            group.extend(_of_page(site, page))
    return {key: sorted(rows, key=lambda each: each.tone != "bad") for key, rows in groups.items()}


def _of_page(site: AdminSite, page: Any) -> Iterator[Counted]:
    meta = page.model._meta
    url = reverse(f"{site.name}:{meta.app_label}_{meta.model_name}_changelist")
    for condition in attention_of(page):
        count = condition.rows(page.model._default_manager.order_by()).count()  # noqa: SLF001 - as Django's lists do
        if count:
            address = f"{url}?{PARAMETER}={condition.key}"
            yield Counted(label=condition.words(count), tone=condition.tone, url=address, count=count)


def _backups(request: HttpRequest) -> Iterator[Counted]:
    """Yield what is wrong with backups: files, of which the audit log records the verification."""
    url = reverse("backups")
    if backup.is_late(backup.last_success()):
        yield Counted(label="no recent backup", tone="bad", url=url)
    actor = principal_of(request)
    if not allows(actor, Action.BACKUP_VIEW, environment_id=None):
        return
    unverified = sum(not archive.sound for archive in backup.list_backups(actor=actor))
    if unverified:
        words = "backups not verified" if unverified > 1 else "backup not verified"
        yield Counted(label=words, tone="warn", url=url, count=unverified)


def _checkpoints() -> Iterator[Counted]:
    for problem in checkpoints_schedule.problems():
        yield Counted(label=problem, tone="bad", url=f"{reverse('admin-audit')}?tab=verification")
