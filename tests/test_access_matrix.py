"""Who may do what, at every address: each route, method and role, against one table.

The table is written by hand and not derived from the policy. A route or method without an entry
fails, so that nothing is added without saying who may use it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from django.conf import settings as configured
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.interfaces.keyring import keyring
from audit_app.models import AuditEvent
from environments_app.access_requests import service as access_requests
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal
from environments_app.environments import memberships
from environments_app.errors import ApprovalNeeded
from environments_app.models import Environment, Membership, SamlGroupMapping, Trust, User
from environments_app.notifications.recipients import add_recipient
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.service import issue
from environments_app.trusts import service as trusts
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.models import Secret
from secrets_app.services.lifecycle import delete
from secrets_app.tests.kept import VALUE, keep, send
from secrets_app.webhooks.service import add_webhook
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.targets import consents
from sync_app.targets import service as targets
from sync_app.tests.shown import make_item, make_plan, make_target
from tests import recorded

ROLES: Final = ("viewer", "reader", "editor", "manager")
PEOPLE: Final = ("nobody", "outsider", *ROLES, "admin")
DAY_SECONDS: Final = 86_400
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

# Tokens of the environment in question, of another one, of none, and of a part of it.
CALLERS: Final = (
    "nobody",
    "outsider",
    "manager of another environment",
    "manager of another prefix",
    *ROLES,
    "manager of the prefix",
    "admin token",
    "admin",
)


# By what names the trail knows them; those with a token of the scene are "caller".
ACTORS: Final = {"nobody": None, "outsider": "charlie", "admin": "root"}


@dataclass(frozen=True)
class Rule:
    """Who may use a method of a route: the least role, and what administrators get.

    `part` says that a grant for the prefix of the secret in question suffices.
    """

    least: str
    ok: int = 200
    admin: int | None = None
    admin_token: int | None = None
    part: bool = False
    body: Any = None
    # What an environment that one has a part of answers to who has another part of it.
    other_part: int = 403


def rule_of_secret(least: str, ok: int = 200, **options: Any) -> Rule:
    """Return the rule of an act on one secret."""
    return Rule(least, ok, part=True, other_part=404, **options)


def rule_of_target(least: str, ok: int = 200, **options: Any) -> Rule:
    """Return the rule of an act on a target with a scope, `part`: another part does not see it."""
    return Rule(least, ok, other_part=404, **options)


TABLE: Final[dict[tuple[str, str], Rule]] = {
    # What one may see is all that these show: they refuse nobody who is known.
    ("api-secrets", "GET"): Rule("anyone", admin=200),
    ("api-environments", "GET"): Rule("anyone", admin=200),
    ("api-events", "GET"): Rule("anyone", admin=200),
    ("api-event-items", "GET"): Rule("manager", admin=200),
    ("api-whoami", "GET"): Rule("anyone", admin=200),
    # A client signs in by these: they ask for no sign-in, and limit each address.
    ("api-device-authorization", "POST"): Rule("anyone", 200, admin=200, body={"client_name": "laptop"}),
    ("api-device-token", "POST"): Rule("anyone", 404, admin=404, body={"device_code": "unknown"}),
    ("api-loopback-token", "POST"): Rule("anyone", 404, admin=404, body={"code": "unknown", "code_verifier": "x" * 43}),
    # None of these callers has a personal token.
    ("api-current-token", "DELETE"): Rule("anyone", 409),
    ("api-trail-keys", "GET"): Rule("anyone", admin=200),
    ("api-trail-verify", "POST"): Rule("nobody", admin=200, body={"extent": "since-checkpoint"}),
    ("api-server-version", "GET"): Rule("anyone", admin=200),
    ("api-schema", "GET"): Rule("anyone", admin=200),
    ("api-docs", "GET"): Rule("anyone", admin=200),
    ("api-secrets-generate", "POST"): Rule("anyone", admin=200, body={"kind": "password"}),
    ("api-reports", "GET"): Rule("manager of any", admin=200, admin_token=200),
    ("api-report", "GET"): Rule("manager of any", admin=200, admin_token=200),
    # Secrets.
    ("api-secrets", "POST"): Rule("editor", 201, part=True, other_part=404, body={"environment_id": "{environment_id}", "name": "part/new", "secret_type": "TEXT", "value": "v"}),
    ("api-secrets-bulk", "POST"): Rule("editor", 201, part=True, other_part=404, body={"secrets": [{"environment_id": "{environment_id}", "name": "part/new", "secret_type": "TEXT", "value": "v"}]}),
    ("api-secret", "GET"): rule_of_secret("viewer", admin=200),
    ("api-secret", "PUT"): rule_of_secret("editor", body={"value": "new"}),
    ("api-secret", "PATCH"): rule_of_secret("editor", body={"description": "new"}),
    ("api-secret", "DELETE"): rule_of_secret("editor", 204),
    ("api-secret-restore", "POST"): rule_of_secret("editor"),
    ("api-secret-purge", "POST"): rule_of_secret("manager", 204),
    ("api-secret-rollback", "POST"): rule_of_secret("editor", body={"version": 1}),
    ("api-secret-rename", "POST"): rule_of_secret("editor", body={"name": "part/renamed"}),
    ("api-secret-copy", "POST"): rule_of_secret("editor", 201, body={"environment_id": "{environment_id}", "name": "part/copied"}),
    ("api-secret-move", "POST"): rule_of_secret("editor", 201, body={"environment_id": "{environment_id}", "name": "part/moved"}),
    ("api-versions", "GET"): rule_of_secret("viewer", admin=200),
    ("api-version", "GET"): rule_of_secret("reader"),
    ("api-named-secret", "GET"): rule_of_secret("viewer", admin=200),
    ("api-named-secret", "PUT"): rule_of_secret("editor", body={"value": "new"}),
    ("api-named-secret", "DELETE"): rule_of_secret("editor", 204),
    ("api-export", "GET"): Rule("reader", part=True, other_part=200),
    ("api-manifest", "GET"): Rule("reader", part=True, other_part=200),
    ("api-compare", "GET"): Rule("reader"),
    # Who may write a part of an environment gets the rest refused line by line.
    ("api-import", "POST"): Rule("editor", part=True, other_part=200, body={"format": "dotenv", "content": "A=b", "dry_run": False}),
    # Environments.
    ("api-environments", "POST"): Rule("nobody", 201, admin=201, body={"name": "{fresh}"}),
    ("api-environment", "GET"): Rule("viewer", admin=200, part=True, other_part=200),
    ("api-environment", "PATCH"): Rule("manager", admin=200, body={"description": "new"}),
    ("api-members", "GET"): Rule("manager", admin=200),
    ("api-members", "POST"): Rule("manager", 201, admin=201, body={"user": "newcomer", "role": "viewer"}),
    ("api-member", "GET"): Rule("manager", admin=200),
    ("api-member", "PATCH"): Rule("manager", admin=200, body={"role": "reader"}),
    ("api-member", "DELETE"): Rule("manager", 204, admin=204),
    ("api-tokens", "GET"): Rule("manager", admin=200),
    ("api-tokens", "POST"): Rule("manager", 201, admin=201, body={"name": "ci", "role": "viewer"}),
    ("api-token", "GET"): Rule("manager", admin=200),
    ("api-token", "PATCH"): Rule("manager", admin=200, body={"cidrs": ["10.0.0.0/8"]}),
    ("api-token", "DELETE"): Rule("manager", 204, admin=204),
    ("api-token-rotate", "POST"): Rule("manager", 201, admin=201, body={}),
    ("api-trusts", "GET"): Rule("manager", admin=200),
    ("api-trusts", "POST"): Rule("manager", 201, admin=201, body={"name": "{fresh}", "preset": "oidc", "issuer": "https://issuer.test", "audience": "keeper", "claims": {"sub": "x"}, "role": "viewer"}),
    ("api-trust", "GET"): Rule("manager", admin=200),
    ("api-trust", "PATCH"): Rule("manager", admin=200, body={"role": "viewer"}),
    ("api-trust", "DELETE"): Rule("manager", 204, admin=204),
    ("api-trust-test", "POST"): Rule("manager", admin=200, body={"jwt": "x"}),
    # Who calls is what it finds out: a token of a platform, and nothing else.
    ("api-workload-sign-in", "POST"): Rule("anyone", 401, body={"trust": "absent", "jwt": "x"}),
    ("api-access", "GET"): Rule("manager", admin=200),
    # It takes a person: a token of a manager is told so.
    ("api-suspensions", "GET"): Rule("manager", admin=200),
    ("api-suspended-account", "POST"): Rule("manager", 409, body={"suspended_at": "2026-01-01T00:00:00Z"}),
    ("api-suspended-mapping", "POST"): Rule("manager", 409),
    ("api-recipients", "GET"): Rule("manager", admin=200),
    ("api-recipients", "POST"): Rule("manager", 201, admin=201, body={"email": "new@example.com"}),
    ("api-recipient", "DELETE"): Rule("manager", 204, admin=204),
    ("api-recipient-test", "POST"): Rule("manager", 202, admin=202),
    ("api-webhooks", "GET"): Rule("manager", admin=200),
    ("api-webhooks", "POST"): Rule("manager", 201, admin=201, body={"name": "new", "url": "https://hooks.example/x"}),
    ("api-webhook", "DELETE"): Rule("manager", 204, admin=204),
    ("api-webhook-test", "POST"): Rule("manager", 202, admin=202),
    # Targets. Those that would connect to another system get a body that is refused before.
    ("api-targets", "GET"): Rule("viewer", admin=200, part=True, other_part=200),
    ("api-targets", "POST"): Rule("manager", 400, body={"name": "new", "backend": "vault_kv2", "destination": {"address": "ftp://x"}, "credentials": {"token": "t"}}),
    ("api-targets-test", "POST"): Rule("manager", 400, body={"backend": "vault_kv2", "destination": {"address": "ftp://x"}, "credentials": {"token": "t"}}),
    ("api-deliveries", "GET"): Rule("viewer", admin=200, part=True, other_part=200),
    ("api-target", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-target", "PATCH"): rule_of_target("manager", body={"automatic": True}),
    ("api-target", "DELETE"): rule_of_target("manager", 204),
    ("api-target-test", "POST"): rule_of_target("manager"),
    ("api-target-pause", "POST"): rule_of_target("manager", admin=200),
    ("api-target-resume", "POST"): rule_of_target("manager", admin=200),
    ("api-target-credentials", "POST"): rule_of_target("manager", 400, body={"credentials": {"unknown": "x"}}),
    ("api-target-system", "POST"): rule_of_target("manager", 502, body={"system": "vault/another"}),
    ("api-target-plan", "POST"): rule_of_target("editor", 202, part=True, body={}),
    ("api-target-sync", "POST"): rule_of_target("editor", 202, part=True),
    ("api-target-adopt", "POST"): rule_of_target("manager", 202, body={"names": ["part/key"], "mode": "replace"}),
    ("api-target-disconnect", "POST"): rule_of_target("manager", 202, body={"mode": "leave"}),
    ("api-target-entries", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-target-plans", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-target-runs", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-consents", "GET"): Rule("manager", admin=200),
    # Nobody here may see a target of another environment.
    ("api-consents", "POST"): Rule("manager", 400, body={"target": "nowhere/none"}),
    ("api-consent", "DELETE"): Rule("manager", 204),
    ("api-plan", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-plan-items", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-plan-apply", "POST"): rule_of_target("editor", 202, part=True),
    # It has nothing to tell of what is no update.
    ("api-plan-members", "POST"): rule_of_target("reader", 409, part=True),
    ("api-plan-resolve", "POST"): rule_of_target("editor", 202, part=True, body={"choice": "keep_ours"}),
    # Rotation, each policy of one secret. The policy of these is of a value that no system checks.
    ("api-rotation-policies", "GET"): Rule("viewer", admin=200, part=True, other_part=200),
    ("api-rotation-policies", "POST"): rule_of_secret("manager", 201, body={"secret": "part/key", "rotator": "generated"}),
    ("api-rotation-policy", "GET"): rule_of_secret("viewer", admin=200),
    ("api-rotation-policy", "PATCH"): rule_of_secret("manager", body={"grace_seconds": 5}),
    ("api-rotation-policy", "DELETE"): rule_of_secret("manager", 204),
    ("api-rotation-credentials", "POST"): rule_of_secret("manager", body={"credentials": {}}),
    ("api-rotation-suspend", "POST"): rule_of_secret("manager", admin=200),
    ("api-rotation-resume", "POST"): rule_of_secret("manager", admin=200),
    ("api-rotate", "POST"): rule_of_secret("editor", 202, body={"reason": "leaked"}),
    ("api-rotation-dry-run", "POST"): rule_of_secret("editor"),
    # Without a name there is nobody to be found.
    ("api-exposure", "GET"): Rule("manager of any", 404, admin=404, admin_token=404),
    ("api-exposure", "POST"): Rule("manager of any", admin=200, admin_token=200, body={"who": "newcomer", "confirm": "newcomer"}),
    ("api-rotations", "GET"): rule_of_secret("viewer", admin=200),
    ("api-rotation", "GET"): rule_of_secret("viewer", admin=200),
    ("api-rotation-retry", "POST"): rule_of_secret("editor"),
    ("api-rotation-roll-back", "POST"): rule_of_secret("editor"),
    ("api-rotation-abandon", "POST"): rule_of_secret("editor"),
    # Nothing was left behind there.
    ("api-rotation-retire", "POST"): rule_of_secret("editor", 409),
    ("api-rotation-cut-grace", "POST"): rule_of_secret("manager"),
    ("api-acknowledge", "GET"): rule_of_secret("viewer", admin=200),
    ("api-acknowledge", "POST"): rule_of_secret("reader", body={"version": 1}),
    ("api-acknowledge", "DELETE"): rule_of_secret("reader", 204),
    # Approvals: one's own are seen by whoever asked; managers decide, if they are people.
    ("api-approvals", "GET"): Rule("anyone", admin=200),
    ("api-approval", "GET"): Rule("manager", admin=200),
    ("api-approval", "PATCH"): Rule("another", body={"reason": "because"}),
    ("api-approval-comments", "GET"): Rule("manager", admin=200),
    ("api-approval-comments", "POST"): Rule("another", 201, admin=201, admin_token=403, body={"text": "why?"}),
    ("api-approval-approve", "POST"): Rule("another", admin=200, admin_token=403, body={}),
    ("api-approval-refuse", "POST"): Rule("another", admin=200, admin_token=403, body={}),
    ("api-approval-withdraw", "POST"): Rule("another"),
    ("api-approval-carry-out", "POST"): Rule("another"),
    # Access that somebody asks for: people ask, and managers answer, if they are people.
    ("api-access-requests", "GET"): Rule("anyone", admin=200),
    ("api-access-requests", "POST"): Rule("person", 202, body={"environment": "nowhere", "role": "reader"}),
    ("api-access-request", "GET"): Rule("manager", admin=200),
    ("api-access-request-grant", "POST"): Rule("another", admin=200, admin_token=403, body={"role": "viewer"}),
    ("api-access-request-refuse", "POST"): Rule("another", admin=200, admin_token=403, body={}),
    ("api-access-request-withdraw", "POST"): Rule("another"),
    # The installation.
    ("api-offboarding", "GET"): Rule("nobody", admin=200, admin_token=403),
    ("api-offboarding", "POST"): Rule("nobody", admin=200, admin_token=403),
    ("api-admin-tokens", "GET"): Rule("nobody", admin=200),
    ("api-admin-tokens", "POST"): Rule("nobody", 201, admin=201, body={"name": "ops"}),
    ("api-admin-token", "GET"): Rule("nobody", admin=200),
    ("api-admin-token", "PATCH"): Rule("nobody", admin=200, body={"cidrs": ["10.0.0.0/8"]}),
    ("api-admin-token", "DELETE"): Rule("nobody", 204, admin=204),
    ("api-admin-token-rotate", "POST"): Rule("nobody", 201, admin=201, body={}),
}  # fmt: skip

OF_NO_POLICY: Final = {"api-rotation-policies", "rotation-new"}
OF_A_ROTATION: Final = {
    "rotation-act",
    "api-rotation",
    *(f"api-rotation-{act}" for act in ("retry", "roll-back", "abandon", "cut-grace", "retire")),
}
# About the installation, not an environment: who may not, is told so.
_INSTALLATION: Final = {
    "api-trail-verify",
    "api-environments",
    "api-admin-tokens",
    "api-admin-token",
    "api-admin-token-rotate",
    "api-offboarding",
}
# Who may not read an event is answered as if it were not there.
_HIDDEN: Final = {"api-event-items"}
# Nobody needs to sign in for these.
_PUBLIC: Final = {
    "api-schema",
    "api-docs",
    "api-server-version",
    "api-workload-sign-in",
    "api-device-authorization",
    "api-device-token",
    "api-loopback-token",
}


def _patterns(patterns: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, prefix + str(pattern.pattern))
        else:
            yield prefix + str(pattern.pattern), pattern


def api_routes() -> dict[str, set[str]]:
    """Return the methods of each route under /api, by its name."""
    found: dict[str, set[str]] = {}
    for path, pattern in _patterns(get_resolver().url_patterns):
        if path.startswith("api/"):
            view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
            assert view is not None, path
            assert pattern.name, path
            found[pattern.name] = {method for method in METHODS if hasattr(view, method.lower())}
    return found


def test_every_route_and_method_has_its_rule() -> None:
    listed = {(name, method) for name, methods in api_routes().items() for method in methods}
    assert listed == TABLE.keys()


@dataclass
class Scene:
    """Fresh objects for one cell of the matrix."""

    cast: Cast
    environment: Environment
    secret: Secret
    member: Membership
    token_id: int
    admin_token_id: int
    mapping_id: int = 987654
    recipient_id: int = 987654
    trust_id: int = 987654
    webhook_id: int = 987654
    target_id: int = 987654
    consent_id: int = 987654
    plan_id: int = 987654
    item_id: int = 987654
    policy_id: int = 987654
    rotation_id: int = 987654
    approval_id: int = 987654
    request_id: int = 987654
    # What callers are known by who are there already: the keys of their sessions, and their tokens.
    sessions: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def event_id(self) -> int:
        """Return the id of an event of the environment."""
        stream = environment_stream(self.environment.uuid)
        return int(AuditEvent.objects.filter(stream=stream).latest("id").pk)

    def path(self, route: str) -> str:
        arguments: dict[str, dict[str, Any]] = {
            "api-version": {"id": self.secret.pk, "number": 1},
            "api-named-secret": {"environment": self.environment.name, "name": self.secret.name},
            "api-export": {"environment": self.environment.name},
            "api-manifest": {"environment": self.environment.name},
            "api-import": {"environment": self.environment.name},
            "api-compare": {"environment": self.environment.name, "other": self.environment.name},
            "api-environment": {"environment": self.environment.name},
            "api-members": {"environment": self.environment.name},
            "api-member": {"environment": self.environment.name, "id": self.member.pk},
            "api-tokens": {"environment": self.environment.name},
            "api-token": {"environment": self.environment.name, "id": self.token_id},
            "api-token-rotate": {"environment": self.environment.name, "id": self.token_id},
            "api-trusts": {"environment": self.environment.name},
            "api-trust": {"environment": self.environment.name, "id": self.trust_id},
            "api-trust-test": {"environment": self.environment.name, "id": self.trust_id},
            "api-workload-sign-in": {},
            "api-admin-token": {"id": self.admin_token_id},
            "api-admin-token-rotate": {"id": self.admin_token_id},
            "api-offboarding": {"username": "newcomer"},
            "api-access": {"environment": self.environment.name},
            "api-suspensions": {"environment": self.environment.name},
            "api-suspended-account": {"environment": self.environment.name, "user": "bob"},
            "api-suspended-mapping": {"environment": self.environment.name, "id": self.mapping_id},
            "api-recipients": {"environment": self.environment.name},
            "api-recipient": {"environment": self.environment.name, "id": self.recipient_id},
            "api-recipient-test": {"environment": self.environment.name, "id": self.recipient_id},
            "api-consents": {"environment": self.environment.name},
            "api-deliveries": {"environment": self.environment.name},
            "api-consent": {"environment": self.environment.name, "id": self.consent_id},
            "api-event-items": {"stream": environment_stream(self.environment.uuid), "sequence": 1},
            "api-report": {"key": "access"},
            "api-webhooks": {"environment": self.environment.name},
            "api-webhook": {"environment": self.environment.name, "id": self.webhook_id},
            "api-webhook-test": {"environment": self.environment.name, "id": self.webhook_id},
        }
        if route.startswith(("api-target", "api-plan")):
            return self._path_of_target(route)
        if route.startswith("api-rotat"):
            return self._path_of_rotation(route)
        if route.startswith("api-approval"):
            return reverse(route, kwargs={} if route == "api-approvals" else {"id": self.approval_id})
        if route.startswith("api-access-request"):
            return reverse(route, kwargs={} if route.endswith("s") else {"id": self.request_id})
        of_secret = route.startswith("api-secret-") or route in {
            "api-secret",
            "api-versions",
            "api-acknowledge",
        }
        return reverse(route, kwargs={"id": self.secret.pk} if of_secret else arguments.get(route, {}))

    def _path_of_target(self, route: str) -> str:
        arguments: dict[str, Any] = {"environment": self.environment.name}
        if not route.startswith("api-targets"):
            arguments["id"] = self.plan_id if route.startswith("api-plan") else self.target_id
        if route in {"api-plan-members", "api-plan-resolve"}:
            arguments["item"] = self.item_id
        return reverse(route, kwargs=arguments)

    def _path_of_rotation(self, route: str) -> str:
        arguments: dict[str, Any] = {"environment": self.environment.name}
        if route != "api-rotation-policies":
            arguments["id"] = self.rotation_id if route in OF_A_ROTATION else self.policy_id
        return reverse(route, kwargs=arguments)

    def body(self, template: Any) -> Any:
        if isinstance(template, dict):
            return {name: self.body(value) for name, value in template.items()}
        if isinstance(template, list):
            return [self.body(value) for value in template]
        known = {
            "{environment_id}": self.environment.pk,
            "{name}": self.environment.name,
            "{fresh}": f"new-{self.environment.name}",
            "{pick}": f"{self.secret.pk}:{self.secret.etag}",
        }
        return known.get(template, template)


def rotate(place: Scene, actor: Principal, route: str) -> None:
    """Put the scene's secret under rotation, and begin one where the route is about that."""
    policy = policies.create(
        actor=actor, secret=place.secret, rotator="generated", settings={}, credentials={}
    )
    place.policy_id = policy.pk
    if route.endswith("-resume"):
        policies.suspend(actor=actor, policy=policy)
    if route in OF_A_ROTATION:
        place.rotation_id = request_rotation(actor=actor, policy=policy).pk
    if route in {"api-rotation-roll-back", "api-rotation-cut-grace"}:
        execution_runner.execute(place.rotation_id)


