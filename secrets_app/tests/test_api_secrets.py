"""The contract of the API of secrets, as others are written against it."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from environments_app.tests.cast import Cast
from secrets_app.models import Secret, SecretVersion
from secrets_app.tests.kept import VALUE, keep, send

pytestmark = pytest.mark.every_database_weekly

SignedIn = Callable[[Any], Client]


@pytest.fixture
def erin(cast: Cast, bearer: Callable[..., Client]) -> Client:
    """An editor's program."""
    return bearer("editor", cast.development)


@pytest.fixture
def made(cast: Cast, erin: Client) -> Callable[..., dict[str, Any]]:
    def make(name: str = "db/password", **fields: Any) -> dict[str, Any]:
        body = {"name": name, "environment_id": cast.development.pk, "secret_type": "TEXT", "value": VALUE}
        response = send(erin, "POST", "/api/secrets", {**body, **fields})
        assert response.status_code == 201, response.content
        document: dict[str, Any] = response.json()
        return document

    return make


def is_problem(response: Any, status: int, *fields: str) -> bool:
    """Say whether a response is a problem document (RFC 9457) that names these fields."""
    document = response.json()
    named = [error.get("field") for error in document.get("errors", [])]
    return (
        response.status_code == document["status"] == status
        and response["Content-Type"] == "application/problem+json"
        and {"type", "title", "detail"} <= document.keys()
        and named == list(fields)
    )


# --- Creating ------------------------------------------------------------------------------------


def test_it_creates_a_secret_as_the_product_s_readme_shows(cast: Cast, erin: Client) -> None:
    body = {
        "name": "stripe_api_key",
        "value": "sk_test_canary",
        "secret_type": "API_KEY",
        "environment_id": cast.development.pk,
        "description": "Stripe",
        "tags": ["Payment", "api", "api"],
        "owner": "team payments",
        "expires_at": "2030-01-02T03:04:05Z",
    }
    response = send(erin, "POST", "/api/secrets", body)
    document = response.json()
    assert (response.status_code, response["Content-Type"]) == (201, "application/json")
    assert response["ETag"] == f'"{document["id"]}-1-1"'
    assert response["Cache-Control"] == "no-store, private"
    assert b"sk_test_canary" not in response.content
    stored = Secret.objects.get()
    assert {name: document[name] for name in ("id", "uuid", "name", "secret_type", "version", "description", "tags", "owner", "expires_at")} == {
        "id": stored.pk, "uuid": str(stored.uuid), "name": "stripe_api_key", "secret_type": "API_KEY", "version": 1,
        "description": "Stripe", "tags": ["api", "payment"], "owner": "team payments", "expires_at": "2030-01-02T03:04:05Z",
    }  # fmt: skip
    assert (document["environment_id"], document["environment"]) == (cast.development.pk, "development")
    assert "value" not in document


