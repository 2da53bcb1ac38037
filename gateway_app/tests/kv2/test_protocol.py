"""The KV v2-compatible API: bodies, status codes, rights and records as clients of Vault know them."""

import json
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.environments.memberships import grant
from environments_app.environments.service import update_environment
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import revoke
from gateway_app.kv2.lane import KV2
from gateway_app.tests.kv2.conftest import Ask, token
from secrets_app.models import Secret
from secrets_app.services import lifecycle
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
MEMBERS = {
    "request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth",
}  # fmt: skip


def put(data: Any, **options: Any) -> bytes:
    return json.dumps({"data": data, "options": options}).encode()


def reveals() -> int:
    return AuditEvent.objects.filter(action=Action.SECRET_REVEAL, outcome="allowed").count()


def test_a_value_is_under_value_and_its_read_is_recorded(cast: Cast, ask: Ask) -> None:
    keep(cast, "app/db", value="s3cret")
    answer = ask("GET", "development/data/app/db")
    assert answer.status_code == 200
    assert answer.json().keys() == MEMBERS
    data = answer.json()["data"]
    assert data["data"] == {"value": "s3cret"}
    facts = data["metadata"]
    assert (facts["version"], facts["destroyed"], facts["deletion_time"]) == (1, False, "")
    assert facts["created_time"].endswith("000Z")
    event = AuditEvent.objects.filter(action=Action.SECRET_REVEAL).latest("id")
    assert json.loads(event.details) == {"number": 1, "protocol": "kv-v2"}


def test_a_json_object_is_its_fields_and_anything_else_is_not(cast: Cast, ask: Ask) -> None:
    keep(cast, "object", value='{"user": "a", "port": 5432}', secret_type=SecretType.JSON)
    keep(cast, "list", value='["a"]', secret_type=SecretType.JSON)
    assert ask("GET", "secret/data/object").json()["data"]["data"] == {"user": "a", "port": 5432}
    assert ask("GET", "secret/data/list").json()["data"]["data"] == {"value": '["a"]'}
    assert ask("GET", "secret/subkeys/object").json()["data"]["subkeys"] == {"user": None, "port": None}


def test_an_earlier_version_is_read_by_its_number(cast: Cast, ask: Ask) -> None:
    change(cast, keep(cast, "a", value="old"), value="new")
    assert ask("GET", "secret/data/a?version=1").json()["data"]["data"] == {"value": "old"}
    assert ask("GET", "secret/data/a?version=0").json()["data"]["data"] == {"value": "new"}
    absent = ask("GET", "secret/data/a?version=7")
    assert (absent.status_code, absent.json()) == (404, {"errors": []})
    assert ask("GET", "secret/data/a?version=x").status_code == 400


def test_what_is_not_there_differs_from_what_one_may_not_know(cast: Cast, ask: Ask) -> None:
    keep(cast, "part/key")
    absent = ask("GET", "secret/data/absent")
    assert (absent.status_code, absent.json()) == (404, {"errors": []})
    narrow = token(cast, "reader", prefix="other")
    for path in ("secret/data/part/key", "secret/data/part/absent", "production/data/a", "nowhere/data/a"):
        refused = ask("GET", path, token=narrow)
        assert (refused.status_code, refused.json()) == (403, {"errors": ["permission denied"]}), path


@pytest.mark.parametrize("given", ["", "kpr_x", "s.token", f"kpr_{'a' * 22}_{'b' * 43}"])
def test_no_token_is_403_and_counted(cast: Cast, ask: Ask, given: str) -> None:
    for path in ("secret/data/a", "auth/token/lookup-self", "sys/internal/ui/mounts", "anything/else"):
        refused = ask("GET", path, token=given)
        assert (refused.status_code, refused.json()) == (403, {"errors": ["permission denied"]})


def test_who_guesses_is_slowed_down(cast: Cast, ask: Ask, settings: Any) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 3
    answers = [ask("GET", "secret/data/a", token="guess") for _ in range(5)]
    assert [each.status_code for each in answers][-1] == 429
    assert "Retry-After" in answers[-1]