def ask(cast: Cast, environment: Environment) -> int:
    """Return a request of alice's for what managers and administrators may do."""
    environment.protected = True
    environment.save()
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(
            actor=cast.principal(cast.alice), environment=environment, user=cast.charlie, role="viewer"
        )
    environment.protected = False
    environment.save()
    return raised.value.approval


def ask_there(place: Scene, route: str) -> None:
    """Let somebody ask for approval, or for access, where the route is about that."""
    cast = place.cast
    if "approval" in route:
        place.approval_id = ask(cast, place.environment)
    if "access-request" in route:
        place.request_id = access_requests.submit(
            actor=cast.principal(cast.bob), environment=place.environment.name, role="reader"
        ).pk


@pytest.fixture
def scene(cast: Cast) -> Callable[[str], Scene]:
    return scenes(cast)


def scenes(cast: Cast) -> Callable[[str], Scene]:
    """Return what makes the objects that a route or page is about."""
    count = iter(range(1000))
    User.objects.create_user("newcomer")

    def make(route: str) -> Scene:
        place = bare_scene(cast, next(count))
        furnish(place, route)
        return place

    return make


def bare_scene(cast: Cast, number: int) -> Scene:
    """Return what every route and page finds: an environment with a secret, a member and tokens."""
    environment = Environment.objects.create(name=f"place-{number}")
    Membership.objects.create(environment=environment, user=cast.alice, role="manager")
    alice, operator = cast.principal(cast.alice), system_principal(is_admin=True)
    secret = keep(cast, "part/key", environment=environment)
    member = memberships.grant(actor=alice, environment=environment, user=cast.vera, role="viewer")
    token, _ = issue(actor=alice, environment=environment, role="viewer", name="standing")
    admin_token, _ = issue(actor=operator, environment=None, role="admin", name=f"standing-{number}")
    return Scene(cast, environment, secret, member, token.pk, admin_token.pk)