@pytest.mark.parametrize("spelling", ["PASSWORD", "password", "api-key", "Api_Key", "yaml"])
def test_types_are_taken_in_any_spelling(made: Callable[..., dict[str, Any]], spelling: str) -> None:
    assert made(secret_type=spelling)["secret_type"] == spelling.upper().replace("-", "_")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"value": ""}, "value"),
        ({"value": "x" * 65_537}, "value"),
        ({"value": "é" * 40_000}, "value"),
        ({"value": 12345}, "value"),
        ({"value": None}, "value"),
        ({"value": ["a"]}, "value"),
        ({"value": "a\0b"}, "value"),
        ({"value": "{", "secret_type": "JSON"}, "value"),
        ({"value": "[" * 5000, "secret_type": "JSON"}, "value"),
        ({"value": "a: [", "secret_type": "YAML"}, "value"),
        ({"value": "not a key", "secret_type": "SSH_KEY"}, "value"),
        ({"value": "not a certificate", "secret_type": "CERTIFICATE"}, "value"),
        ({"name": "a/../b"}, "name"),
        ({"name": "a//b"}, "name"),
        ({"name": "a%2eb"}, "name"),
        ({"name": "a?b"}, "name"),
        ({"name": "a#b"}, "name"),
        ({"name": " a"}, "name"),
        ({"name": "a "}, "name"),
        ({"name": "/a"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 513}, "name"),
        ({"name": "pässword"}, "name"),
        ({"name": 7}, "name"),
        ({"secret_type": "NONSENSE"}, "secret_type"),
        ({"secret_type": 3}, "secret_type"),
        ({"environment_id": "development"}, "environment_id"),
        ({"environment_id": True}, "environment_id"),
        ({"environment_id": 10**30}, "environment_id"),
        ({"description": "x" * 2001}, "description"),
        ({"description": 7}, "description"),
        ({"owner": "x" * 151}, "owner"),
        ({"tags": "a"}, "tags"),
        ({"tags": ["not a tag!"]}, "tags"),
        ({"tags": ["t"] * 10 + [f"t{n}" for n in range(60)]}, "tags"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": 1_900_000_000}, "expires_at"),
        ({"comment": "x" * 501}, "comment"),
        ({"typo": "x"}, "typo"),
        ({"id": 7}, "id"),
    ],
)
def test_bad_input_is_a_problem_that_names_the_field_and_stores_nothing(
    cast: Cast, erin: Client, change: dict[str, Any], field: str
) -> None:
    body = {"name": "n", "environment_id": cast.development.pk, "secret_type": "TEXT", "value": VALUE}
    response = send(erin, "POST", "/api/secrets", {**body, **change})
    assert is_problem(response, 400, field), response.content
    assert VALUE not in response.content.decode()
    assert not Secret.objects.exists()
    assert not SecretVersion.objects.exists()


def test_the_longest_value_and_name_are_kept_as_they_are(
    cast: Cast, made: Callable[..., dict[str, Any]], erin: Client
) -> None:
    value, name = "é" * 32_768, "/".join(["n" * 255, "m" * 256])
    made(name, value=value)
    assert erin.get(f"/api/environments/development/secrets/{name}").json()["value"] == value


def test_a_name_that_lives_is_taken(made: Callable[..., dict[str, Any]], cast: Cast, erin: Client) -> None:
    made()
    body = {"name": "db/password", "environment_id": cast.development.pk, "secret_type": "TEXT", "value": "v"}
    assert is_problem(send(erin, "POST", "/api/secrets", body), 409)
    assert SecretVersion.objects.count() == 1


def test_an_environment_one_may_not_see_answers_as_one_that_is_not_there(cast: Cast, erin: Client) -> None:
    body = {"name": "n", "secret_type": "TEXT", "value": "v"}
    hidden = send(erin, "POST", "/api/secrets", {**body, "environment_id": cast.production.pk})
    missing = send(erin, "POST", "/api/secrets", {**body, "environment_id": 987654})
    assert hidden.status_code == 404
    assert (hidden.status_code, hidden.content) == (missing.status_code, missing.content)


# --- Reading -------------------------------------------------------------------------------------


def test_the_value_is_shown_to_those_who_may_reveal_it(
    cast: Cast, bearer: Callable[..., Client], made: Callable[..., dict[str, Any]]
) -> None:
    document = made()
    for role, sees in (("viewer", False), ("reader", True), ("editor", True), ("manager", True)):
        response = bearer(role, cast.development).get(f"/api/secrets/{document['id']}")
        shown = response.json()
        assert (response.status_code, response["ETag"]) == (200, f'"{document["id"]}-1-1"')
        assert shown.pop("value", None) == (VALUE if sees else None), role
        assert shown == document


@pytest.mark.parametrize(
    "path",
    [
        "/api/secrets/0",
        "/api/secrets/987654",
        "/api/secrets/999999999999999999999",
        "/api/secrets/-1",
        "/api/secrets/x",
        "/api/nothing",
    ],
)
def test_what_is_not_there_is_a_problem(erin: Client, path: str) -> None:
    assert is_problem(erin.get(path), 404)