def test_a_viewer_sees_names_and_no_value(cast: Cast, ask: Ask) -> None:
    keep(cast, "app/db")
    viewer = token(cast, "viewer")
    assert ask("GET", "secret/metadata/app?list=true", token=viewer).json()["data"] == {"keys": ["db"]}
    before = reveals()
    for path in ("secret/data/app/db", "secret/subkeys/app/db"):
        assert ask("GET", path, token=viewer).status_code == 403
    assert reveals() == before


def test_a_reader_writes_nothing(cast: Cast, ask: Ask) -> None:
    secret = keep(cast, "a", value="kept")
    reader = token(cast, "reader")
    body = json.dumps({"versions": [1]}).encode()
    for method, path, sent in (
        ("PUT", "data/a", put({"value": "x"})),
        ("POST", "data/new", put({"value": "x"})),
        ("PATCH", "data/a", put({"value": "x"})),
        ("DELETE", "data/a", b""),
        ("PUT", "delete/a", body),
    ):
        assert ask(method, f"secret/{path}", sent, token=reader).status_code == 403, path
    secret.refresh_from_db()
    assert (secret.current_number, secret.live) == (1, True)


def test_names_are_listed_by_folder_in_both_ways(cast: Cast, ask: Ask) -> None:
    for name in ("app", "app/db/a", "app/x", "z"):
        keep(cast, name)
    for method, query in (("LIST", ""), ("GET", "?list=true")):
        assert ask(method, f"secret/metadata/app{query}").json()["data"]["keys"] == ["db/", "x"]
        assert ask(method, f"secret/metadata/{query}").json()["data"]["keys"] == ["app", "app/", "z"]
        assert ask(method, f"secret/metadata{query}").json()["data"]["keys"] == ["app", "app/", "z"]
        empty = ask(method, f"secret/metadata/none{query}")
        assert (empty.status_code, empty.json()) == (404, {"errors": []})


def test_metadata_tells_of_each_version(cast: Cast, ask: Ask) -> None:
    change(cast, keep(cast, "a"), value="new")
    data = ask("GET", "secret/metadata/a").json()["data"]
    assert (data["current_version"], data["oldest_version"], [*data["versions"]]) == (2, 0, ["1", "2"])
    assert data["custom_metadata"] is None


def test_a_deleted_secret_is_404_with_its_facts(cast: Cast, ask: Ask) -> None:
    lifecycle.delete(actor=cast.principal(cast.alice), secret=keep(cast, "a"))
    answer = ask("GET", "secret/data/a")
    assert answer.status_code == 404
    data = answer.json()["data"]
    assert data["data"] is None
    assert data["metadata"]["deletion_time"] != ""
    versions = ask("GET", "secret/metadata/a").json()["data"]["versions"]
    assert versions["1"]["deletion_time"] == data["metadata"]["deletion_time"]


def test_writes_make_versions_and_cas_keeps_what_was_not_seen(cast: Cast, ask: Ask) -> None:
    assert ask("PUT", "secret/data/new", put({"value": "a"}, cas=0)).json()["data"]["version"] == 1
    differs = ask("PUT", "secret/data/new", put({"value": "b"}, cas=0))
    assert differs.status_code == 400
    assert differs.json() == {"errors": ["check-and-set parameter did not match the current version"]}
    assert ask("POST", "secret/data/new", put({"value": "b"}, cas="1")).json()["data"]["version"] == 2
    assert ask("PUT", "secret/data/new", put({"value": "c"})).json()["data"]["version"] == 3
    assert ask("PUT", "secret/data/absent", put({"value": "c"}, cas=4)).status_code == 400
    assert ask("PUT", "secret/data/new", b'{"value": "c"}').json() == {"errors": ["no data provided"]}
    assert ask("PUT", "secret/data/new", b"{").status_code == 400