@pytest.fixture(scope="module")
def shared_scene(module_cast: Cast, django_db_blocker: DjangoDbBlocker) -> Scene:
    """Return a bare scene in which every caller is signed in or has a token."""
    with django_db_blocker.unblock():
        User.objects.create_user("newcomer")
        place = bare_scene(module_cast, 0)
        people = {caller: browser_of(caller, place) for caller in PEOPLE}
        place.sessions = {
            caller: each.cookies[configured.SESSION_COOKIE_NAME].value
            for caller, each in people.items()
            if each.cookies
        }
        programs = {caller: call_as(caller, place) for caller in CALLERS if caller not in place.sessions}
        place.tokens = {
            caller: each.headers["authorization"] for caller, each in programs.items() if each.headers
        }
        return place


@pytest.fixture
def stage(shared_scene: Scene, db: None, settings: Settings) -> Callable[[str], Scene]:
    """Return what makes the shared scene one of a route or page; the test forgets what it changes there."""
    # The sessions began with the module.
    settings.KEEPER_REAUTH_SECONDS = settings.KEEPER_SESSION_IDLE_SECONDS = DAY_SECONDS
    keyring().open_all()

    def make(route: str) -> Scene:
        place = deepcopy(shared_scene)
        furnish(place, route)
        return place

    return make


