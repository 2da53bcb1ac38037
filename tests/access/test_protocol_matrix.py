"""Who may do what by the protocols of other systems, /vault, /aws and /scim: each route and method, for each role."""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson
import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from audit_app.events.actions import Action, Outcome
from environments_app.models import Role
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from gateway_app.aws.views import OPERATIONS
from gateway_app.tests.aws.conftest import send, session_of, signed
from secrets_app.tests.kept import keep
from tests import recorded

pytestmark = pytest.mark.django_db
METHODS: Final = ("GET", "LIST", "SCAN", "POST", "PUT", "PATCH", "DELETE")
_DATA: Final = {"data": {"value": "new"}}
_ONE: Final = {"versions": [1]}


class Rule(NamedTuple):
    """The least role that a request is answered for, how, and what that leaves in the audit log."""

    path: str
    least: str = "viewer"
    status: int = 200
    body: Any = None
    acts: frozenset[Action] = frozenset()


_READ: Final = frozenset({Action.SECRET_REVEAL})
_WRITE: Final = Rule("secret/data/a", "editor", 200, _DATA, frozenset({Action.SECRET_UPDATE}))
_DELETE: Final = Rule("secret/delete/a", "editor", 204, _ONE, frozenset({Action.SECRET_DELETE}))
_LIST: Final = Rule("secret/metadata/")
_LIVING: Final = Rule("secret/undelete/a", "editor", 204, body=_ONE)
_DESTROY: Final = Rule("secret/destroy/a", "manager", 204, _ONE, frozenset({Action.SECRET_DESTROY}))
_DESCRIBE: Final = Rule(
    "secret/metadata/a", "editor", 204, {"custom_metadata": {"team": "a"}}, frozenset({Action.SECRET_UPDATE})
)
_CONFIG: Final = Rule(
    "secret/config",
    "manager",
    204,
    {"max_versions": 5},
    frozenset({Action.ENVIRONMENT_UPDATE, Action.CONFIGURATION_CHANGE}),
)
_OF_ANOTHER: Final = Rule("auth/token/lookup", status=403, body={"token": "kpr_x"})
_OTHER: Final = Rule("secret/a", status=404)
VAULT: Final[dict[tuple[str, str], Rule]] = {
    ("kv2-health", "GET"): Rule("sys/health"),
    ("kv2-seal-status", "GET"): Rule("sys/seal-status"),
    ("kv2-init", "GET"): Rule("sys/init"),
    ("kv2-leader", "GET"): Rule("sys/leader"),
    ("kv2-mounts", "GET"): Rule("sys/internal/ui/mounts"),
    ("kv2-all-mounts", "GET"): Rule("sys/mounts"),
    ("kv2-auth-methods", "GET"): Rule("sys/auth"),
    ("kv2-acl", "GET"): Rule("sys/internal/ui/resultant-acl"),
    ("kv2-tune", "GET"): Rule("sys/mounts/secret/tune"),
    # Nobody looks up a token but their own: the tests of the protocol do.
    ("kv2-lookup-of", "POST"): _OF_ANOTHER,
    ("kv2-lookup-of", "PUT"): _OF_ANOTHER,
    ("kv2-mount", "GET"): Rule("sys/internal/ui/mounts/secret/a"),
    ("kv2-mount-settings", "GET"): Rule("sys/mounts/secret"),
    ("kv2-capabilities", "POST"): Rule("sys/capabilities-self", body={"paths": ["secret/data/a"]}),
    ("kv2-capabilities", "PUT"): Rule("sys/capabilities-self", body={"paths": ["secret/data/a"]}),
    # What a wrapping token opens, the tests of wrapped reads say; these send none that is one.
    **{
        (f"kv2-{name}", method): Rule(f"sys/wrapping/{path}", status=400, body={"token": "kpw_x"})
        for name, path in (("unwrap", "unwrap"), ("wrapping-lookup", "lookup"))
        for method in ("GET", "POST", "PUT")
        if (name, method) != ("unwrap", "GET")
    },
    # Of one's own request alone: the tests of guarded reads make some.
    **{
        (f"kv2-control-group-{name}", method): Rule(
            f"sys/control-group/{name}", status=400, body={"accessor": "x"}
        )
        for name in ("request", "authorize")
        for method in ("POST", "PUT")
    },
    ("kv2-lookup", "GET"): Rule("auth/token/lookup-self"),
    ("kv2-lookup", "POST"): Rule("auth/token/lookup-self"),
    ("kv2-renew", "POST"): Rule("auth/token/renew-self", status=400),
    ("kv2-renew", "PUT"): Rule("auth/token/renew-self", status=400),
    # Of oneself and of children: their tests have each.
    **{
        (f"kv2-{name}", method): Rule(f"auth/token/{path}", status=status, body=sent)
        for name, path, status, sent in (
            ("renew-of", "renew", 403, {"token": "kpr_x"}),
            ("renew-accessor", "renew-accessor", 403, {"accessor": "x"}),
            ("revoke-of", "revoke", 403, {"token": "kpr_x"}),
            ("revoke-accessor", "revoke-accessor", 403, {"accessor": "x"}),
            ("lookup-accessor", "lookup-accessor", 403, {"accessor": "x"}),
        )
        for method in ("POST", "PUT")
    },
    **{
        ("kv2-create", method): Rule(
            "auth/token/create", acts=frozenset({Action.TOKEN_ISSUE, Action.CONFIGURATION_CHANGE})
        )
        for method in ("POST", "PUT")
    },
    **{
        (f"kv2-accessors{end}", method): Rule(f"auth/token/accessors{slash}")
        for end, slash in (("", ""), ("-root", "/"))
        for method in ("GET", "LIST")
    },
    ("kv2-revoke", "POST"): Rule("auth/token/revoke-self", status=400),
    ("kv2-revoke", "PUT"): Rule("auth/token/revoke-self", status=400),
    ("kv2-approle", "POST"): Rule("auth/approle/login", status=400, body={"role_id": "x", "secret_id": "y"}),
    ("kv2-approle", "PUT"): Rule("auth/approle/login", status=400, body={"role_id": "x", "secret_id": "y"}),
    **{
        (f"kv2-{kind}", method): Rule(f"auth/{kind}/login", status=403, body={"role": "x", "jwt": "y"})
        for kind in ("jwt", "kubernetes")
        for method in ("POST", "PUT")
    },
    ("kv2-data", "GET"): Rule("secret/data/a", "reader", acts=_READ),
    ("kv2-data", "POST"): _WRITE,
    ("kv2-data", "PUT"): _WRITE,
    ("kv2-data", "PATCH"): _WRITE._replace(acts=_WRITE.acts | _READ),
    ("kv2-data", "DELETE"): _DELETE._replace(path="secret/data/a", body=None),
    ("kv2-list", "GET"): Rule("secret/metadata"),
    ("kv2-list", "LIST"): Rule("secret/metadata"),
    ("kv2-list", "SCAN"): Rule("secret/metadata"),
    ("kv2-list-root", "GET"): _LIST,
    ("kv2-list-root", "LIST"): _LIST,
    ("kv2-list-root", "SCAN"): _LIST,
    ("kv2-metadata", "GET"): Rule("secret/metadata/a"),
    ("kv2-metadata", "LIST"): Rule("secret/metadata/part"),
    ("kv2-metadata", "SCAN"): Rule("secret/metadata/part"),
    ("kv2-metadata", "POST"): _DESCRIBE,
    ("kv2-metadata", "PUT"): _DESCRIBE,
    ("kv2-metadata", "PATCH"): _DESCRIBE,
    ("kv2-metadata", "DELETE"): _DELETE._replace(path="secret/metadata/a", body=None),
    ("kv2-subkeys", "GET"): Rule("secret/subkeys/a", "reader", acts=_READ),
    ("kv2-delete", "POST"): _DELETE,
    ("kv2-delete", "PUT"): _DELETE,
    ("kv2-undelete", "POST"): _LIVING,
    ("kv2-undelete", "PUT"): _LIVING,
    ("kv2-destroy", "POST"): _DESTROY,
    ("kv2-destroy", "PUT"): _DESTROY,
    ("kv2-config", "GET"): Rule("secret/config"),
    ("kv2-config", "POST"): _CONFIG,
    ("kv2-config", "PUT"): _CONFIG,
    # Of a secret without a rotation policy.
    ("kv2-static-credentials", "GET"): Rule("database/static-creds/a", status=400),
    **{("kv2-other", method): _OTHER for method in METHODS},
}
# By operation: all are POST to one address, with and without a slash at its end.
AWS: Final[dict[str, Rule]] = {
    "GetSecretValue": Rule("", "reader", body={"SecretId": "a"}, acts=_READ),
    "BatchGetSecretValue": Rule("", body={"SecretIdList": ["a"]}, acts=_READ),
    "DescribeSecret": Rule("", body={"SecretId": "a"}),
    "ListSecrets": Rule("", body={}),
    "ListSecretVersionIds": Rule("", body={"SecretId": "a"}),
    "GetResourcePolicy": Rule("", body={"SecretId": "a"}),
    "GetRandomPassword": Rule("", body={}),
}
AWS_ROUTES: Final = {
    ("aws", "POST"), ("aws-root", "POST"), ("aws-credentials", "GET"),
    ("aws-sts", "POST"), ("aws-sts-root", "POST"),
}  # fmt: skip