def test_an_object_that_is_written_is_read_as_it_was(cast: Cast, ask: Ask) -> None:
    fields = {"user": "a", "nested": {"x": [1, None, "é"]}}
    assert ask("PUT", "secret/data/o", put(fields)).status_code == 200
    assert ask("GET", "secret/data/o").json()["data"]["data"] == fields
    assert ask("PATCH", "secret/data/o", put({"user": None, "nested": {"y": 1}})).status_code == 200
    assert ask("GET", "secret/data/o").json()["data"]["data"] == {"nested": {"x": [1, None, "é"], "y": 1}}


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (None, 200), ([], 200), ({}, 200), ({"cas": 1}, 200), ({"cas": "1"}, 200), ({"cas": None}, 400),
        ({"cas": 0}, 400), ({"cas": ""}, 400), ("cas=0", 400), ("", 400), (1, 400), (False, 400), ([1], 400),
    ],
    ids=repr,
)  # fmt: skip
def test_a_condition_is_kept_or_refused(cast: Cast, ask: Ask, options: Any, status: int) -> None:
    keep(cast, "a", value='{"kept": 1}', secret_type=SecretType.JSON)
    sent = json.dumps({"data": {"x": 1}, "options": options}).encode()
    for method, name in (("PATCH", "a"), ("PUT", "b")):
        keep(cast, "b", value="kept") if name == "b" else None
        assert ask(method, f"secret/data/{name}", sent).status_code == status
        stored = ask("GET", f"secret/data/{name}").json()["data"]["metadata"]["version"]
        assert stored == (2 if status == 200 else 1)
    # Null is the version before the first one.
    if options == {"cas": None}:
        assert ask("PUT", "secret/data/new", sent).status_code == 200


@pytest.mark.parametrize("path", ["data", "metadata"])
def test_a_patch_is_a_merge_patch(cast: Cast, ask: Ask, path: str) -> None:
    keep(cast, "a", value="{}", secret_type=SecretType.JSON)
    sent = json.dumps({"data": {"x": 1}, "max_versions": 5}).encode()
    headers = {"X-Vault-Token": token(cast, "manager")}
    found = {
        media_type: Client()
        .generic("PATCH", f"/vault/v1/secret/{path}/a", sent, content_type=media_type, headers=headers)
        .status_code
        for media_type in (
            "", "application/json", "application/json-patch+json", "text/plain",
            "Application/Merge-Patch+JSON; charset=utf-8",
        )
    }  # fmt: skip
    assert [*found.values()] == [400, 415, 415, 415, 200 if path == "data" else 204]


def test_numbers_are_as_they_were_written_or_refused(cast: Cast, ask: Ask) -> None:
    huge = '{"id": 123456789012345678901, "far": 1e400, "exact": 1.50}'
    keep(cast, "o", value=huge, secret_type=SecretType.JSON)
    assert f'"data":{huge}'.encode() in ask("GET", "secret/data/o").content
    assert ask("PUT", "secret/data/n", b'{"data": {"id": 12345678901234567890, "x": 0.1}}').status_code == 200
    assert b'"id":12345678901234567890,"x":0.1' in ask("GET", "secret/data/n").content
    assert ask("PATCH", "secret/data/n", b'{"data": {"y": 1}}').status_code == 200
    assert b'"id":12345678901234567890,"x":0.1,"y":1' in ask("GET", "secret/data/n").content
    for number in ("0.12345678901234567890", "1e400", "NaN"):
        refused = ask("PUT", "secret/data/n", b'{"data": {"x": %b}}' % number.encode())
        assert refused.status_code == 400, number


def test_a_version_of_another_type_is_read_all_the_same(cast: Cast, ask: Ask) -> None:
    assert ask("PUT", "secret/data/a", put({"value": "{ no JSON"})).status_code == 200
    assert ask("PUT", "secret/data/a", put({"user": "a", "port": 1})).status_code == 200
    assert ask("GET", "secret/data/a?version=1").json()["data"]["data"] == {"value": "{ no JSON"}