def furnish(place: Scene, route: str) -> None:
    """Add what some routes and pages are about, as alice."""
    environment, alice = place.environment, place.cast.principal(place.cast.alice)
    if route in {"api-secret-restore", "api-secret-purge", "secret-restore", "secret-purge"}:
        delete(actor=alice, secret=place.secret)
    if "recipient" in route:
        added = add_recipient(actor=alice, environment=environment, email="ops@example.com")
        place.recipient_id = added.pk
    if "mapping" in route:
        mapping = SamlGroupMapping.objects.create(
            group="ops", environment=environment, role="reader", suspended_at=timezone.now()
        )
        place.mapping_id = mapping.pk
    if "trust" in route:
        place.trust_id = trust_there(place, alice).pk
    ask_there(place, route)
    if "webhook" in route:
        webhook, _ = add_webhook(
            actor=alice, environment=environment, name="standing", url="https://hooks.example/x"
        )
        place.webhook_id = webhook.pk
    if route in {"api-consent", "consent-withdraw"}:
        target = make_target(
            place.cast.production, name=f"target-{environment.pk}", place=f"place-{environment.pk}"
        )
        place.consent_id = consents.give_consent(actor=alice, environment=environment, target=target).pk
    if route.startswith(("target-", "plan-", "api-target", "api-plan")):
        aim(place, alice, route)
    if route.startswith(("api-rotat", "rotation-")) and route not in OF_NO_POLICY:
        rotate(place, alice, route)


def trust_there(place: Scene, alice: Principal) -> Trust:
    return trusts.create(
        actor=alice, environment=place.environment, preset="oidc", name=f"trust-{place.environment.pk}",
        issuer="https://issuer.test", audience="keeper", claims={"sub": "x"}, role="reader",
    )  # fmt: skip


def aim(place: Scene, alice: Principal, route: str) -> None:
    """Give the scene a target with a plan."""
    inside = {"address": "http://127.0.0.1:1"}
    of_api: dict[str, Any] = {"scope": "part", "destination": inside, "endpoint": inside["address"]}
    target = make_target(place.environment, **(of_api if route.startswith("api-") else {}))
    plan = make_plan(target)
    place.target_id, place.plan_id = target.pk, plan.pk
    place.item_id = make_item(plan, "part/key", act="conflict").pk
    if route.endswith("-resume"):
        targets.pause(actor=alice, target=target)


def name_of(caller: str) -> str:
    """Return the name of a caller's token."""
    return f"caller-{caller.replace(' ', '-')}"


def call_as(caller: str, place: Scene) -> Client:
    """Return a client for a caller, mostly by a service token."""
    if caller in place.tokens:
        return Client(headers={"authorization": place.tokens[caller]})
    if caller in {"nobody", "outsider", "admin"}:
        return browser_of(caller, place)
    operator = system_principal(is_admin=True)
    options: dict[str, Any] = {"environment": place.environment, "role": caller}
    if caller == "admin token":
        options = {"environment": None, "role": "admin"}
    elif caller == "manager of another environment":
        options = {"environment": place.cast.production, "role": "manager"}
    elif caller == "manager of another prefix":
        options |= {"role": "manager", "prefix": "another/part"}
    elif caller == "manager of the prefix":
        options |= {"role": "manager", "prefix": "part"}
    _, text = issue(actor=operator, name=name_of(caller), **options)
    return Client(headers={"authorization": f"Bearer {text}"})


def expected(route: str, rule: Rule, caller: str) -> int:  # noqa: C901, PLR0911 - it reads as the rules do
    """Return the status that the table asks for."""
    if caller == "nobody":
        return rule.ok if route in _PUBLIC else 401
    if rule.least == "anyone":
        return rule.ok
    if rule.least == "person":
        return rule.ok if caller in {"outsider", "admin"} else 403
    if caller == "admin token" and rule.admin_token is not None:
        return rule.admin_token
    if caller in {"admin", "admin token"}:
        return (rule.admin_token if caller == "admin token" else None) or rule.admin or 403
    if rule.least == "manager of any":
        return rule.ok if caller in {"manager", "manager of another environment"} else 403
    if route in _INSTALLATION:
        return 403
    if route in _HIDDEN and caller != rule.least:
        return 404
    if caller in {"outsider", "manager of another environment"}:
        return 404
    if rule.least == "another":
        # Whoever asked, or a person: no token of the environment is either.
        return 403
    if caller == "manager of another prefix":
        return rule.other_part
    if caller == "manager of the prefix":
        return rule.ok if rule.part else 403
    return rule.ok if ROLES.index(caller) >= ROLES.index(rule.least) else 403


@contextmanager
def undone() -> Iterator[None]:
    """Undo what is done in the block: the next caller meets the same objects, which take long to make.

    By hand, since Keeper asks no other system within an `atomic`.
    """
    before = transaction.savepoint()
    yield
    transaction.savepoint_rollback(before)
    forget_data_keys()
    cache.clear()