# --- Changing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_changed_value_makes_a_version_and_an_equal_one_none(
    made: Callable[..., dict[str, Any]], erin: Client, method: str
) -> None:
    pk = made()["id"]
    path = f"/api/secrets/{pk}"
    changed = send(erin, method, path, {"value": "second", "comment": "leaked"})
    assert (changed.status_code, changed["ETag"], changed.json()["version"]) == (200, f'"{pk}-2-2"', 2)
    assert b"second" not in changed.content
    same = send(erin, method, path, {"value": "second"})
    assert (same.status_code, same["ETag"], same.json()["version"]) == (200, f'"{pk}-2-2"', 2)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_what_is_left_out_is_kept(made: Callable[..., dict[str, Any]], erin: Client, method: str) -> None:
    before = made(description="first", tags=["a"], owner="me", expires_at="2030-01-01T00:00:00Z")
    path = f"/api/secrets/{before['id']}"
    after = send(erin, method, path, {"description": "second"}).json()
    assert (after["version"], after["revision"], after["description"]) == (1, 2, "second")
    kept = ("id", "uuid", "name", "secret_type", "tags", "owner", "expires_at", "rotated_at", "created_at")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert erin.get(path).json()["value"] == VALUE
    assert send(erin, method, path, {"expires_at": None, "tags": []}).json()["expires_at"] is None


def test_a_stale_writer_is_refused_and_nothing_is_lost(
    made: Callable[..., dict[str, Any]], erin: Client
) -> None:
    pk = made()["id"]
    path, stale = f"/api/secrets/{pk}", f'"{pk}-1-1"'
    first = send(erin, "PUT", path, {"value": "second"}, If_Match=stale)
    assert first.status_code == 200
    for method, body in (("PUT", {"value": "third"}), ("PATCH", {"description": "x"}), ("DELETE", None)):
        assert is_problem(send(erin, method, path, body, If_Match=stale), 412)
    assert is_problem(send(erin, "POST", f"{path}/rollback", {"version": 1}, If_Match=stale), 412)
    assert is_problem(send(erin, "POST", f"{path}/rename", {"name": "x"}, If_Match=stale), 412)
    elsewhere = {"environment": "development", "name": "other"}
    for act in ("copy", "move"):
        assert is_problem(send(erin, "POST", f"{path}/{act}", elsewhere, If_Match=stale), 412)
    document = erin.get(path).json()
    assert (document["value"], document["version"], document["name"]) == ("second", 2, "db/password")
    for etag in ("{}", "*"):
        current = etag.format(erin.get(path)["ETag"])
        assert send(erin, "PATCH", path, {"description": etag}, If_Match=current).status_code == 200


def test_name_and_environment_are_not_changed_in_passing(
    made: Callable[..., dict[str, Any]], cast: Cast, erin: Client
) -> None:
    path = f"/api/secrets/{made()['id']}"
    same = {"name": "db/password", "environment_id": cast.development.pk, "value": "second"}
    assert send(erin, "PUT", path, same).status_code == 200
    assert is_problem(send(erin, "PUT", path, {"name": "other"}), 400, "name")
    assert is_problem(send(erin, "PUT", path, {"environment_id": cast.production.pk}), 400, "environment_id")


def test_a_new_type_needs_a_value_that_fits(made: Callable[..., dict[str, Any]], erin: Client) -> None:
    path = f"/api/secrets/{made()['id']}"
    assert is_problem(send(erin, "PUT", path, {"secret_type": "JSON"}), 400, "secret_type")
    assert is_problem(send(erin, "PUT", path, {"secret_type": "JSON", "value": "{"}), 400, "value")
    assert send(erin, "PUT", path, {"secret_type": "JSON", "value": "{}"}).json()["secret_type"] == "JSON"


# --- Deleting ------------------------------------------------------------------------------------