@pytest.mark.parametrize("levels", [70, 300, 990, 100_000])
def test_what_is_nested_too_deep_is_refused(cast: Cast, ask: Ask, levels: int) -> None:
    keep(cast, "a")
    body = b'{"data": {"x": %b1%b}}' % (b"[" * levels, b"]" * levels)
    for method in ("PUT", "PATCH"):
        assert ask(method, "secret/data/a", body).status_code == 400


def test_deleting_and_undeleting(cast: Cast, ask: Ask) -> None:
    keep(cast, "a", value="kept")
    one = json.dumps({"versions": ["1"]}).encode()
    other = json.dumps({"versions": [2]}).encode()
    assert ask("PUT", "secret/delete/a", other).status_code == 204
    assert ask("GET", "secret/data/a").status_code == 200
    assert ask("PUT", "secret/delete/a", one).status_code == 204
    assert ask("GET", "secret/data/a").status_code == 404
    assert ask("PUT", "secret/undelete/a", one).status_code == 204
    assert ask("GET", "secret/data/a").json()["data"]["data"] == {"value": "kept"}
    assert ask("DELETE", "secret/data/a").status_code == 204
    assert ask("PUT", "secret/destroy/a", one).status_code == 403
    assert ask("POST", "secret/undelete/a", one).status_code == 204
    # What lives is not deleted, whatever was before it under the name.
    lifecycle.delete(actor=cast.principal(cast.alice), secret=Secret.objects.get(name="a"))
    keep(cast, "a", value="anew")
    assert ask("POST", "secret/undelete/a", one).status_code == 204
    assert ask("GET", "secret/data/a").json()["data"]["data"] == {"value": "anew"}


def test_only_what_was_named_is_undeleted(cast: Cast, ask: Ask) -> None:
    secret = keep(cast, "a")
    assert ask("POST", "secret/undelete/never", json.dumps({"versions": [1]}).encode()).status_code == 204
    lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    for versions, status in (([], 400), ([2], 204), ([0], 204), (["x"], 400), (None, 400)):
        body = json.dumps({"versions": versions}).encode()
        assert ask("POST", "secret/undelete/a", body).status_code == status
        assert not Secret.objects.get().live
    reader = token(cast, "reader")
    one = json.dumps({"versions": [1]}).encode()
    assert ask("POST", "secret/undelete/a", one, token=reader).status_code == 403
    assert not Secret.objects.get().live
    assert ask("POST", "secret/undelete/a", one).status_code == 204
    assert Secret.objects.get().live


def test_a_protected_environment_names_the_request_for_approval(cast: Cast, ask: Ask) -> None:
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="manager")
    secret = keep(cast, "a", value="kept")
    update_environment(actor=cast.principal(cast.alice), environment=cast.development, protected=True)
    refused = ask("PUT", "secret/data/a", put({"value": "new"}))
    assert refused.status_code == 403
    assert "/approvals/" in refused.json()["errors"][0]
    secret.refresh_from_db()
    assert secret.current_number == 1


def test_namespaces_and_wrapping_are_refused_and_not_ignored(cast: Cast, ask: Ask) -> None:
    keep(cast, "a")
    for given in ("", "root", "/"):
        assert ask("GET", "secret/data/a", X_Vault_Namespace=given).status_code == 200
    assert ask("GET", "secret/data/a", X_Vault_Namespace="team").status_code == 400
    assert ask("GET", "secret/subkeys/a", X_Vault_Wrap_TTL="60").status_code == 400
    assert reveals() == 3


@pytest.mark.parametrize(
    "path", ["data/../x", "data/%2e%2e/x", "data//x", f"data/{'a' * 10_000}", "data/.", "data/a%00b"]
)
def test_odd_paths_are_refused(cast: Cast, ask: Ask, path: str) -> None:
    keep(cast, "x")
    assert ask("GET", f"secret/{path}").status_code in {400, 404}
    assert reveals() == 0