def shown(response: Any) -> str:
    """Return the text of an answer, also of one that is passed on while it is read."""
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return str(content.decode("utf-8", "replace"))


@pytest.mark.parametrize(("route", "method"), TABLE, ids=lambda value: value)
def test_each_caller_gets_what_the_table_says(
    stage: Callable[[str], Scene], one_document: None, route: str, method: str
) -> None:
    rule, event = TABLE[route, method], recorded.API.get((route, method))
    driven = (route, method) in recorded.DRIVEN
    answers, wanted, flaws, done = {}, {}, {}, set[str]()
    place = stage(route)
    for caller in CALLERS:
        # Reads and refusals change nothing.
        is_act = method != "GET" and expected(route, rule, caller) < 400
        client, path, body = call_as(caller, place), place.path(route), place.body(rule.body)
        with undone() if is_act else nullcontext(), recorded.watching() as seen:
            response = send(client, method, path, body)
            text = shown(response)
        actor = ACTORS.get(caller, name_of(caller))
        # What anyone may ask for may hold nothing for them.
        idle = driven or (rule.least == "anyone" and method == "GET")
        flaws[caller] = recorded.flaws(
            seen, response, text, name=route, actor=actor, expected=event, idle=idle
        )
        done |= seen.of(Outcome.ALLOWED) | seen.of(Outcome.FAILED)
        answers[caller], wanted[caller] = response.status_code, expected(route, rule, caller)
        if response.status_code >= 400:
            assert response["Content-Type"] == "application/problem+json", caller
        if caller not in {"reader", "editor", "manager", "manager of the prefix"}:
            assert VALUE not in text, caller
    assert answers == wanted
    assert {caller: found for caller, found in flaws.items() if found} == {}
    assert driven or not isinstance(event, Action) or event in done


LACKING: Final = {
    name: [method for method in METHODS if method not in methods] for name, methods in api_routes().items()
}


@pytest.mark.parametrize("route", [name for name, methods in LACKING.items() if methods])
def test_a_method_that_a_route_does_not_have_does_nothing(stage: Callable[[str], Scene], route: str) -> None:
    place = stage(route)
    nobody, manager, path = call_as("nobody", place), call_as("manager", place), place.path(route)
    answers = {}
    for method in LACKING[route]:
        response = send(manager, method, path, {})
        answers[method] = (
            send(nobody, method, path, {}).status_code, response.status_code, response["Content-Type"]
        )  # fmt: skip
    refused = (405 if route in _PUBLIC else 401, 405, "application/problem+json")
    assert answers == dict.fromkeys(LACKING[route], refused)


@pytest.mark.parametrize("route", [name for (name, method) in TABLE if method == "GET"])
def test_what_one_may_not_see_answers_like_what_is_not_there(
    stage: Callable[[str], Scene], route: str
) -> None:
    place = stage(route)
    outsider = call_as("outsider", place)
    hidden = outsider.get(place.path(route))
    if hidden.status_code != 404:
        return
    missing = Scene(
        place.cast,
        Environment(name="no-such-place"),
        Secret(pk=987654, name="part/key"),
        place.member,
        987654,
        987654,
    )
    absent = outsider.get(missing.path(route))
    assert (absent.status_code, absent.content) == (hidden.status_code, hidden.content)
    assert {n for n in absent.headers if n != "X-Request-ID"} == {
        n for n in hidden.headers if n != "X-Request-ID"
    }


# --- Pages ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PageRule:
    """Who may open a page: the least role in the environment, what an administrator gets."""

    least: str
    ok: int = 200
    admin: int = 403
    method: str = "GET"
    form: dict[str, Any] | None = None


