"""Who may do what in the admin and by commands: each model, act and command, against one table.

Beside the tables of routes and pages (test_access_matrix.py), which these complete. What is added
without an entry fails.
"""

from typing import Any, Final

import pytest
from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import Group
from django.core.management import get_commands
from django.db import models
from django.http import HttpRequest, QueryDict
from django.test import Client, RequestFactory
from django.urls import URLPattern, get_resolver, reverse
from django.utils import timezone
from pytest_django import Settings

from environments_app.models import (
    EventSink,
    GroupMember,
    Membership,
    OidcProvider,
    Role,
    SamlGroupMapping,
    ScimClient,
    User,
    UserRole,
)
from environments_app.tests.cast import Cast
from sync_app.backends.registry import BACKENDS

_APPS: Final = {
    "audit_app",
    "environments_app",
    "secrets_app",
    "sync_app",
    "operations_app",
    "keeper_project",
}

# What an administrator may do besides looking. Nobody else gets in at all.
ACTS: Final[dict[str, set[str]]] = {
    "audit_app.AuditEvent": set(),
    "audit_app.Checkpoint": set(),
    "audit_app.Deployment": set(),
    "audit_app.Installation": set(),
    "audit_app.ReadManifest": set(),
    "audit_app.ReadManifestItem": set(),
    "audit_app.RefusalCount": set(),
    "audit_app.SavedView": set(),
    "audit_app.SinkState": {"skip_event"},
    "audit_app.SearchEntry": set(),
    "audit_app.SearchPosition": set(),
    "audit_app.UsageEntry": set(),
    "audit_app.ManifestUse": set(),
    "audit_app.SecretUse": set(),
    "audit_app.UsagePosition": set(),
    "audit_app.StreamCursor": set(),
    "audit_app.StreamHead": set(),
    "auditlog.LogEntry": set(),
    "auth.Group": {"add", "change", "delete", "grant"},
    "environments_app.AccessConfirmation": set(),
    "environments_app.AccessRequest": {"approve", "reject"},
    "environments_app.Alert": set(),
    "environments_app.Approval": {"approve", "reject"},
    "environments_app.ApprovalEntry": set(),
    "environments_app.Delivery": {"retry"},
    "environments_app.AuditJob": set(),
    "environments_app.Departure": set(),
    "environments_app.DeviceSignIn": set(),
    "environments_app.Environment": {"add", "change", "test_key"},
    "environments_app.FailedSignIns": set(),
    "environments_app.GroupMember": {"add", "delete"},
    "environments_app.KnownNetwork": set(),
    "environments_app.EventSink": {"add", "change", "delete", "test"},
    "environments_app.Membership": {"add", "change", "delete"},
    "environments_app.OidcProvider": {"add", "change"},
    "environments_app.PasswordLink": set(),
    "environments_app.PersonalSettings": set(),
    "environments_app.PersonalToken": {"revoke"},
    "environments_app.ProgramRelease": set(),
    "environments_app.ProvisionedGroup": set(),
    "environments_app.ProvisionedUser": set(),
    "environments_app.Recipient": {"add_recipient", "test"},
    "environments_app.Review": set(),
    "environments_app.ReviewItem": set(),
    "environments_app.SamlAssertion": set(),
    "environments_app.SamlGroupMapping": {"add", "delete", "preview", "removal"},
    "environments_app.SamlProvider": set(),
    "environments_app.ScimClient": {"add", "issue", "remove"},
    "environments_app.ConnectedSignIn": set(),
    "environments_app.OidcClientKey": set(),
    "environments_app.Passkey": set(),
    "environments_app.SecondFactor": set(),
    "environments_app.ServiceToken": {"issue", "revoke", "rotate"},
    "environments_app.Session": set(),
    "environments_app.Trust": {"delete", "disable", "fetch_keys"},
    "environments_app.UsedJwt": set(),
    "environments_app.User": {
        "add",
        "add_to_group",
        "change",
        "disable",
        "enable",
        "end_sessions",
        "hand_over",
        "invite",
        "offboard",
        "reset_mfa",
        "role",
        "unlock",
    },
    "keeper_project.BackupRequest": set(),
    "keeper_project.ExternalSystem": set(),
    "keeper_project.RunningProcess": set(),
    "keeper_project.ScheduledTask": set(),
    "secrets_app.DataKey": {"check_now"},
    "secrets_app.DepartureValue": set(),
    "secrets_app.EnvironmentSnapshot": set(),
    "secrets_app.KeyJob": set(),
    "secrets_app.KeyMigration": set(),
    "secrets_app.PendingValue": set(),
    "secrets_app.Reference": set(),
    "secrets_app.Secret": {
        "add",
        "change",
        "delete",
        "guard",
        "mark_due",
        "move",
        "readers",
        "rename",
        "restore",
        "unguard",
        "make_decoy",
        "end_decoy",
        "tag",
        "untag",
    },
    "secrets_app.SecretVersion": set(),
    "secrets_app.Share": set(),
    "secrets_app.Star": set(),
    "secrets_app.ChangePosition": set(),
    "secrets_app.LastAsked": set(),
    "secrets_app.Sweep": set(),
    "secrets_app.Webhook": {"add_webhook", "test"},
    "secrets_app.VersionOrigin": set(),
    "secrets_app.WrappedRead": set(),
    "secrets_app.WrappingKey": set(),
    "sync_app.Acknowledgement": set(),
    "sync_app.KeptCopy": set(),
    "sync_app.Migration": set(),
    "sync_app.MigrationLine": set(),
    "sync_app.MountRule": set(),
    "sync_app.SourceCredentials": set(),
    "sync_app.Plan": {"apply"},
    "sync_app.PlanItem": set(),
    "sync_app.ReferenceConsent": set(),
    "sync_app.Rotation": set(),
    "sync_app.RotationPolicy": {"dry_run", "rotate", "suspend", "resume"},
    "sync_app.Run": set(),
    "sync_app.SyncEntry": set(),
    "sync_app.SyncPause": set(),
    "sync_app.Target": {
        "add",
        *(f"add_{backend}" for backend in BACKENDS),
        "credentials",
        "pause",
        "plan",
        "resume",
        "rules",
        "sync",
        "request_test",
    },
}
# Whoever has a shell on the host may run these, as the system; what they give beyond reports.
COMMANDS: Final[dict[str, str]] = {
    "access": "who may read an environment",
    "alerts": "what is alerted, without a value",
    "events": "the trail, without values; that it was read is recorded",
    "settings": "settings, none of them a secret",
    "tokens": "whose tokens there are; revokes one",
    "users": "accounts; disables, enables and unlocks one",
    "activate": "lets one installation act",
    "approvals": "approves where nobody else could, and rejects",
    "audit_export": "the trail, without values",
    "audit_prune": "takes old events out, sealed before, and says so in the trail",
    "audit_search": "derives what the search goes by from events",
    "audit_usage": "counts uses from events",
    "backup": "an encrypted copy",
    "changepassword": "a password, where nobody else is left who could replace it",
    "check_upgrade": "which release the database is of, and what runs",
    "checkpoint": "signs the heads",
    "compliance_report": "reports",
    "createsuperuser": "an administrator",
    "environments": "deletes, restores and removes an environment, recorded",
    "evidence_pack": "reports, with the trail that proves them",
    "export_all": "writes all values out, recorded",
    "fetch_trust_keys": "has the keys of an issuer fetched",
    "import_fernet": "takes values over",
    "init_db": "the first administrator",
    "issue_token": "a token",
    "issue_trust": "lets workloads sign in",
    "kms": "rotates keys",
    "migrate_from": "carries secrets over, as system within the rules' environments",
    "migrate_to_kms": "moves keys",
    "release": "releases what a restore suspended",
    "reset_db": "destroys everything",
    "restore": "puts a backup back",
    "rollback_kms": "moves keys back",
    "status": "health, backlog and alerts, without a value",
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
            *page.get_actions(request),
            *(act.name for act in getattr(page, "acts", ())),
        }
    assert found == ACTS
    # What nobody may has no page.
    for model, page in admin.site._registry.items():
        names = {str(each.name).rpartition("_")[2] for each in page.get_urls()}
        assert names & {"add", "delete"} == {"add", "delete"} - getattr(page, "absent", set()), model
        assert names & {"add", "delete"} == found[model._meta.label] & {"add", "delete"}, model