def test_bodies_and_lists_that_the_protocol_does_not_know_are_refused(cast: Cast, ask: Ask) -> None:
    keep(cast, "a", value="kept")
    leaf = ask("LIST", "secret/metadata/a")
    assert (leaf.status_code, leaf.json()) == (404, {"errors": []})
    long, longest = put({"value": "x" * 65_537}), put({"value": "x" * 65_536})
    for path in ("secret/data/a", "secret/data/new"):
        for body in (b"value=x", b"data[value]=x", b"[]", b'"x"', b"\xff", b"{}", b'{"data": "x"}', long):
            answer = ask("POST", path, body)
            assert answer.status_code == 400, (path, body[:40], answer.content)
            assert answer.json()["errors"]
    assert Secret.objects.get().current_number == 1
    assert ask("POST", "secret/data/a", longest).status_code == 200
    # An empty form, as node-vault sends it.
    assert ask("POST", "auth/token/renew-self").json()["errors"] == ["lease is not renewable"]


def test_the_token_is_told_what_it_is(cast: Cast, ask: Ask) -> None:
    own = token(cast, "reader", prefix="app")
    data = ask("GET", "auth/token/lookup-self", token=own).json()["data"]
    assert (data["id"], data["policies"], data["type"], data["renewable"]) == (
        own,
        ["reader"],
        "service",
        False,
    )
    assert data["meta"] == {"environment": "development", "prefix": "app"}
    assert 0 < data["ttl"] <= data["creation_ttl"]
    assert data["expire_time"].endswith("Z")
    for method in ("PUT", "POST"):
        renewed = ask(method, "auth/token/renew-self", b'{"increment":0}', token=own)
        assert (renewed.status_code, renewed.json()) == (400, {"errors": ["lease is not renewable"]})
        assert ask(method, "auth/token/revoke-self", token=own).status_code == 400
    assert ask("GET", "auth/token/lookup-self", token=own).status_code == 200


def test_approle_takes_a_token_in_two_parts(cast: Cast, ask: Ask) -> None:
    own = token(cast, "reader")
    public, secret = own[4:26], own[27:]
    body = json.dumps({"role_id": public, "secret_id": secret}).encode()
    auth = ask("PUT", "auth/approle/login", body, token="").json()["auth"]
    assert (auth["client_token"], auth["policies"], auth["renewable"]) == (own, ["reader"], False)
    wrong = json.dumps({"role_id": public, "secret_id": "x" * 43}).encode()
    refused = ask("POST", "auth/approle/login", wrong, token="")
    assert (refused.status_code, refused.json()) == (400, {"errors": ["invalid role or secret ID"]})


def test_mounts_are_the_environments_that_one_may_see(cast: Cast, ask: Ask) -> None:
    found = ask("GET", "sys/internal/ui/mounts").json()["data"]["secret"]
    assert found.keys() == {"development/", "secret/"}
    mount = ask("GET", "sys/internal/ui/mounts/secret/app/db").json()["data"]
    assert (mount["path"], mount["type"], mount["options"]) == ("secret/", "kv", {"version": "2"})
    refused = ask("GET", "sys/internal/ui/mounts/production/x")
    assert refused.status_code == 403
    assert refused.json()["errors"][0].startswith("preflight capability check returned 403")


def test_capabilities_are_those_of_the_role(cast: Cast, ask: Ask) -> None:
    body = json.dumps({"paths": ["secret/data/a", "secret/metadata/a", "production/data/a"]}).encode()
    told = ask("POST", "sys/capabilities-self", body, token=token(cast, "reader")).json()
    assert told["secret/data/a"] == ["read"]
    assert told["secret/metadata/a"] == ["list", "read", "scan"]
    assert told["production/data/a"] == ["deny"]
    reader = {"metadata": ["list", "read", "scan"], "subkeys": ["read"], "config": ["read"]}
    update, delete = ["update"], ["delete", "list", "patch", "read", "scan", "update"]
    editor = {"metadata": delete, "delete": update, "undelete": update, "config": ["read"]}
    manager = editor | {"destroy": update, "config": ["read", "update"]}
    for role, expected in (("reader", reader), ("editor", editor), ("manager", manager)):
        asked = [
            *(f"secret/{kind}/a" for kind in ("metadata", "delete", "undelete", "destroy")),
            "secret/config",
        ]
        told = ask(
            "POST",
            "sys/capabilities-self",
            json.dumps({"paths": asked}).encode(),
            token=token(cast, role, prefix=""),
        ).json()
        for path in asked:
            assert told[path] == expected.get(path.split("/")[1], ["deny"]), (role, path)
    many = json.dumps({"paths": ["secret/data/a"] * 101}).encode()
    assert ask("POST", "sys/capabilities-self", many).status_code == 400