RULES: Final = {
    "direction": "push",
    "conflict": "ask",
    "deletion": "never",
    "budget_number": "1",
    "budget_percent": "1",
    "interval_seconds": "0",
}
NEW_PASSWORD: Final = {"current": PASSWORD, "password": f"{PASSWORD}-2", "again": f"{PASSWORD}-2"}
PAGES: Final[dict[str, tuple[PageRule, ...]]] = {
    "dashboard": (PageRule("anyone", admin=200),),
    "activity": (PageRule("anyone", admin=200),),
    "activity-charts": (PageRule("anyone", admin=200),),
    "activity-event": (PageRule("its manager", admin=200),),
    "activity-export": (PageRule("anyone", admin=200),),
    "secret-list": (PageRule("anyone", admin=200),),
    "secret-new": (PageRule("anyone", admin=200),),
    "secret-generate": (PageRule("anyone", admin=200, method="POST", form={"kind": "password", "lowercase": "on"}),),
    "secret-matrix": (PageRule("anyone", admin=200),),
    "secret-check": (PageRule("anyone", admin=200, method="POST", form={"secret_type": "JSON", "value": "{}"}),),
    "secret-search": (PageRule("anyone", admin=200),),
    # It does what one may to each of the chosen.
    "secret-bulk": (PageRule("anyone", admin=200, method="POST", form={"act": "delete", "step": "apply", "pick": "{pick}"}),),
    "secret-diff": (PageRule("viewer", admin=200), PageRule("reader", method="POST", form={"old": "1", "new": "1"})),
    "secret-share": (PageRule("reader"),),
    # Both answer about a share that is not there.
    "share-revoke": (PageRule("absent", admin=404, method="POST"),),
    "share": (PageRule("absent", admin=404),),
    # They offer the environments in which one may, and take no other.
    "environment-compare": (PageRule("anyone", admin=200),),
    "secret-import": (PageRule("anyone", admin=200),),
    "secret-table": (PageRule("anyone", admin=200),),
    "secret-export": (PageRule("anyone", admin=200),),
    "offboarding": (PageRule("nobody", admin=200),),
    "offboard": (PageRule("nobody", admin=302, method="POST"),),
    "activity-view-save": (PageRule("anyone", 302, admin=302, method="POST", form={"name": "mine", "query": "period=7d"}),),
    # There is none of this id.
    "activity-view-remove": (PageRule("anyone", 302, admin=302, method="POST"),),
    "people": (PageRule("nobody", admin=200),),
    "person-add": (PageRule("nobody", 200, admin=200, method="POST", form={"username": "{fresh}", "role": "user", "sign_in": "sso"}),),
    # There is no mail server: they lead back with the reason.
    "person-invite": (PageRule("nobody", admin=302, method="POST"),),
    "person-invite-withdraw": (PageRule("nobody", admin=302, method="POST"),),
    "password-reset-choose": (PageRule("anyone", 302, admin=302, method="POST"),),
    "person": (PageRule("nobody", admin=200),),
    "person-update": (PageRule("nobody", admin=302, method="POST", form={"role": "user", "display_name": "New"}),),
    "person-disable": (PageRule("nobody", admin=302, method="POST"),),
    "person-enable": (PageRule("nobody", admin=302, method="POST"),),
    "person-reset-mfa": (PageRule("nobody", admin=302, method="POST"),),
    "person-end-sessions": (PageRule("nobody", admin=302, method="POST"),),
    "secret-detail": (PageRule("viewer", admin=200),),
    "secret-reveal": (PageRule("reader", method="POST"),),
    "secret-copy": (PageRule("reader", method="POST"),),
    "secret-edit": (PageRule("editor", 302, method="POST", form={"name": "part/key", "environment": "{environment}", "secret_type": "TEXT", "value": "new"}),),
    "secret-rollback": (PageRule("editor", 302, method="POST", form={"version": "1"}),),
    "secret-star": (PageRule("viewer", admin=200, method="POST", form={"starred": "1"}),),
    "secret-rename": (PageRule("editor"), PageRule("editor", 302, method="POST", form={"name": "part/renamed"})),
    "secret-duplicate": (PageRule("editor"), PageRule("editor", 302, method="POST", form={"name": "part/copied"})),
    "secret-delete": (PageRule("editor", 302, method="POST"),),
    "secret-restore": (PageRule("editor", 302, method="POST"),),
    "secret-purge": (PageRule("manager", 302, method="POST", form={"typed": "part/key"}),),
    # Managers get those of their environments; whoever manages none as a whole is refused.
    "notices": (PageRule("anyone", admin=200),),
    "notices-seen": (PageRule("anyone", 302, admin=302, method="POST"),),
    "digest-choose": (PageRule("anyone", 302, admin=302, method="POST"),),
    "first-steps-hide": (PageRule("anyone", 302, admin=302, method="POST"),),
    "reports": (PageRule("manager of any", admin=200),),
    "report-detail": (PageRule("manager of any", admin=200),),
    "report-file": (PageRule("manager of any", admin=200),),
    "integrity": (PageRule("nobody", admin=200),),
    "health": (PageRule("nobody", admin=200),),
    "trail": (PageRule("nobody", admin=200),),
    "trail-verify": (PageRule("nobody", 200, admin=200, method="POST"),),
    "sweep-start": (PageRule("nobody", 302, admin=302, method="POST"),),
    "operations": (PageRule("nobody", admin=200),),
    "backups": (PageRule("nobody", admin=200),),
    "backup-now": (PageRule("nobody", 302, admin=302, method="POST"),),
    # There is no backup of this name; who may not ask is told so first.
    "backup-verify": (PageRule("nobody", 302, admin=404, method="POST"),),
    "restore-release": (PageRule("nobody", 302, admin=404, method="POST"),),
    "profile": (PageRule("anyone", admin=200),),
    # They carry no form of an environment: each is about oneself.
    "password-change": (PageRule("anyone", 302, admin=302, method="POST", form=NEW_PASSWORD),),
    "session-end": (PageRule("anyone", 302, admin=302, method="POST"),),
    "sessions-end-others": (PageRule("anyone", 302, admin=302, method="POST"),),
    "time-zone-change": (PageRule("anyone", 302, admin=302, method="POST", form={"time_zone": "Europe/Berlin"}),),
    "name-change": (PageRule("anyone", 302, admin=302, method="POST", form={"display_name": "New"}),),
    "personal-token-issue": (PageRule("anyone", admin=200, method="POST", form={"name": "laptop", "hours": "12"}),),
    # There is none of this id.
    "personal-token-revoke": (PageRule("anyone", 302, admin=302, method="POST"),),
    "device": (PageRule("anyone", admin=200),),
    # Without the parameters of a program there is nothing to confirm.
    "loopback": (PageRule("anyone", 400, admin=400),),
    "loopback-answer": (PageRule("anyone", 400, admin=400, method="POST"),),
    # No sign-in waits under an empty code.
    "device-approve": (PageRule("anyone", 302, admin=302, method="POST"),),
    "device-deny": (PageRule("anyone", 302, admin=302, method="POST"),),
    "confirm": (PageRule("anyone", admin=200),),
    "signed-in": (PageRule("anyone", admin=200),),
    # People without a password are led back; the administrator has one.
    "second-factor": (PageRule("anyone", admin=200),),
    "second-factor-start": (PageRule("anyone", 302, admin=200, method="POST"),),
    "second-factor-enrol": (PageRule("anyone", 302, admin=302, method="POST"),),
    "second-factor-codes": (PageRule("anyone", 302, admin=302, method="POST"),),
    "second-factor-remove": (PageRule("anyone", 302, admin=302, method="POST"),),
    "passkey-start": (PageRule("anyone", 302, admin=302, method="POST"),),
    "passkey-register": (PageRule("anyone", 302, admin=302, method="POST"),),
    "passkey-remove": (PageRule("anyone", 302, admin=302, method="POST"),),
    "environment-list": (PageRule("anyone", admin=200),),
    "environment-new": (PageRule("nobody", 302, admin=302, method="POST", form={"name": "{fresh}", "colour": "blue"}),),
    "environment-detail": (PageRule("viewer", admin=200),),
    "environment-update": (PageRule("manager", 302, admin=302, method="POST", form={"display_name": "New", "colour": "blue", "position": "1"}),),
    "environment-access": (PageRule("manager", admin=200),),
    "access-confirm": (PageRule("manager", 302, method="POST"),),
    "mapping-confirm": (PageRule("manager", 302, method="POST"),),
    "member-grant": (PageRule("manager", 302, admin=302, method="POST", form={"username": "newcomer", "role": "viewer"}),),
    "member-change": (PageRule("manager", admin=200), PageRule("manager", 302, admin=302, method="POST", form={"role": "reader"})),
    "member-revoke": (PageRule("manager", 302, admin=302, method="POST"),),
    "token-issue": (PageRule("manager", 200, admin=200, method="POST", form={"name": "ci", "role": "viewer"}),),
    "token-list": (PageRule("anyone", admin=200),),
    # Those of the installation are its administrators' alone.
    "admin-tokens": (PageRule("nobody", admin=200),),
    "admin-token-issue": (PageRule("nobody", 200, admin=200, method="POST", form={"name": "ops"}),),
    "admin-token-detail": (PageRule("nobody", admin=200),),
    "admin-token-narrow": (PageRule("nobody", 302, admin=302, method="POST", form={"cidrs": "10.0.0.0/8"}),),
    "admin-token-rotate": (PageRule("nobody", 200, admin=200, method="POST", form={"overlap_hours": "1"}),),
    "admin-token-revoke": (PageRule("nobody", 302, admin=302, method="POST"),),
    "token-detail": (PageRule("manager", admin=200),),
    "token-narrow": (PageRule("manager", 302, admin=302, method="POST", form={"cidrs": "10.0.0.0/8"}),),
    "token-rotate": (PageRule("manager", 200, admin=200, method="POST", form={"overlap_hours": "1"}),),
    "token-revoke": (PageRule("manager", 302, admin=302, method="POST"),),
    "trust-new": (
        PageRule("manager", admin=200),
        PageRule("manager", 302, admin=302, method="POST", form={"name": "{fresh}", "issuer": "https://issuer.test", "audience": "keeper", "claims": "sub = x", "role": "viewer", "algorithm": "RS256", "lifetime_minutes": "15", "max_age_minutes": "60"}),
    ),
    "trust-detail": (PageRule("manager", admin=200),),
    "trust-change": (PageRule("manager", 302, admin=302, method="POST", form={"name": "{fresh}", "issuer": "https://issuer.test", "audience": "keeper", "claims": "sub = x", "role": "viewer", "algorithm": "RS256", "lifetime_minutes": "15", "max_age_minutes": "60"}),),
    "trust-toggle": (PageRule("manager", 302, admin=302, method="POST"),),
    "trust-delete": (PageRule("manager", 302, admin=302, method="POST"),),
    "trust-test": (PageRule("manager", admin=200, method="POST", form={"jwt": "x"}),),
    "approval-list": (PageRule("anyone", admin=200),),
    "approval-detail": (PageRule("manager", admin=200),),
    "approval-approve": (PageRule("manager", 302, admin=302, method="POST"),),
    "approval-refuse": (PageRule("manager", 302, admin=302, method="POST"),),
    "approval-comment": (PageRule("manager", 302, admin=302, method="POST", form={"text": "why?"}),),
    # Whoever asked does these, and nobody else.
    "approval-withdraw": (PageRule("another", 403, method="POST"),),
    "approval-explain": (PageRule("another", 403, method="POST"),),
    "approval-carry-out": (PageRule("another", 403, method="POST"),),
    "access-request-new": (PageRule("anyone", admin=200), PageRule("anyone", 302, admin=302, method="POST", form={"environment": "nowhere", "role": "reader", "minutes": "60"})),
    "access-request-detail": (PageRule("manager", admin=200),),
    "access-request-grant": (PageRule("manager", 302, admin=302, method="POST", form={"role": "viewer"}),),
    "access-request-refuse": (PageRule("manager", 302, admin=302, method="POST"),),
    "access-request-withdraw": (PageRule("another", 403, method="POST"),),
    "sync": (PageRule("anyone", admin=200),),
    "sync-overview": (PageRule("anyone", admin=200),),
    "sync-pause": (PageRule("nobody", 302, admin=302, method="POST"),),
    "sync-resume": (PageRule("nobody", 302, admin=302, method="POST"),),
    "target-new": (PageRule("anyone", admin=200),),
    "target-detail": (PageRule("viewer", admin=200),),
    "target-rules": (PageRule("manager"), PageRule("manager", 302, method="POST", form=RULES)),
    "target-credentials": (PageRule("manager"),),
    "target-system": (PageRule("manager"),),
    "target-test": (PageRule("manager", method="POST"),),
    "rotation": (PageRule("anyone", admin=200),),
    "exposure": (
        PageRule("manager of any", admin=200),
        PageRule("manager of any", admin=200, method="POST", form={"who": "newcomer", "typed": "newcomer"}),
    ),
    "rotation-new": (PageRule("manager"),),
    "rotation-policy": (PageRule("viewer", admin=200),),
    "rotation-rules": (PageRule("manager"),),
    "rotation-connection": (PageRule("manager"),),
    "rotation-rotate": (PageRule("editor", 302, method="POST"),),
    "rotation-dry-run": (PageRule("editor", method="POST"),),
    "rotation-suspend": (PageRule("manager", 302, admin=302, method="POST"),),
    "rotation-resume": (PageRule("manager", 302, admin=302, method="POST"),),
    "rotation-remove": (PageRule("manager", 302, method="POST"),),
    "rotation-act": (PageRule("editor", 302, method="POST"),),
    "target-pause": (PageRule("manager", 302, admin=302, method="POST"),),
    "target-resume": (PageRule("manager", 302, admin=302, method="POST"),),
    "target-remove": (PageRule("manager", 302, method="POST"),),
    "target-plan": (PageRule("editor", 302, method="POST"),),
    "target-sync": (PageRule("editor", 302, method="POST"),),
    "target-check": (PageRule("editor", 302, method="POST"),),
    "target-adopt": (PageRule("manager"),),
    "target-disconnect": (PageRule("manager"),),
    "plan-detail": (PageRule("viewer", admin=200),),
    "plan-apply": (PageRule("editor", 302, method="POST"),),
    "plan-again": (PageRule("editor", 302, method="POST"),),
    "plan-item": (PageRule("viewer", admin=200), PageRule("editor", 302, method="POST", form={"choice": "keep_ours"})),
    "plan-item-members": (PageRule("viewer", admin=200), PageRule("reader", 302, method="POST")),
    "consents": (PageRule("manager", admin=200),),
    "consent-give": (PageRule("manager", 422, method="POST", form={"target": "nowhere/none"}),),
    "consent-withdraw": (PageRule("manager", 302, method="POST"),),
    "notifications": (PageRule("manager", admin=200),),
    "recipient-add": (PageRule("manager", 302, admin=302, method="POST", form={"email": "new@example.com"}),),
    "recipient-remove": (PageRule("manager", 302, admin=302, method="POST"),),
    "recipient-test": (PageRule("manager", 302, admin=302, method="POST"),),
    "webhook-add": (PageRule("manager", 200, admin=200, method="POST", form={"name": "new", "url": "https://hooks.example/x", "style": "slack"}),),
    "webhook-remove": (PageRule("manager", 302, admin=302, method="POST"),),
    "webhook-test": (PageRule("manager", 302, admin=302, method="POST"),),
}  # fmt: skip
# Who is not signed in comes in by these, or they show nothing of anybody.
OPEN_PAGES: Final = {
    "sign-in", "sign-in-code", "password-forgotten", "password-choose", "sign-out", "session-state", "healthz", "readyz", "metrics",
    "saml-start", "saml-acs", "saml-finish", "saml-metadata", "saml-logout",
}  # fmt: skip