def test_a_deleted_secret_is_gone_until_it_is_restored(
    made: Callable[..., dict[str, Any]], erin: Client
) -> None:
    document = made()
    path = f"/api/secrets/{document['id']}"
    deleted = erin.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method, address, body in (
        ("GET", path, None),
        ("PUT", path, {"value": "v"}),
        ("DELETE", path, None),
        ("GET", f"{path}/versions", None),
        ("GET", f"{path}/versions/1", None),
        ("POST", f"{path}/rollback", {"version": 1}),
        ("GET", "/api/environments/development/secrets/db/password", None),
    ):
        assert is_problem(send(erin, method, address, body), 404), address
    assert erin.get("/api/secrets").json()["results"] == []
    (listed,) = erin.get("/api/secrets?deleted=true").json()["results"]
    assert (listed["id"], listed["deleted_at"] is None) == (document["id"], False)

    restored = erin.post(f"{path}/restore")
    assert (restored.status_code, restored.json()["deleted_at"]) == (200, None)
    assert erin.get(path).json()["value"] == VALUE
    assert is_problem(erin.post(f"{path}/restore"), 409)


def test_a_deleted_name_may_be_used_again_and_then_stands_in_the_way(
    made: Callable[..., dict[str, Any]], erin: Client
) -> None:
    first = made()
    erin.delete(f"/api/secrets/{first['id']}")
    second = made(value="second")
    assert second["id"] != first["id"]
    assert is_problem(erin.post(f"/api/secrets/{first['id']}/restore"), 409)
    erin.delete(f"/api/secrets/{second['id']}")
    assert erin.post(f"/api/secrets/{first['id']}/restore").status_code == 200


def test_purging_takes_a_manager_and_a_deleted_secret(
    made: Callable[..., dict[str, Any]], cast: Cast, erin: Client, bearer: Callable[..., Client]
) -> None:
    path = f"/api/secrets/{made()['id']}"
    manager = bearer("manager", cast.development)
    assert is_problem(manager.post(f"{path}/purge"), 409)
    erin.delete(path)
    assert is_problem(erin.post(f"{path}/purge"), 403)
    assert manager.post(f"{path}/purge").status_code == 204
    assert is_problem(manager.post(f"{path}/restore"), 404)
    assert not Secret.objects.exists()
    assert not SecretVersion.objects.exists()


# --- Versions ------------------------------------------------------------------------------------


