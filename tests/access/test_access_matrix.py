"""Who may do what, at every address: each route, method and role, against one table.

The table is written by hand and not derived from the policy. A route or method without an entry
fails, so that nothing is added without saying who may use it.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from django.urls import get_resolver

from audit_app.events.actions import Action, Outcome
from environments_app.models import Environment
from secrets_app.models import Secret
from secrets_app.tests.kept import VALUE, send
from tests import recorded
from tests.access.access_scene import (
    ACTORS,
    CALLERS,
    ROLES,
    Scene,
    call_as,
    name_of,
    patterns,
    shared_scene,
    shown,
    stage,
    undone,
)
from tests.access.act_rules import ACTS
from tests.acts import pages, routes

__all__ = ["shared_scene", "stage"]


METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


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
    # None of these callers has the token of a person or a workload.
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
    ("api-secret-usage", "GET"): rule_of_secret("viewer", admin=200),
    ("api-secret-impact", "GET"): Rule("manager", admin=200, other_part=404),
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
    ("api-environment", "DELETE"): Rule("manager", 204, admin=204),
    # What one may restore is all that it shows.
    ("api-deleted-environments", "GET"): Rule("anyone", admin=200),
    # It is not deleted.
    ("api-environment-restore", "POST"): Rule("anyone", 404, admin=404),
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
    ("api-trust-fetch-keys", "POST"): Rule("manager", admin=200),
    ("api-trust-test", "POST"): Rule("manager", admin=200, body={"jwt": "x"}),
    # Who calls is what it finds out: a token of a platform, and nothing else.
    ("api-workload-sign-in", "POST"): Rule("anyone", 401, body={"trust": "absent", "jwt": "x"}),
    ("api-access", "GET"): Rule("manager", admin=200),
    # It takes a person: a token of a manager is told so.
    ("api-suspensions", "GET"): Rule("manager", admin=200),
    ("api-suspended-account", "POST"): Rule("manager", 409, body={"suspended_at": "2026-01-01T00:00:00Z"}),
    ("api-suspended-mapping", "POST"): Rule("manager", 409),
    ("api-releases", "GET"): Rule("manager", admin=200),
    # It names no program.
    ("api-releases", "POST"): Rule("manager", 400, body={"path": "part", "reason": "for the access matrix"}),
    ("api-release", "GET"): Rule("manager", admin=200),
    ("api-release", "DELETE"): Rule("manager", 204, admin=204),
    ("api-recipients", "GET"): Rule("manager", admin=200),
    ("api-recipients", "POST"): Rule("manager", 201, admin=201, body={"email": "new@example.com"}),
    ("api-recipient", "DELETE"): Rule("manager", 204, admin=204),
    ("api-webhooks", "GET"): Rule("manager", admin=200),
    ("api-webhooks", "POST"): Rule("manager", 201, admin=201, body={"name": "new", "url": "https://hooks.example/x"}),
    ("api-webhook", "DELETE"): Rule("manager", 204, admin=204),
    # Targets. Those that would connect to another system get a body that is refused before.
    ("api-targets", "GET"): Rule("viewer", admin=200, part=True, other_part=200),
    ("api-targets", "POST"): Rule("manager", 400, body={"name": "new", "backend": "vault_kv2", "destination": {"address": "ftp://x"}, "credentials": {"token": "t"}}),
    ("api-targets-test", "POST"): Rule("manager", 400, body={"backend": "vault_kv2", "destination": {"address": "ftp://x"}, "credentials": {"token": "t"}}),
    ("api-deliveries", "GET"): Rule("viewer", admin=200, part=True, other_part=200),
    ("api-target", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-target", "PATCH"): rule_of_target("manager", body={"automatic": True}),
    ("api-target", "DELETE"): rule_of_target("manager", 204),
    ("api-target-entries", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-target-plans", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-target-runs", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-consents", "GET"): Rule("manager", admin=200),
    # Nobody here may see a target of another environment.
    ("api-consents", "POST"): Rule("manager", 400, body={"target": "nowhere/none"}),
    ("api-consent", "DELETE"): Rule("manager", 204),
    ("api-plan", "GET"): rule_of_target("viewer", admin=200, part=True),
    ("api-plan-items", "GET"): rule_of_target("viewer", admin=200, part=True),
    # It has nothing to tell of what is no update.
    ("api-plan-members", "POST"): rule_of_target("reader", 409, part=True),
    # Rotation, each policy of one secret. The policy of these is of a value that no system checks.
    ("api-rotation-policies", "GET"): Rule("viewer", admin=200, part=True, other_part=200),
    ("api-rotation-policies", "POST"): rule_of_secret("manager", 201, body={"secret": "part/key", "rotator": "generated"}),
    ("api-rotation-policy", "GET"): rule_of_secret("viewer", admin=200),
    ("api-rotation-policy", "PATCH"): rule_of_secret("manager", body={"grace_seconds": 5}),
    ("api-rotation-policy", "DELETE"): rule_of_secret("manager", 204),
    # Without a name there is nobody to be found.
    ("api-leaked", "POST"): Rule("manager of any", admin=200, admin_token=200, body={"text": "x"}),
    ("api-exposure", "GET"): Rule("manager of any", 404, admin=404, admin_token=404),
    ("api-exposure", "POST"): Rule("manager of any", admin=200, admin_token=200, body={"who": "newcomer", "confirm": "newcomer"}),
    ("api-rotations", "GET"): rule_of_secret("viewer", admin=200),
    ("api-rotation", "GET"): rule_of_secret("viewer", admin=200),
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
    ("api-approval-carry-out", "POST"): Rule("another"),
    # Access that somebody asks for: people ask, and managers answer, if they are people.
    ("api-access-requests", "GET"): Rule("anyone", admin=200),
    ("api-access-requests", "POST"): Rule("person", 202, body={"environment": "nowhere", "role": "reader"}),
    ("api-access-request", "GET"): Rule("manager", admin=200),
    # The installation.
    ("api-offboarding", "GET"): Rule("nobody", admin=200, admin_token=403),
    ("api-offboarding", "POST"): Rule("nobody", admin=200, admin_token=403),
    ("api-user-hand-over", "POST"): Rule(
        "nobody", admin=400, admin_token=403, body={"client": "nowhere", "external_id": "00u1", "user_name": "n@x.y"}
    ),
    # Administrators see all of a departure, editors the values that they may replace; people decide.
    ("api-departures", "GET"): Rule("anyone", admin=200),
    ("api-departure", "GET"): Rule("editor", admin=200),
    ("api-departure-close", "POST"): Rule("nobody", admin=200, body={"reason": "enough"}),
    ("api-departure-continue", "POST"): Rule("nobody", admin=200),
    # There is none of this id.
    ("api-departure-outlet-keep", "POST"): Rule("editor", 404, admin=404, body={"reason": "enough"}),
    ("api-departure-outlet-mark", "POST"): Rule("editor", 404, admin=404),
    ("api-departure-value-keep", "POST"): Rule("nobody", body={"reason": "enough"}),
    ("api-departure-value-assign", "POST"): Rule("nobody", admin=200, body={"username": "alice"}),
    # Reviews of access: managers who are people see those of their environments, and no token decides.
    ("api-reviews", "GET"): Rule("anyone", admin=200),
    ("api-emergency-reads", "GET"): Rule("anyone", admin=200),
    # There is none.
    ("api-emergency-read", "GET"): Rule("anyone", 404, admin=404),
    ("api-emergency-review", "POST"): Rule("anyone", 404, admin=404, body={}),
    ("api-unreviewed", "GET"): Rule("anyone", admin=200),
    ("api-reviews", "POST"): Rule("nobody", 201, admin=201, admin_token=403, body={"name": "Q4", "environments": ["{name}"]}),
    ("api-review", "GET"): Rule("another", admin=200, admin_token=200),
    ("api-review-items", "GET"): Rule("another", admin=200, admin_token=200),
    # The access is in another state than this.
    ("api-review-decide", "POST"): Rule("another", admin=409, admin_token=403, body={"decision": "keep", "state": ""}),
    ("api-admin-tokens", "GET"): Rule("nobody", admin=200),
    ("api-admin-tokens", "POST"): Rule("nobody", 201, admin=201, body={"name": "ops"}),
    ("api-admin-token", "GET"): Rule("nobody", admin=200),
    ("api-admin-token", "PATCH"): Rule("nobody", admin=200, body={"cidrs": ["10.0.0.0/8"]}),
    ("api-admin-token", "DELETE"): Rule("nobody", 204, admin=204),
    ("api-admin-token-rotate", "POST"): Rule("nobody", 201, admin=201, body={}),
}  # fmt: skip


def rule_of_act(noun: str, name: str) -> Rule:
    """Return the rule of an act's route."""
    act = ACTS[noun, name]
    rule = Rule(
        "another" if act.people else act.least,
        act.ok,
        admin=act.ok if act.operators else None,
        admin_token=403 if act.people else None,
        body=act.body,
    )
    if noun in {"secret", "rotation"}:
        return replace(rule, part=True, other_part=404)
    return replace(rule, part=act.part, other_part=404) if noun in {"target", "plan"} else rule


