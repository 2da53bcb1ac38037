"""Every model comes back from a backup, or is left out for a reason; what acts waits for its release.

A new model fails here until somebody has said what a restore makes of it.
"""

from pathlib import Path
from typing import Final

import pytest
from django.apps import apps
from django.db.models import Model
from pytest_django import Settings

from audit_app.integrity.check_registry import run_checks
from environments_app.access_requests import service as access_requests
from environments_app.environments import memberships
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded
from environments_app.models import AccessRequest, Approval
from environments_app.notifications.recipients import add_recipient
from environments_app.tests.cast import Cast
from operations_app.backup.archive import rows
from operations_app.backup.create import back_up
from operations_app.backup.restore import restore, suspendables
from operations_app.tests.backup.making import OPERATOR, furnish
from secrets_app.errors import ShareEnded
from secrets_app.models import PendingValue, Secret, Share
from secrets_app.services import write
from secrets_app.services.share import open_share, share_once
from secrets_app.webhooks import add_webhook
from sync_app.models import RotationPolicy, Target
from sync_app.rotation.execution.consumers import acknowledge
from sync_app.rotation.policies import service as policies
from sync_app.targets import consents
from sync_app.tests.shown import make_plan, make_run

AS_IT_WAS: Final = "as it was"
SUSPENDED: Final = "suspended until it is released"
ANEW: Final = "as it was, and the restore adds to it"
ENDED: Final = "ended by the restore"
# Left out, each for a reason.
SESSIONS: Final = "left out: whoever was signed in may not be any more"
CACHED: Final = "left out: the next reads make it again"
FOLLOWS: Final = "left out: a worker fills it again"

# What a restore makes of the rows of each model.
FATE: Final[dict[str, str]] = {
    "audit_app.AuditEvent": ANEW,
    "audit_app.Checkpoint": AS_IT_WAS,
    "audit_app.Deployment": AS_IT_WAS,
    "audit_app.Installation": ENDED,
    "audit_app.ReadManifest": AS_IT_WAS,
    "audit_app.ReadManifestItem": AS_IT_WAS,
    "audit_app.RefusalCount": AS_IT_WAS,
    "audit_app.SearchEntry": FOLLOWS,
    "audit_app.SearchPosition": FOLLOWS,
    "audit_app.UsageEntry": FOLLOWS,
    "audit_app.ManifestUse": FOLLOWS,
    "audit_app.SecretUse": FOLLOWS,
    "audit_app.UsagePosition": FOLLOWS,
    "audit_app.SinkState": AS_IT_WAS,
    "audit_app.StreamCursor": AS_IT_WAS,
    "audit_app.StreamHead": ANEW,
    "audit_app.SavedView": AS_IT_WAS,
    "auditlog.LogEntry": ANEW,
    "admin.LogEntry": AS_IT_WAS,
    "auth.Group": AS_IT_WAS,
    "auth.Group_permissions": AS_IT_WAS,
    "auth.Permission": AS_IT_WAS,
    "contenttypes.ContentType": AS_IT_WAS,
    "environments_app.AccessConfirmation": AS_IT_WAS,
    # Open ones wait for a manager's decision, as before.
    "environments_app.AccessRequest": AS_IT_WAS,
    "environments_app.Alert": AS_IT_WAS,
    # Whoever approved it must still be allowed to, which no suspended membership is.
    "environments_app.Approval": AS_IT_WAS,
    "environments_app.ApprovalEntry": AS_IT_WAS,
    "environments_app.Departure": AS_IT_WAS,
    "environments_app.Delivery": ENDED,
    "environments_app.DeviceSignIn": SESSIONS,
    "environments_app.Environment": AS_IT_WAS,
    "environments_app.FailedSignIns": AS_IT_WAS,
    "environments_app.GroupMember": AS_IT_WAS,
    "environments_app.KnownNetwork": AS_IT_WAS,
    # Sent nothing before somebody activates the installation.
    "environments_app.EventSink": AS_IT_WAS,
    "environments_app.Membership": SUSPENDED,
    "environments_app.OidcProvider": AS_IT_WAS,
    "environments_app.PasswordLink": SESSIONS,
    "environments_app.PersonalSettings": AS_IT_WAS,
    # One of days ago is dropped.
    "environments_app.AuditJob": AS_IT_WAS,
    "environments_app.PersonalToken": SUSPENDED,
    # It may have been ended after the backup.
    "environments_app.ProgramRelease": SUSPENDED,
    "environments_app.ProvisionedGroup": AS_IT_WAS,
    "environments_app.ProvisionedUser": AS_IT_WAS,
    "environments_app.ScimClient": AS_IT_WAS,
    # Told of nothing before somebody activates the installation.
    "environments_app.Recipient": AS_IT_WAS,
    # Open ones go on: what was ended since and is back has to be decided again.
    "environments_app.Review": AS_IT_WAS,
    "environments_app.ReviewItem": AS_IT_WAS,
    "environments_app.SamlAssertion": AS_IT_WAS,
    "environments_app.SamlGroupMapping": SUSPENDED,
    "environments_app.SamlProvider": AS_IT_WAS,
    "environments_app.ConnectedSignIn": AS_IT_WAS,
    "environments_app.OidcClientKey": AS_IT_WAS,
    "environments_app.Passkey": AS_IT_WAS,
    "environments_app.SecondFactor": AS_IT_WAS,
    "environments_app.ServiceToken": SUSPENDED,
    "environments_app.Session": SESSIONS,
    "environments_app.Trust": SUSPENDED,
    "environments_app.UsedJwt": AS_IT_WAS,
    "environments_app.User": AS_IT_WAS,
    "sessions.Session": SESSIONS,
    # One of days ago is dropped.
    "keeper_project.BackupRequest": AS_IT_WAS,
    "keeper_project.ExternalSystem": AS_IT_WAS,
    # They are long over.
    "keeper_project.RunningProcess": AS_IT_WAS,
    "keeper_project.ScheduledTask": AS_IT_WAS,
    "secrets_app.DataKey": AS_IT_WAS,
    "secrets_app.DepartureValue": AS_IT_WAS,
    "secrets_app.EnvironmentSnapshot": CACHED,
    "secrets_app.KeyJob": AS_IT_WAS,
    "secrets_app.KeyMigration": AS_IT_WAS,
    "secrets_app.PendingValue": AS_IT_WAS,
    "secrets_app.Reference": AS_IT_WAS,
    "secrets_app.Secret": AS_IT_WAS,
    "secrets_app.SecretVersion": AS_IT_WAS,
    # It may have been opened after the backup, and opens once.
    "secrets_app.Share": SUSPENDED,
    "secrets_app.Star": AS_IT_WAS,
    "secrets_app.VersionOrigin": AS_IT_WAS,
    "secrets_app.ChangePosition": AS_IT_WAS,
    "secrets_app.LastAsked": AS_IT_WAS,
    # It may have been unwrapped after the backup.
    "secrets_app.WrappedRead": SUSPENDED,
    "secrets_app.Sweep": AS_IT_WAS,
    "secrets_app.Webhook": AS_IT_WAS,
    "secrets_app.WrappingKey": AS_IT_WAS,
    "sync_app.Acknowledgement": AS_IT_WAS,
    "sync_app.KeptCopy": AS_IT_WAS,
    # A plan compares again with both sides; it overwrites nothing.
    "sync_app.Migration": AS_IT_WAS,
    "sync_app.MigrationLine": AS_IT_WAS,
    "sync_app.MountRule": AS_IT_WAS,
    "sync_app.SourceCredentials": AS_IT_WAS,
    # Carried out by nobody while the target is paused.
    "sync_app.Plan": AS_IT_WAS,
    "sync_app.PlanItem": AS_IT_WAS,
    "sync_app.ReferenceConsent": AS_IT_WAS,
    "sync_app.Rotation": AS_IT_WAS,
    "sync_app.RotationPolicy": SUSPENDED,
    "sync_app.Run": AS_IT_WAS,
    "sync_app.SyncEntry": AS_IT_WAS,
    "sync_app.SyncPause": AS_IT_WAS,
    "sync_app.Target": SUSPENDED,
}


