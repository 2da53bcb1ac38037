"""Who may do what in the admin and by commands: each model, act and command, against one table.

Beside the tables of routes and pages (test_access_matrix.py), which these complete. What is added
without an entry fails.
"""

from typing import Final

import pytest
from django.contrib import admin
from django.core.management import get_commands
from django.test import Client, RequestFactory
from django.urls import reverse

from environments_app.tests.cast import Cast

_APPS: Final = {"audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project"}

# What an administrator may do besides looking. Nobody else gets in at all.
ACTS: Final[dict[str, set[str]]] = {
    "audit_app.AuditEvent": set(),
    "audit_app.Checkpoint": set(),
    "audit_app.Deployment": set(),
    "audit_app.Installation": set(),
    "audit_app.ReadManifest": set(),
    "audit_app.ReadManifestItem": set(),
    "audit_app.RefusalCount": set(),
    "audit_app.SinkState": set(),
    "audit_app.StreamCursor": set(),
    "audit_app.StreamHead": set(),
    "auditlog.LogEntry": set(),
    "auth.Group": {"add", "delete"},
    "environments_app.AccessConfirmation": set(),
    "environments_app.AccessRequest": set(),
    "environments_app.Alert": set(),
    "environments_app.Approval": set(),
    "environments_app.Delivery": set(),
    "environments_app.Environment": {"add", "change"},
    "environments_app.FailedSignIns": set(),
    "environments_app.GroupMember": {"add", "delete"},
    "environments_app.Membership": {"add", "change", "delete"},
    "environments_app.PersonalSettings": set(),
    "environments_app.Recipient": set(),
    "environments_app.SamlAssertion": set(),
    "environments_app.SamlGroupMapping": {"add", "delete"},
    "environments_app.SamlProvider": set(),
    "environments_app.SecondFactor": set(),
    "environments_app.ServiceToken": {"delete", "revoke"},
    "environments_app.Session": set(),
    "environments_app.User": {"add", "change", "disable"},
    "keeper_project.ExternalSystem": set(),
    "secrets_app.DataKey": {"check_now"},
    "secrets_app.KeyMigration": set(),
    "secrets_app.PendingValue": set(),
    "secrets_app.Reference": set(),
    "secrets_app.Secret": {"add", "change", "delete"},
    "secrets_app.SecretVersion": set(),
    "secrets_app.Share": set(),
    "secrets_app.Sweep": set(),
    "secrets_app.Webhook": set(),
    "secrets_app.WrappingKey": set(),
    "sync_app.Acknowledgement": set(),
    "sync_app.Plan": set(),
    "sync_app.PlanItem": set(),
    "sync_app.ReferenceConsent": set(),
    "sync_app.Rotation": set(),
    "sync_app.RotationPolicy": {"rotate_now", "suspend", "resume"},
    "sync_app.Run": set(),
    "sync_app.SyncEntry": set(),
    "sync_app.SyncPause": set(),
    "sync_app.Target": {"sync_now", "pause", "resume"},
}
# Whoever has a shell on the host may run these, as the system; what they give beyond reports.
COMMANDS: Final[dict[str, str]] = {
    "activate": "lets one installation act",
    "approvals": "decides where nobody else could",
    "audit_export": "the trail, without values",
    "audit_prune": "takes old events out, sealed before, and says so in the trail",
    "backup": "an encrypted copy",
    "changepassword": "a password, where nobody else is left who could replace it",
    "checkpoint": "signs the heads",
    "compliance_report": "reports",
    "createsuperuser": "an administrator",
    "import_fernet": "takes values over",
    "init_db": "the first administrator",
    "issue_token": "a token",
    "kms": "rotates keys",
    "migrate_to_kms": "moves keys",
    "release": "releases what a restore suspended",
    "reset_db": "destroys everything",
    "restore": "puts a backup back",
    "rollback_kms": "moves keys back",
    "rotate": "rotates values",
    "run": "serves",
    "sync": "plans and applies, as system within a target's grant",
    "verify_audit": "reports",
}


def test_every_command_has_its_entry() -> None:
    assert {name for name, app in get_commands().items() if app in _APPS} == COMMANDS.keys()


def test_every_model_and_act_of_the_admin_has_its_entry(cast: Cast) -> None:
    request = RequestFactory().get("/admin/")
    request.user = cast.root
    found = {}
    for model, page in admin.site._registry.items():
        may = {
            "add": page.has_add_permission(request),
            "change": page.has_change_permission(request),
            "delete": page.has_delete_permission(request),
        }
        found[model._meta.label] = {act for act, allowed in may.items() if allowed} | {
            *page.get_actions(request)
        }
    assert found == ACTS


@pytest.mark.parametrize("caller", ["nobody", "manager", "outsider"])
def test_nobody_but_administrators_gets_in(cast: Cast, caller: str) -> None:
    client = Client()
    if caller != "nobody":
        who = cast.alice if caller == "manager" else cast.charlie
        client.force_login(who, backend="environments_app.local_login.LocalBackend")
    answers = {}
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        # A page of nothing, a new one, and one that is there or not: all say the same.
        for path in (
            reverse(f"{name}_changelist"),
            reverse(f"{name}_add"),
            reverse(f"{name}_change", args=[1]),
        ):
            for response in (client.get(path), client.post(path, {})):
                answers[path] = (response.status_code, response.headers.get("Location", "").partition("?")[0])
    assert set(answers.values()) <= {(302, "/admin/login/")}