@pytest.mark.parametrize("caller", ["nobody", "manager", "outsider"])
def test_nobody_but_administrators_gets_in(cast: Cast, caller: str) -> None:
    client = Client()
    if caller != "nobody":
        who = cast.alice if caller == "manager" else cast.charlie
        client.force_login(who, backend="environments_app.users.password_backend.LocalBackend")
    answers: dict[str, set[tuple[int, str]]] = {"get": set(), "post": set()}
    paths = [reverse("admin:search")]
    for model, page in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        # A page of nothing, a new one, and one that is there or not: all say the same.
        for each in page.get_urls():
            act = str(each.name).rpartition("_")[2]
            if act in {"change", "delete", "history"}:
                paths.append(reverse(f"{name}_{act}", args=[1]))
            elif act in {"changelist", "add", "export"}:
                paths.append(reverse(f"{name}_{act}"))
    for path in paths:
        for method, response in (("get", client.get(path)), ("post", client.post(path, {}))):
            leads_to = response.headers.get("Location", "").partition("?")[0]
            answers[method].add((response.status_code, leads_to))
    # What was sent is not sent again by signing in: that leads to a page.
    to = "/sign-in" if caller == "nobody" else "/admin/login/"
    assert answers == {"get": {(302, to)}, "post": {(302, "/sign-in")}}