def page_names() -> set[str]:
    return {
        str(pattern.name)
        for path, pattern in _patterns(get_resolver().url_patterns)
        if not path.startswith(("api/", "admin/", "static/", "vault/", "aws"))
    }


def test_every_page_has_its_rule() -> None:
    assert page_names() == PAGES.keys() | OPEN_PAGES


IN_ENVIRONMENT: Final = {
    "environment-detail", "environment-update", "environment-access", "access-confirm", "member-grant", "token-issue", "notifications", "recipient-add",
    "webhook-add", "consents", "consent-give",
}  # fmt: skip


_OF_NO_SECRET: Final = {
    "secret-list",
    "secret-new",
    "secret-generate",
    "secret-check",
    "secret-matrix",
    "secret-table",
    "secret-import",
    "secret-export",
    "environment-compare",
    "secret-search",
    "secret-bulk",
}


def page_path(place: Scene, name: str) -> str:
    of_none: dict[str, dict[str, Any]] = {
        "offboarding": {"username": "newcomer"},
        "offboard": {"username": "newcomer"},
        "person": {"username": "newcomer"},
        "person-update": {"username": "newcomer"},
        "person-disable": {"username": "newcomer"},
        "person-enable": {"username": "newcomer"},
        "person-reset-mfa": {"username": "newcomer"},
        "person-end-sessions": {"username": "newcomer"},
        "person-invite": {"username": "newcomer"},
        "person-invite-withdraw": {"username": "newcomer"},
        "trust-new": {"name": place.environment.name, "preset": "oidc"},
        "report-detail": {"key": "access"},
        "report-file": {"key": "access", "form": "csv"},
        "activity-export": {"form": "csv"},
        "backup-verify": {"name": "keeper-none.kbk"},
        "restore-release": {"kind": "membership", "uuid": place.secret.uuid},
        "personal-token-revoke": {"uuid": place.secret.uuid},
        "activity-view-save": {},
        "activity-view-remove": {"id": 987654},
    }
    if (
        name in {"target-new", "rotation", "exposure"}
        or name.startswith("sync")
        or name in of_none
        or name in {"approval-list", "access-request-new", "admin-tokens", "admin-token-issue"}
    ):
        return reverse(name, kwargs=of_none.get(name))
    by_id = {
        "activity-event": place.event_id,
        "admin-token-": place.admin_token_id,
        "target-": place.target_id,
        "plan-": place.plan_id,
        "approval-": place.approval_id,
        "access-request-": place.request_id,
        "rotation-new": place.secret.pk,
        "rotation-act": place.rotation_id,
        "rotation-": place.policy_id,
    }
    for start, pk in by_id.items():
        if name.startswith(start):
            more: dict[str, dict[str, Any]] = {
                "plan-item": {"item": place.item_id},
                "plan-item-members": {"item": place.item_id},
                "rotation-act": {"act": "retry"},
            }
            return reverse(name, kwargs={"id": pk, **more.get(name, {})})
    rows = {
        "member-change": place.member.pk,
        "member-revoke": place.member.pk,
        "trust-detail": place.trust_id,
        "trust-change": place.trust_id,
        "trust-toggle": place.trust_id,
        "trust-delete": place.trust_id,
        "trust-test": place.trust_id,
        "token-detail": place.token_id,
        "token-narrow": place.token_id,
        "token-rotate": place.token_id,
        "token-revoke": place.token_id,
        "mapping-confirm": place.mapping_id,
        "recipient-remove": place.recipient_id,
        "recipient-test": place.recipient_id,
        "webhook-remove": place.webhook_id,
        "webhook-test": place.webhook_id,
        "consent-withdraw": place.consent_id,
    }
    if name in rows:
        return reverse(name, kwargs={"name": place.environment.name, "id": rows[name]})
    if name in {"share", "share-revoke"}:
        arguments = {"link": "unknown"} if name == "share" else {"id": place.secret.pk, "share": 987654}
        return reverse(name, kwargs=arguments)
    if name in IN_ENVIRONMENT:
        return reverse(name, kwargs={"name": place.environment.name})
    of_secret = name.startswith("secret-") and name not in _OF_NO_SECRET
    return reverse(name, kwargs={"id": place.secret.pk} if of_secret else {})