TABLE.update(
    {(name, "POST"): rule_of_act(noun, act.name) for name, noun, act in routes() if (noun, act.name) in ACTS}
)
# About the installation, not an environment: who may not, is told so.
_INSTALLATION: Final = {
    "api-trail-verify",
    "api-reviews",
    "api-unreviewed",
    "api-emergency-reads",
    "api-environments",
    "api-admin-tokens",
    "api-admin-token",
    "api-admin-token-rotate",
    "api-offboarding",
    "api-user-hand-over",
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


def api_routes() -> dict[str, set[str]]:
    """Return the methods of each route under /api, by its name."""
    found: dict[str, set[str]] = {}
    for path, pattern in patterns(get_resolver().url_patterns):
        if path.startswith("api/"):
            view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
            assert view is not None, path
            assert pattern.name, path
            found[pattern.name] = {method for method in METHODS if hasattr(view, method.lower())}
    return found


def test_every_act_has_its_rule() -> None:
    declared = {(noun, act.name) for _, noun, act in (*routes(), *pages())}
    assert declared == ACTS.keys()


def test_every_route_and_method_has_its_rule() -> None:
    listed = {(name, method) for name, methods in api_routes().items() for method in methods}
    assert listed == TABLE.keys()


def expected(route: str, rule: Rule, caller: str) -> int:  # noqa: C901, PLR0911, PLR0912 - it reads as the rules do
    """Return the status that the table asks for."""
    if caller == "nobody":
        return rule.ok if route in _PUBLIC else 401
    if rule.least == "anyone":
        return rule.ok
    if rule.least == "person":
        return rule.ok if caller in {"outsider", "admin"} else 403
    if route.startswith("api-departure"):
        if caller not in {"editor", "manager", "manager of the prefix", "admin"}:
            return 404
        return rule.ok if rule.least == "editor" else (rule.admin if caller == "admin" else None) or 403
    if route.startswith("api-review") and route != "api-reviews" and not caller.startswith("admin"):
        return 404
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
    # No object of it is looked for.
    place = stage("")
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