@pytest.fixture(autouse=True)
def _here(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"


def every_model() -> list[type[Model]]:
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    ]


def test_every_model_has_its_fate() -> None:
    assert {rows.label(model) for model in every_model()} == FATE.keys()


def test_what_is_not_left_out_is_in_a_backup() -> None:
    kept = {label for label, fate in FATE.items() if fate not in {SESSIONS, CACHED, FOLLOWS}}
    assert {rows.label(model) for model in rows.tables()} == kept


def test_what_is_said_to_be_suspended_is() -> None:
    said = {label for label, fate in FATE.items() if fate == SUSPENDED}
    assert {rows.label(each._model) for each in suspendables()} == said


def fill(cast: Cast) -> str:
    """Make something of what came after backups did, waiting and half done; return a share's link."""
    alice = cast.principal(cast.alice)
    furnish(cast)
    secret = Secret.objects.select_related("environment").get(name="payments/key")
    _, link = share_once(actor=alice, secret=secret)
    add_webhook(actor=alice, environment=cast.development, name="chat", url="https://hooks.example/a")
    add_recipient(actor=alice, environment=cast.development, email="team@example.com")
    acknowledge(actor=alice, secret=secret, number=1)
    target = Target.objects.get()
    consents.give_consent(actor=alice, environment=cast.production, target=target)
    make_run(target, state="queued", plan=make_plan(target))
    policies.create(
        actor=alice, secret=secret, rotator="generated", settings={}, credentials={}, grace_seconds=0
    )
    access_requests.submit(
        actor=cast.principal(cast.charlie),
        environment="development",
        role="reader",
        minutes=60,
        reason="look",
    )
    memberships.grant(actor=alice, environment=cast.production, user=cast.erin, role="manager")
    environments.update_environment(actor=alice, environment=cast.production, protected=True)
    other = Secret.objects.select_related("environment").get(name="other")
    with pytest.raises(ApprovalNeeded):
        write.update(actor=alice, secret=other, value="proposed")
    return link


@pytest.mark.every_database
def test_what_waits_comes_back_and_nothing_of_it_acts(cast: Cast, tmp_path: Path) -> None:
    link = fill(cast)
    before = {rows.label(model): list(rows.lines(model)) for model in rows.tables()}
    filled = {label for label, lines in before.items() if len(lines) > 1}
    made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    restore(made, replace=True)
    after = {rows.label(model): list(rows.lines(model)) for model in rows.tables()}
    for label in filled:
        if FATE[label] == AS_IT_WAS:
            assert after[label] == before[label], label
        elif FATE[label] == SUSPENDED:
            assert len(after[label]) == len(before[label]), label
            assert after[label] != before[label], label
    assert [problem.object for problem in run_checks()] == []
    assert all(each.acting() == 0 for each in suspendables())
    # It had waited, and waits still.
    assert AccessRequest.objects.get().state == "asked"
    assert Approval.objects.get().state == "asked"
    assert PendingValue.objects.count() == 1
    assert RotationPolicy.objects.get().suspended_at is not None
    with pytest.raises(ShareEnded):
        open_share(actor=cast.principal(cast.bob), link=link)
    # Not by the sharer's right alone, which somebody may give back.
    assert Share.objects.get().revoked_at is not None