def test_versions_are_listed_without_values_and_read_one_by_one(
    made: Callable[..., dict[str, Any]], erin: Client
) -> None:
    path = f"/api/secrets/{made(comment='from the vendor')['id']}"
    send(erin, "PUT", path, {"value": '"second"', "comment": "leaked", "secret_type": "JSON"})
    listed = erin.get(f"{path}/versions").json()
    assert listed.keys() == {
        "results", "next", "previous", "previous_version", "max_versions", "custom_metadata",
    }  # fmt: skip
    assert (listed["previous_version"], listed["max_versions"], listed["custom_metadata"]) == (1, 0, {})
    two, one = listed["results"]
    assert [(v["number"], v["author"], v["comment"], v["secret_type"]) for v in (one, two)] == [
        (1, "editor-token", "from the vendor", "TEXT"),
        (2, "editor-token", "leaked", "JSON"),
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\dT", item["created_at"]) for item in (one, two))
    assert "value" not in one
    assert "value" not in two
    assert erin.get(f"{path}/versions/1").json() == {**one, "value": VALUE}
    assert erin.get(f"{path}/versions/2").json()["value"] == '"second"'
    assert is_problem(erin.get(f"{path}/versions/3"), 404)
    assert is_problem(erin.get(f"{path}/versions/0"), 404)


def test_a_read_that_asks_for_what_it_cannot_is_refused(
    made: Callable[..., dict[str, Any]], erin: Client
) -> None:
    """Whoever asks for version 1 here does not get the current value for it."""
    secret = made()
    path = f"/api/secrets/{secret['id']}"
    for address in (path, f"/api/environments/{secret['environment']}/secrets/{secret['name']}"):
        assert erin.get(f"{address}?stage=current").status_code == 200
        for query in ("version=1", "stage=current&version=1"):
            refused = erin.get(f"{address}?{query}")
            assert is_problem(refused, 400, "query")
            assert "/versions/NUMBER" in refused.content.decode()


def test_rolling_back_makes_a_new_version_of_the_old_value(
    made: Callable[..., dict[str, Any]], erin: Client
) -> None:
    pk = made()["id"]
    path = f"/api/secrets/{pk}"
    send(erin, "PUT", path, {"value": "second"})
    response = send(erin, "POST", f"{path}/rollback", {"version": 1})
    assert (response.status_code, response.json()["version"], response["ETag"]) == (200, 3, f'"{pk}-3-3"')
    assert VALUE not in response.content.decode()
    assert erin.get(path).json()["value"] == VALUE
    assert is_problem(send(erin, "POST", f"{path}/rollback", {"version": 9}), 404)
    for version in ("1", None, 0, -1, 1.5, True, 2**40):
        assert is_problem(send(erin, "POST", f"{path}/rollback", {"version": version}), 400, "version")


# --- Renaming, copying, moving ----------------------------------------------------------------------


def test_a_rename_keeps_the_row(made: Callable[..., dict[str, Any]], erin: Client) -> None:
    document = made()
    made("taken")
    path = f"/api/secrets/{document['id']}"
    assert is_problem(send(erin, "POST", f"{path}/rename", {"name": "taken"}), 409)
    assert is_problem(send(erin, "POST", f"{path}/rename", {"name": "a//b"}), 400, "name")
    renamed = send(erin, "POST", f"{path}/rename", {"name": "db/new"}).json()
    assert (renamed["id"], renamed["uuid"], renamed["name"], renamed["version"]) == (
        document["id"],
        document["uuid"],
        "db/new",
        1,
    )
    assert erin.get(path).json()["value"] == VALUE
    assert erin.get("/api/environments/development/secrets/db/password").status_code == 404


def test_copies_and_moves_go_where_one_may_write(
    made: Callable[..., dict[str, Any]], cast: Cast, erin: Client, signed_in: SignedIn
) -> None:
    path = f"/api/secrets/{made(tags=['a'])['id']}"
    there = {"environment_id": cast.production.pk}
    assert is_problem(send(erin, "POST", f"{path}/copy", there), 404)
    assert is_problem(send(erin, "POST", f"{path}/move", there), 404)
    alice = signed_in(cast.alice)
    assert is_problem(send(alice, "POST", f"{path}/copy", {**there, "name": ""}), 400, "name")
    copied = send(alice, "POST", f"{path}/copy", there)
    assert (copied.status_code, copied.json()["environment"], copied.json()["tags"]) == (
        201,
        "production",
        ["a"],
    )
    assert is_problem(send(alice, "POST", f"{path}/move", there), 409)
    assert alice.get(path).status_code == 200
    moved = send(alice, "POST", f"{path}/move", {**there, "name": "moved"})
    assert (moved.status_code, moved.json()["name"]) == (201, "moved")
    assert alice.get(f"/api/secrets/{moved.json()['id']}").json()["value"] == VALUE
    assert alice.get(path).status_code == 404


# --- Listing -------------------------------------------------------------------------------------


def test_lists_have_one_envelope_and_no_values(made: Callable[..., dict[str, Any]], erin: Client) -> None:
    documents = [made(f"n{number}") for number in range(3)]
    response = erin.get("/api/secrets?limit=2")
    page = response.json()
    assert page.keys() == {"results", "next", "previous"}
    assert page["results"] == documents[:2]
    assert VALUE not in response.content.decode()
    following = erin.get(page["next"]).json()
    assert (following["results"], following["next"]) == (documents[2:], None)
    assert erin.get(following["previous"]).json()["results"] == documents[:2]


def test_a_list_shows_what_one_may_see(
    cast: Cast, made: Callable[..., dict[str, Any]], bearer: Callable[..., Client], signed_in: SignedIn
) -> None:
    made("pay/a")
    made("payments")
    keep(cast, "elsewhere", environment=cast.production)
    assert [
        row["name"]
        for row in bearer("viewer", cast.development, prefix="pay").get("/api/secrets").json()["results"]
    ] == ["pay/a"]
    assert len(signed_in(cast.alice).get("/api/secrets").json()["results"]) == 3
    assert len(signed_in(cast.root).get("/api/secrets").json()["results"]) == 3
    assert signed_in(cast.charlie).get("/api/secrets").json()["results"] == []


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", {"a", "b", "gone-soon"}),
        ("q=stripe", {"a"}),
        ("q=STRIPE+key", {"a"}),
        ("environment=development", {"a", "b", "gone-soon"}),
        ("environment=production", set()),
        ("type=json", {"b"}),
        ("tag=pci", {"a"}),
        ("tag=pc", set()),
        ("owner=ops", {"b"}),
        ("prefix=a", {"a"}),
        ("expiring=30", {"gone-soon"}),
        ("rotation=none", {"a", "b", "gone-soon"}),
        ("rotation=overdue", set()),
        ("deleted=true", set()),
        ("deleted=false&type=TEXT&tag=pci", {"a"}),
    ],
)  # fmt: skip
def test_filters_narrow_the_list(
    made: Callable[..., dict[str, Any]], erin: Client, query: str, names: set[str]
) -> None:
    made("a", description="the Stripe key", tags=["pci"])
    made("b", secret_type="JSON", value="{}", owner="ops")
    made("gone-soon", expires_at=(timezone.now() + timedelta(days=3)).isoformat())
    assert {row["name"] for row in erin.get(f"/api/secrets?{query}").json()["results"]} == names