def browser_of(caller: str, place: Scene) -> Client:
    client = Client()
    if caller in place.sessions:
        client.cookies[configured.SESSION_COOKIE_NAME] = place.sessions[caller]
    if caller == "nobody" or caller in place.sessions:
        return client
    if caller == "outsider":
        who = place.cast.charlie
    elif caller == "admin":
        who = place.cast.root
    else:
        who = User.objects.create_user(f"{caller}-{place.environment.pk}")
        Membership.objects.create(environment=place.environment, user=who, role=caller)
    client.force_login(who, backend="environments_app.users.password_backend.LocalBackend")
    return client


def expected_page(name: str, rule: PageRule, caller: str) -> int:  # noqa: PLR0911 - it reads as the rules do
    if caller == "nobody":
        return 302
    if caller == "admin":
        return rule.admin
    if rule.least == "anyone":
        return rule.ok
    if rule.least in {"nobody", "manager of any"}:
        return rule.ok if rule.least != "nobody" and caller == "manager" else 403
    if caller == "outsider" or rule.least == "absent":
        return 404
    if rule.least == "its manager":
        return rule.ok if caller == "manager" else 404
    if rule.least == "another":
        return rule.ok
    return rule.ok if ROLES.index(caller) >= ROLES.index(rule.least) else 403


@pytest.mark.parametrize("name", PAGES)
def test_each_person_gets_the_pages_that_the_table_says(stage: Callable[[str], Scene], name: str) -> None:
    for rule in PAGES[name]:
        with undone():
            _each_person_gets_the_page(stage(name), name, rule)


def _each_person_gets_the_page(place: Scene, name: str, rule: PageRule) -> None:
    answers, wanted, flaws, done = {}, {}, {}, set[str]()
    event, driven = recorded.PAGES.get((name, rule.method)), (name, rule.method) in recorded.DRIVEN
    for caller in PEOPLE:
        is_act = rule.method != "GET" and caller != "nobody" and expected_page(name, rule, caller) < 400
        form = {
            key: place.environment.pk if value == "{environment}" else place.body(value)
            for key, value in (rule.form or {}).items()
        }
        client = browser_of(caller, place)
        path = page_path(place, name)
        with undone() if is_act else nullcontext(), recorded.watching() as seen:
            response: Any = client.get(path) if rule.method == "GET" else client.post(path, form)
            text = shown(response)
        who = ACTORS.get(caller, f"{caller}-{place.environment.pk}")
        flaws[caller] = recorded.flaws(
            seen,
            response,
            text,
            name=name,
            actor=who,
            expected=event,
            idle=rule.least == "anyone" or driven,
        )
        done |= seen.of(Outcome.ALLOWED) | seen.of(Outcome.FAILED)
        answers[caller], wanted[caller] = response.status_code, expected_page(name, rule, caller)
        if caller == "nobody":
            assert response["Location"].startswith("/sign-in"), response["Location"]
        if caller in {"nobody", "outsider", "viewer", "admin"}:
            assert VALUE not in text, caller
    assert answers == wanted
    assert {caller: found for caller, found in flaws.items() if found} == {}
    assert driven or not isinstance(event, Action) or event in done


# --- Stale sessions ------------------------------------------------------------------------------

# What a session does not do once its person's proof has lapsed: it would open many values at once, or
# lead to a session or a token that counts as proven. All other acts are done without asking.
ASKS: Final = {
    # Many values at once, and what is known of somebody who left.
    ("api-export", "GET"), ("secret-export", "POST"), ("secret-bulk", "POST"),
    ("api-offboarding", "POST"), ("offboard", "POST"),
    # Another account, whose own session is fresh, is let in to values.
    ("api-members", "POST"), ("api-member", "PATCH"), ("member-grant", "POST"), ("member-change", "POST"),
    ("api-access-request-grant", "POST"), ("access-request-grant", "POST"),
    ("api-suspended-account", "POST"), ("access-confirm", "POST"),
    ("api-suspended-mapping", "POST"), ("mapping-confirm", "POST"), ("restore-release", "POST"),
    # Tokens count as proven.
    ("api-trusts", "POST"), ("trust-new", "POST"), ("personal-token-issue", "POST"),
    ("api-tokens", "POST"), ("token-issue", "POST"), ("api-token-rotate", "POST"), ("token-rotate", "POST"),
    ("api-admin-tokens", "POST"), ("admin-token-issue", "POST"),
    ("api-admin-token-rotate", "POST"), ("admin-token-rotate", "POST"),
    # The second factor, without the password.
    ("second-factor-start", "POST"), ("second-factor-enrol", "POST"),
    ("second-factor-codes", "POST"), ("second-factor-remove", "POST"),
    ("passkey-start", "POST"), ("passkey-register", "POST"), ("passkey-remove", "POST"),
    ("person-add", "POST"), ("person-update", "POST"), ("person-reset-mfa", "POST"),
    ("person-disable", "POST"), ("person-enable", "POST"), ("person-invite", "POST"),
}  # fmt: skip
# Bodies that let in to values, where those of the tables above do not.
_LETS_IN: Final[dict[tuple[str, str], Any]] = {
    ("api-members", "POST"): {"user": "newcomer", "role": "reader"},
    ("member-grant", "POST"): {"username": "newcomer", "role": "reader"},
    ("api-access-request-grant", "POST"): {"role": "reader"},
    ("access-request-grant", "POST"): {"role": "reader"},
    ("access-confirm", "POST"): {"user": "bob", "since": "2026-01-01T00:00:00Z"},
    ("secret-export", "POST"): {"environment": "{name}", "format": "dotenv"},
    ("secret-bulk", "POST"): {"act": "export", "step": "apply", "pick": "{pick}", "format": "dotenv"},
}
_ACTS: Final = sorted(
    {key for key in TABLE if key[1] != "GET"}
    | {(name, rule.method) for name, rules in PAGES.items() for rule in rules if rule.method == "POST"}
    | ASKS
)


def asks(response: Any) -> bool:
    """Say whether an answer asks the person to prove who they are."""
    if response.status_code == 302:
        return str(response["Location"]).startswith("/confirm")
    return response.status_code in {403, 422} and "Confirm your password" in shown(response)


def asked_as(caller: str, place: Scene, name: str, method: str) -> bool:
    """Do an act and undo it; say whether it asked for a proof."""
    with undone():
        return asks(do_as(caller, place, name, method))


def do_as(caller: str, place: Scene, name: str, method: str) -> Any:
    """Do an act of the tables by a browser of a manager or an administrator."""
    client = browser_of(caller, place)
    if name.startswith("api-"):
        body = _LETS_IN.get((name, method), TABLE[name, method].body)
        return send(client, method, place.path(name), place.body(body))
    rules = [rule for rule in PAGES[name] if rule.method == method]
    form = _LETS_IN.get((name, method), rules[0].form if rules else {}) or {}
    filled = {
        key: place.environment.pk if value == "{environment}" else place.body(value)
        for key, value in form.items()
    }
    return client.post(page_path(place, name), filled)


@pytest.mark.parametrize(("name", "method"), _ACTS, ids=lambda value: value)
def test_a_stale_session_is_asked_to_confirm_before_what_the_table_says(
    stage: Callable[[str], Scene], settings: Settings, name: str, method: str
) -> None:
    place = stage(name)
    settings.KEEPER_REAUTH_SECONDS = -1
    stale = [asked_as(caller, place, name, method) for caller in ("manager", "admin")]
    assert any(stale) == ((name, method) in ASKS)
    if any(stale):
        settings.KEEPER_REAUTH_SECONDS = DAY_SECONDS
        assert not any(asked_as(caller, place, name, method) for caller in ("manager", "admin"))