def capabilities(ask: Ask, own: str, *paths: str) -> dict[str, list[str]]:
    sent = json.dumps({"paths": paths}).encode()
    found: dict[str, list[str]] = ask("POST", "sys/capabilities-self", sent, token=own).json()["data"]
    return {path: found[path] for path in paths}


WORDS = {"GET": "read", "LIST": "list", "POST": "update"}
# What ends the token itself, and what is refused with the page on which people decide.
NOT_SENT = {"auth/token/revoke": "update", "auth/token/revoke-self": "update",
            "auth/token/revoke-accessor": "update", "sys/control-group/authorize": "deny"}  # fmt: skip


@pytest.mark.parametrize("bearer", ["service", "personal"])
def test_what_a_token_may_do_beside_mounts_is_what_is_answered(cast: Cast, ask: Ask, bearer: str) -> None:
    own = token(cast, "reader", prefix="app")
    if bearer == "personal":
        own = issue_personal(actor=cast.principal(cast.bob), name="own")[1]
    paths = [
        *(str(each.pattern)[3:] for each in KV2.urlpatterns if "<" not in str(each.pattern)),
        "sys/mounts/development", "sys/mounts/development/tune", "sys/internal/ui/mounts/development/data/x",
        "sys/mounts/nowhere", "sys/mounts/nowhere/tune", "sys/internal/ui/mounts/nowhere/data/x",
        "sys/policies/acl", "auth/token/roles", "nowhere/data/x",
    ]  # fmt: skip
    assert len(paths) > 35
    accessor = ask("GET", "auth/token/lookup-self", token=own).json()["data"]["accessor"]
    body = json.dumps({"token": own, "accessor": accessor}).encode()
    for path, words in capabilities(ask, own, *paths).items():
        if path in NOT_SENT:
            assert words == [NOT_SENT[path]]
            continue
        answered = [
            word
            for method, word in WORDS.items()
            # What ends in a slash is written by nobody.
            if not (method == "POST" and path.endswith("/"))
            and ask(method, path, body if method == "POST" else b"", token=own).status_code in {200, 204, 400}
        ]
        assert sorted(words) == (sorted(answered) or ["deny"]), path


def test_names_are_listed_above_a_prefix_and_the_capabilities_say_so(cast: Cast, ask: Ask) -> None:
    keep(cast, "app/web/db")
    own = token(cast, "reader", prefix="app/web")
    above = ("secret/metadata", "secret/metadata/", "development/metadata/app", "secret/metadata/app/")
    for path, words in capabilities(ask, own, *above).items():
        assert words == ["list", "scan"], path
        assert [ask(method, path, token=own).status_code for method in ("LIST", "SCAN")] == [200] * 2
    others = ("production/metadata", "secret/data", "secret/data/app", "secret/subkeys/app")
    assert capabilities(ask, own, *others) == {path: ["deny"] for path in others}


def test_the_state_of_the_server_needs_no_token(db: None) -> None:
    for path in ("sys/health", "sys/seal-status", "sys/init", "sys/leader"):
        assert Client().get(f"/vault/v1/{path}").status_code == 200
    assert Client().head("/vault/v1/sys/health").status_code == 200


def test_a_path_of_version_1_is_told_so(cast: Cast, ask: Ask) -> None:
    answer = ask("GET", "secret/app")
    assert answer.status_code == 404
    assert answer.json()["warnings"][0].startswith("Invalid path for a versioned K/V")
    assert ask("GET", "nowhere/app").status_code == 404