@pytest.mark.parametrize(
    "query",
    [
        "ordering=value", "ordering=fingerprint", "ordering=versions__value", "value=x", "versions__value=x",
        "type=nonsense", "expiring=soon", "expiring=-1", "rotation=x", "deleted=maybe", "limit=0", "limit=201", "limit=x",
        "limit=１", "cursor=nonsense", "prefix=a//b", "tag=not+a+tag", "tag=a,b", "search=x",
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_is_a_problem(erin: Client, query: str) -> None:
    response = erin.get(f"/api/secrets?{query}")
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "ordering",
    ["name", "-name", "created", "-created", "updated", "expires", "-expires", "rotation_due", "id", "-id"],
)
def test_each_order_of_the_fixed_list_is_taken(
    made: Callable[..., dict[str, Any]], erin: Client, ordering: str
) -> None:
    made("a", expires_at="2030-01-01T00:00:00Z")
    made("b")
    assert len(erin.get(f"/api/secrets?ordering={ordering}").json()["results"]) == 2


# --- Bulk ----------------------------------------------------------------------------------------


def item(number: int, **fields: Any) -> dict[str, Any]:
    return {"name": f"bulk/{number}", "secret_type": "TEXT", "value": f"{VALUE}-{number}", **fields}


def test_many_secrets_are_created_in_the_order_given(cast: Cast, erin: Client) -> None:
    body = {"environment_id": cast.development.pk, "secrets": [item(2), item(1, tags=["a"])]}
    response = send(erin, "POST", "/api/secrets/bulk", body)
    assert (response.status_code, response.json()["created"]) == (201, 2)
    assert [row["name"] for row in response.json()["results"]] == ["bulk/2", "bulk/1"]
    assert VALUE not in response.content.decode()
    for row in response.json()["results"]:
        number = row["name"].removeprefix("bulk/")
        assert erin.get(f"/api/secrets/{row['id']}").json()["value"] == f"{VALUE}-{number}"


@pytest.mark.parametrize(
    ("items", "status"),
    [
        ([item(1), item(1)], 400),
        ([item(1), item(2, value="")], 400),
        ([item(1), item(2, value=7)], 400),
        ([item(1), item(2, name="a//b")], 400),
        ([item(1), item(2, typo="x")], 400),
        ([item(1), item(2, secret_type="JSON")], 400),
        ([item(1), "text"], 400),
        ([item(1), item(2, environment_id=987654)], 404),
        ([item(1), item(2, name="standing")], 409),
        ([], 400),
        ("text", 400),
        ([item(n) for n in range(1001)], 413),
    ],
)
def test_bulk_stores_all_or_nothing(
    cast: Cast, erin: Client, made: Callable[..., dict[str, Any]], items: Any, status: int
) -> None:
    made("standing")
    response = send(
        erin, "POST", "/api/secrets/bulk", {"environment_id": cast.development.pk, "secrets": items}
    )
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    assert VALUE not in response.content.decode()
    assert (Secret.objects.count(), SecretVersion.objects.count()) == (1, 1)


def test_bulk_items_need_an_environment(erin: Client) -> None:
    assert is_problem(send(erin, "POST", "/api/secrets/bulk", {"secrets": [item(1)]}), 400, "environment_id")


def test_a_thousand_secrets_are_one_call(cast: Cast, erin: Client) -> None:
    body = {"environment_id": cast.development.pk, "secrets": [item(number) for number in range(1000)]}
    assert send(erin, "POST", "/api/secrets/bulk", body).json()["created"] == 1000
    assert SecretVersion.objects.count() == 1000


def test_nearly_sixteen_mebibytes_are_taken_and_more_is_a_problem(cast: Cast, erin: Client) -> None:
    big = "x" * 65_000
    body = {"environment_id": cast.development.pk, "secrets": [item(n, value=big) for n in range(255)]}
    assert len(json.dumps(body)) > 15.7 * 2**20
    assert send(erin, "POST", "/api/secrets/bulk", body).status_code == 201
    more = {**body, "secrets": [item(1000 + n, value=big) for n in range(260)]}
    response = send(erin, "POST", "/api/secrets/bulk", more)
    assert is_problem(response, 413)
    assert Secret.objects.count() == 255


# --- Generating ----------------------------------------------------------------------------------


def test_a_value_is_generated_and_not_stored(erin: Client) -> None:
    first, second = (send(erin, "POST", "/api/secrets/generate", {}).json() for _ in range(2))
    assert first.keys() == {"kind", "secret_type", "value", "public"}
    assert (first["kind"], first["secret_type"]) == ("password", "PASSWORD")
    assert first["value"] != second["value"]
    long = send(erin, "POST", "/api/secrets/generate", {"kind": "password", "length": 64, "symbols": False})
    assert re.fullmatch("[A-Za-z0-9]{64}", long.json()["value"])
    nested = send(
        erin, "POST", "/api/secrets/generate", {"secret_type": "API_KEY", "options": {"prefix": "sk_"}}
    )
    assert nested.json()["value"].startswith("sk_")
    assert not Secret.objects.exists()


@pytest.mark.parametrize(
    "body",
    [{"kind": "nonsense"}, {"length": 3}, {"length": "20"}, {"typo": 1}, {"options": [1]}, [1], "x", None, {"secret_type": "TEXT"}, {"kind": 7}],
)  # fmt: skip
def test_what_cannot_be_generated_is_a_problem(erin: Client, body: Any) -> None:
    response = erin.post("/api/secrets/generate", json.dumps(body), content_type="application/json")
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


# --- Who is calling ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer kpr_" + "a" * 22 + "_" + "b" * 43, "Token x"]
)
def test_who_is_unknown_is_a_problem(cast: Cast, header: str) -> None:
    response = Client(headers={"authorization": header} if header else {}).get("/api/secrets")
    assert is_problem(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_session_changes_nothing_without_its_csrf_token(cast: Cast) -> None:
    secret = keep(cast)
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.alice, backend="environments_app.users.password_backend.LocalBackend")
    assert client.get(f"/api/secrets/{secret.pk}").status_code == 200
    assert is_problem(send(client, "PUT", f"/api/secrets/{secret.pk}", {"value": "v"}), 403)
    assert is_problem(client.delete(f"/api/secrets/{secret.pk}"), 403)