_SCIM_READS: Final = {
    "scim-config", "scim-resource-types", "scim-resource-type", "scim-schemas", "scim-schema",
}  # fmt: skip
# All are for the token of a SCIM client alone (tests/people/test_scim.py).
SCIM: Final = {
    *((name, "GET") for name in _SCIM_READS),
    ("scim-users", "GET"), ("scim-users", "POST"),
    ("scim-user", "GET"), ("scim-user", "PUT"), ("scim-user", "PATCH"), ("scim-user", "DELETE"),
    ("scim-users-search", "POST"), ("scim-search", "POST"), ("scim-groups-search", "POST"),
    ("scim-groups", "GET"), ("scim-groups", "POST"),
    ("scim-group", "GET"), ("scim-group", "PUT"), ("scim-group", "PATCH"), ("scim-group", "DELETE"),
    *((name, method) for name in ("scim-me", "scim-bulk", "scim-other") for method in METHODS if method not in {"LIST", "SCAN"}),
}  # fmt: skip


def routes(start: str) -> set[tuple[str, str]]:
    return {
        (str(pattern.name), method)
        for path, pattern in patterns(get_resolver().url_patterns)
        if path.startswith(start)
        for method in METHODS
        if hasattr(pattern.callback.view_class, method.lower())
    }