def test_a_read_after_the_end_of_its_token_is_refused(cast: Cast, ask: Ask) -> None:
    keep(cast, "a")
    own = token(cast, "reader")
    assert ask("GET", "secret/data/a", token=own).status_code == 200
    revoke(actor=cast.principal(cast.alice), token=ServiceToken.objects.get(public_id=own[4:26]))
    assert ask("GET", "secret/data/a", token=own).status_code == 403


def test_a_token_looks_up_itself_and_no_other(cast: Cast, ask: Ask) -> None:
    own, other = token(cast, "reader"), token(cast, "viewer")
    found = ask("POST", "auth/token/lookup", json.dumps({"token": own}).encode(), token=own)
    assert found.json()["data"] == ask("GET", "auth/token/lookup-self", token=own).json()["data"]
    for given in ({"token": other}, {"token": "kpr_x"}, {"token": 5}, {"token": "é"}, {}):
        refused = ask("POST", "auth/token/lookup", json.dumps(given).encode(), token=own)
        assert (refused.status_code, refused.json()) == (403, {"errors": ["permission denied"]})


def test_mounts_and_ways_to_sign_in_are_listed_as_clients_read_them(cast: Cast, ask: Ask) -> None:
    mounts = ask("GET", "sys/mounts").json()
    assert mounts["data"].keys() == {"development/", "secret/"}
    assert mounts["secret/"] == mounts["data"]["secret/"]
    assert ask("GET", "sys/auth").json()["data"].keys() == {"token/", "approle/", "jwt/", "kubernetes/"}
    tuned = ask("GET", "sys/mounts/secret/tune").json()["data"]
    assert (tuned["max_lease_ttl"], tuned["options"]) == (0, {"version": "2"})
    assert ask("GET", "sys/mounts/production/tune").status_code == 403


def test_what_a_token_may_do_at_all_is_no_more_than_its_part(cast: Cast, ask: Ask) -> None:
    narrow = token(cast, "reader", prefix="app")
    found = ask("GET", "sys/internal/ui/resultant-acl", token=narrow).json()["data"]
    assert found["root"] is False
    assert found["glob_paths"]["secret/data/app/"] == {"capabilities": ["read"]}
    assert found["exact_paths"]["development/metadata/app"] == {"capabilities": ["list", "read", "scan"]}
    assert {path.split("/")[0] for path in found["glob_paths"]} == {"secret", "development", "database"}


def test_a_method_that_a_path_does_not_have_names_those_that_it_has(ask: Ask) -> None:
    refused = ask("TRACE", "auth/token/renew-self")
    assert (refused.status_code, refused["Allow"]) == (405, "POST, PUT, OPTIONS")


def test_a_path_with_a_line_feed_is_refused_in_the_form_of_the_protocol(ask: Ask) -> None:
    refused = ask("GET", "secret/data/a%0Ab")
    assert (refused.status_code, refused["Content-Type"]) == (404, "application/json")


@pytest.mark.parametrize(("given", "lists"), [("true", True), ("True", True), ("1", True), ("0", False)])
def test_a_list_is_asked_for_in_each_form_of_true(cast: Cast, ask: Ask, given: str, lists: bool) -> None:
    keep(cast, "app/db")
    answer = ask("GET", f"secret/metadata/app?list={given}")
    assert (answer.status_code == 200) is lists


@pytest.mark.parametrize(
    "path",
    [
        "secret/data/a?scan=true", "secret/data/a?list=true", "secret/subkeys/a?list=1",
        "auth/token/accessors?scan=t",
    ],
)  # fmt: skip
def test_a_list_of_what_has_none_is_refused_and_reads_nothing(cast: Cast, ask: Ask, path: str) -> None:
    keep(cast, "a")
    refused = ask("GET", path)
    assert (refused.status_code, refused.json()) == (405, {"errors": ["unsupported operation"]})
    assert not AuditEvent.objects.filter(action=Action.SECRET_REVEAL).exists()
    assert ask("GET", path.replace("=t", "=f").replace("=1", "=0")).status_code == 200
    assert ask("GET", path, token="").status_code == 403