# --- Lists, searches, filters and files ----------------------------------------------------------

_HERE: Final = [pytest.param(model, id=model._meta.label) for model in admin.site._registry]
# Derived from names and descriptions, which every viewer sees: searched, and not shown.
_SEARCHED: Final = "search_text"
# The parameter of Django's own lists for an address that it refuses.
_REFUSED: Final = {400, 302}


# Who looks at all of it: administrators and auditors.
_LOOKING: Final = (UserRole.ADMIN, UserRole.AUDITOR)


@pytest.fixture
def root(cast: Cast) -> Client:
    return _looking(cast, UserRole.ADMIN)


def _looking(cast: Cast, role: UserRole) -> Client:
    client, user = Client(), cast.root
    if role != UserRole.ADMIN:
        user = User.objects.create_user(f"one-{role}", role=role)
    client.force_login(user, backend="environments_app.users.password_backend.LocalBackend")
    return client


def _no_sidebar(request: HttpRequest, app_label: str | None = None) -> list[Any]:
    return []


def _list_of(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def _sealed(model: Any) -> list[str]:
    """Return the columns that nobody may learn of: bytes, what is hidden, and what is encrypted."""
    hidden: frozenset[str] = (
        getattr(admin.site.get_model_admin(model), "hidden", frozenset()) if _is_here(model) else frozenset()
    )
    return [
        field.name
        for field in model._meta.concrete_fields
        if isinstance(field, models.BinaryField) or field.name in hidden
    ]


def _is_here(model: Any) -> bool:
    return admin.site.is_registered(model)


def _ways_to(model: Any) -> list[str]:
    """Return the lookups that lead to a sealed column, of the model itself or by one relation."""
    ways = _sealed(model)
    for field in model._meta.get_fields():
        if field.is_relation and field.related_model and field.related_model._meta.app_label in _APPS:
            ways += [f"{field.name}__{name}" for name in _sealed(field.related_model)]
    return ways


@pytest.mark.parametrize("role", _LOOKING)
@pytest.mark.parametrize("model", _HERE)
def test_who_looks_lists_searches_filters_and_takes_the_file(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, model: Any, role: UserRole
) -> None:
    page, root = admin.site.get_model_admin(model), _looking(cast, role)
    listed: Any = root.get(_list_of(model))
    assert listed.status_code == 200
    answers, changes = [], listed.context["cl"]
    # The menu of lists takes most of a page's time, and is the same beside what is searched and filtered.
    monkeypatch.setattr(admin.site, "get_app_list", _no_sidebar)
    if page.search_fields:
        answers.append(root.get(_list_of(model), {"q": "x"}).status_code)
    for shown in changes.filter_specs:
        answers.extend(
            root.get(_list_of(model) + str(choice["query_string"])).status_code
            for choice in shown.choices(changes)
        )
    if hasattr(page, "export_view"):
        answers.append(root.get(_list_of(model) + "export.csv").status_code)
    assert set(answers) <= {200}


@pytest.mark.parametrize("role", _LOOKING)
def test_who_looks_sees_the_index_and_searches(cast: Cast, role: UserRole) -> None:
    client = _looking(cast, role)
    assert client.get(reverse("admin:index")).status_code == 200
    assert client.get(reverse("admin:search"), {"q": "a"}).status_code == 200


def _is_refused(page: Any, request: Any, lookup: str) -> bool:
    """Say whether what makes the rows of a list and of its file takes no such parameter."""
    request.GET = QueryDict(f"{lookup}=a")
    try:
        page.get_changelist_instance(request)
    except (DisallowedModelAdminLookup, IncorrectLookupParameters):
        return True
    return False


@pytest.mark.parametrize("model", _HERE)
def test_no_address_of_a_list_asks_for_a_sealed_column(
    root: Client, monkeypatch: pytest.MonkeyPatch, model: Any
) -> None:
    monkeypatch.setattr(admin.site, "get_app_list", _no_sidebar)
    page, ways = admin.site.get_model_admin(model), _ways_to(model)
    lookups = [way + more for way in ways for more in ("", "__startswith", "__regex", "__isnull")]
    request = root.get(_list_of(model)).wsgi_request
    assert [lookup for lookup in lookups if not _is_refused(page, request, lookup)] == []
    # The answer to a refusal is the same for all of them.
    for path in ("", *(["export.csv"] if hasattr(page, "export_view") else [])):
        for lookup in {*lookups[:1], *lookups[-2:-1]}:
            answer = root.get(_list_of(model) + path, {lookup: "a"})
            assert answer.status_code in _REFUSED, lookup
            if answer.status_code == 302:
                assert "e=1" in answer.headers["Location"] or path, lookup


@pytest.mark.parametrize("model", _HERE)
def test_no_list_search_filter_or_file_names_a_sealed_column(model: Any, cast: Cast) -> None:
    page = admin.site.get_model_admin(model)
    request = RequestFactory().get("/admin/")
    request.user = cast.root
    named = {getattr(each, "name", each) for each in page.get_list_display(request)}
    named |= {name.lstrip("=^@") for name in page.search_fields}
    named |= {name for name in page.get_list_filter(request) if isinstance(name, str)}
    named |= {name for name in page.get_fields(request) if isinstance(name, str)} - {"value"}
    named |= {name.lstrip("-") for name in page.get_ordering(request) if isinstance(name, str)}
    assert [way for way in _ways_to(model) if way in named and not way.endswith(_SEARCHED)] == []


# --- Pages that belong to no model ----------------------------------------------------------------

# What each page of operators answers to a GET, and to what its forms send; others are led to sign in.
PAGES: Final[
    dict[str, tuple[dict[UserRole, int], tuple[tuple[dict[str, str], dict[UserRole, int]], ...]]]
] = {
    "admin-keys": ({UserRole.ADMIN: 200, UserRole.AUDITOR: 200}, ()),
    "admin-key-job-new": (
        {UserRole.ADMIN: 200, UserRole.AUDITOR: 403},
        (({"kind": "test"}, {UserRole.ADMIN: 302, UserRole.AUDITOR: 403}),),
    ),
    "admin-audit": (
        {UserRole.ADMIN: 200, UserRole.AUDITOR: 200},
        (({"kind": "verify_new"}, {UserRole.ADMIN: 302, UserRole.AUDITOR: 302}),),
    ),
    "admin-system": (
        {UserRole.ADMIN: 200, UserRole.AUDITOR: 200},
        (
            ({"schedule": "clear-sessions"}, {UserRole.ADMIN: 302, UserRole.AUDITOR: 403}),
            ({}, {UserRole.ADMIN: 302, UserRole.AUDITOR: 403}),
        ),
    ),
}
# They take the number of a job; see the tests of the pages.
_OF_A_JOB: Final = {"admin-key-job", "admin-audit-job"}


def test_every_page_of_operators_has_its_entry() -> None:
    named = {
        pattern.name
        for pattern in get_resolver().url_patterns
        if isinstance(pattern, URLPattern) and str(pattern.pattern).startswith("admin/") and pattern.name
    }
    assert named == PAGES.keys() | _OF_A_JOB


@pytest.mark.parametrize("role", UserRole)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_operators_answers_each_role_as_the_table_says(
    cast: Cast, name: str, role: UserRole
) -> None:
    client, (looking, forms) = _looking(cast, role), PAGES[name]
    # Who is neither administrator nor auditor is led to sign in.
    assert client.get(reverse(name)).status_code == looking.get(role, 302)
    for form, answers in forms:
        answer = client.post(reverse(name), form)
        assert answer.status_code == answers.get(role, 302)
        if role not in answers:
            assert answer["Location"].startswith("/sign-in")


# --- Stale sessions ------------------------------------------------------------------------------

_USER: Final = "environments_app.User"
_ACCOUNT: Final = {"email": "", "display_name": "", "role": "user", "is_active": "on"}
# What an administrator does only with a fresh proof, by model and act, with the forms that are tried. It
# would make an account, or what an account may do, that a fresh session of somebody else then has.
_PROVIDER: Final = {
    "label": "Acme",
    "client_id": "keeper",
    "client_auth": "client_secret_basic",
    "algorithm": "RS256",
    "scopes": "openid profile",
    "username_claim": "preferred_username",
    "creates_accounts": "on",
    "session_hours": "8",
    "enabled": "on",
}
ASKS: Final[dict[tuple[str, str], tuple[dict[str, str], ...]]] = {
    (_USER, "add"): (
        _ACCOUNT | {"username": "dora", "new_password": "another-long-passphrase"},
        _ACCOUNT | {"username": "dora", "role": "admin"},
        _ACCOUNT | {"username": "dora"},
    ),
    (_USER, "change"): (
        _ACCOUNT | {"role": "admin"},
        _ACCOUNT | {"is_active": ""},
        _ACCOUNT | {"email": "bob@example.com"},
        _ACCOUNT | {"new_password": "another-long-passphrase"},
        _ACCOUNT | {"remove_second_factor": "on"},
    ),
    ("environments_app.Membership", "add"): ({"environment": "{place}", "user": "{bob}", "role": "manager"},),
    ("environments_app.Membership", "change"): ({"role": "manager"},),
    ("environments_app.GroupMember", "add"): ({"user": "{bob}", "group": "{group}"},),
    ("environments_app.SamlGroupMapping", "add"): (
        {"group": "ops", "role": "admin"},
        {"group": "ops", "role": "reader", "environment": "{place}"},
    ),
    ("auth.Group", "change"): ({"members": "bob"},),
    ("environments_app.ScimClient", "add"): ({"name": "Okta", "preset": "okta"},),
    ("environments_app.EventSink", "add"): (
        {"name": "corp", "address": "https://siem.example/", "credential": "s"},
    ),
    ("environments_app.EventSink", "change"): ({"credential": "n"},),
    ("environments_app.OidcProvider", "add"): (
        _PROVIDER | {"slug": "acme", "issuer": "https://id.example", "client_secret": "s", "enabled": "on"},
    ),
    ("environments_app.OidcProvider", "change"): (
        _PROVIDER | {"enabled": ""},
        _PROVIDER | {"label": "Acme 2"},
    ),
}
# What makes or changes something else, and lets nobody in.
ASKS_NOT: Final = {
    ("auth.Group", "add"),
    ("environments_app.Environment", "add"),
    ("environments_app.Environment", "change"),
    ("secrets_app.Secret", "add"),
    ("secrets_app.Secret", "change"),
    ("sync_app.Target", "add"),
}


def test_every_form_of_the_admin_says_whether_it_asks_for_a_fresh_proof() -> None:
    forms = {(model, act) for model, acts in ACTS.items() for act in acts & {"add", "change"}}
    assert forms == ASKS.keys() | ASKS_NOT


def _states() -> dict[str, Any]:
    """Return all that the acts of the table change."""
    return {
        str(model._meta.label): list(model.objects.order_by("pk").values())
        for model in (User, Membership, GroupMember, EventSink, OidcProvider, SamlGroupMapping, ScimClient)
    }


@pytest.mark.parametrize(
    ("model", "act", "form"),
    [(*key, form) for key, forms in ASKS.items() for form in forms],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_a_stale_administrator_confirms_before_what_the_table_says(
    cast: Cast,
    settings: Settings,
    model: str,
    act: str,
    form: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("environments_app.oidc.providers.discovered", lambda _issuer: "{}")
    settings.KEEPER_URL = "https://keeper.example"
    provider = OidcProvider.objects.create(
        slug="globex",
        label="Acme",
        issuer="https://globex.example",
        client_id="keeper",
        secret=b"",
        document="{}",
        fetched_at=timezone.now(),
    )
    sink = EventSink.objects.create(name="siem", address="https://siem.example/", secret=b"")
    group = Group.objects.create(name="ops")
    Membership.objects.create(environment=cast.development, group=group, role=Role.READER)
    rows = {
        _USER: cast.bob.pk,
        "environments_app.Membership": Membership.objects.get(user=cast.vera).pk,
        "environments_app.EventSink": sink.pk,
        "environments_app.OidcProvider": provider.pk,
        "auth.Group": group.pk,
    }
    known = {"{place}": cast.production.pk, "{bob}": cast.bob.pk, "{group}": group.pk}
    name = f"admin:{model.lower().replace('.', '_')}_{act}"
    path = reverse(name, args=[] if act == "add" else [rows[model]])
    given = {key: known.get(value, value) for key, value in form.items() if value}
    root = Client()
    root.force_login(cast.root, backend="environments_app.users.password_backend.LocalBackend")
    settings.KEEPER_REAUTH_SECONDS, before = -1, _states()

    page = root.post(path, given)

    assert (page.status_code, "Confirm your password" in page.content.decode()) == (200, True)
    assert _states() == before
    settings.KEEPER_REAUTH_SECONDS = 900
    assert "Confirm your password" not in root.post(path, given, follow=True).content.decode()
    assert _states() != before or "remove_second_factor" in form


def test_a_stale_administrator_disables_nobody(cast: Cast, settings: Settings) -> None:
    root = Client()
    root.force_login(cast.root, backend="environments_app.users.password_backend.LocalBackend")
    settings.KEEPER_REAUTH_SECONDS = -1
    form = {"action": "disable", "_selected_action": [str(cast.bob.pk)], "agreed": "Disable"}
    page = root.post(reverse("admin:environments_app_user_changelist"), form, follow=True)
    assert "Not done: Confirm" in page.content.decode()
    assert User.objects.get(pk=cast.bob.pk).is_active


def test_ones_own_form_in_the_admin_has_neither_password_nor_second_factor(cast: Cast) -> None:
    root = Client()
    root.force_login(cast.root, backend="environments_app.users.password_backend.LocalBackend")
    path, before = reverse("admin:environments_app_user_change", args=[cast.root.pk]), cast.root.password
    page = root.get(path).content.decode()
    assert ("new_password" in page, "remove_second_factor" in page) == (False, False)
    own = _ACCOUNT | {"role": "admin", "new_password": "another-long-passphrase"}
    assert root.post(path, own).status_code == 302
    assert User.objects.get(pk=cast.root.pk).password == before