def patterns(found: list[Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for each in found:
        if isinstance(each, URLResolver):
            yield from patterns(each.url_patterns, f"{start}{each.pattern}")
        elif isinstance(each, URLPattern):
            yield f"{start}{each.pattern}", each


def test_every_route_and_method_has_its_rule() -> None:
    assert routes("vault/") == VAULT.keys()
    assert routes("aws") == AWS_ROUTES
    assert routes("scim/") == SCIM
    assert OPERATIONS.keys() == AWS.keys()


def token(cast: Cast, role: str, **options: Any) -> str:
    actor = cast.principal(cast.alice)
    return issue(actor=actor, environment=cast.development, role=role, name=f"by-{role}", **options)[1]


@pytest.mark.parametrize("role", ["viewer", "reader", "editor", "manager"])
@pytest.mark.parametrize(("name", "method"), VAULT, ids=str)
def test_each_role_may_do_by_vault_what_the_table_says(cast: Cast, name: str, method: str, role: str) -> None:
    rule = VAULT[name, method]
    keep(cast, "a"), keep(cast, "part/b")
    own, body = token(cast, role), json.dumps(rule.body).encode() if rule.body is not None else b""
    kind = "application/merge-patch+json" if method == "PATCH" else ""
    with recorded.watching() as seen:
        answer: Any = Client().generic(
            method, f"/vault/v1/{rule.path}", body, content_type=kind, headers={"X-Vault-Token": own}
        )
    may = Role(role).rank >= Role(rule.least).rank
    assert answer.status_code == (rule.status if may else 403), answer.content
    # A patch reads the value before it writes, which a reader may.
    read = _READ if method == "PATCH" and role == "reader" and name == "kv2-data" else frozenset()
    assert seen.of(Outcome.ALLOWED) == (rule.acts if may else read)
    assert may or seen.of(Outcome.DENIED)


@pytest.mark.parametrize("role", ["viewer", "reader", "editor", "manager"])
@pytest.mark.parametrize("operation", AWS)
def test_each_role_may_do_by_aws_what_the_table_says(cast: Cast, operation: str, role: str) -> None:
    rule = AWS[operation]
    keep(cast, "a")
    session, body = session_of(token(cast, role)), orjson.dumps(rule.body)
    with recorded.watching() as seen:
        answer = send(signed(session, operation, body), body)
    may = Role(role).rank >= Role(rule.least).rank
    assert answer.status_code == (200 if may else 400), answer.content
    reads = Role(role).rank >= Role.READER.rank
    assert seen.of(Outcome.ALLOWED) == (rule.acts if reads else frozenset())
    assert seen.of(Outcome.DENIED) == (rule.acts if not reads else frozenset())


@pytest.mark.parametrize("role", ["viewer", "reader", "editor", "manager"])
@pytest.mark.parametrize(("name", "method"), sorted(SCIM))
def test_no_role_of_an_environment_opens_scim(cast: Cast, name: str, method: str, role: str) -> None:
    values = {"name": "User", "id": "x", "path": "x"}
    pattern = next(each for _, each in patterns(get_resolver().url_patterns) if each.name == name)
    names = pattern.pattern.converters
    path = reverse(name, kwargs={each: values[each] for each in names})
    own = {"authorization": f"Bearer {token(cast, role)}"}
    assert Client().generic(method, path, b"{}", headers=own).status_code == 401


@pytest.mark.parametrize("operation", AWS)
def test_another_part_of_the_environment_is_refused_by_aws(cast: Cast, operation: str) -> None:
    keep(cast, "a", value="s3cret")
    body = orjson.dumps(AWS[operation].body)
    answer = send(signed(session_of(token(cast, "manager", prefix="other")), operation, body), body)
    assert b"s3cret" not in answer.content
    assert answer.status_code == (400 if "SecretId" in AWS[operation].body else 200)
