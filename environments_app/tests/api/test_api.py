import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from environments_app.models import Environment, Membership, Role, ServiceToken
from environments_app.notifications.recipients import add_recipient
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import service as tokens

SignedIn = Callable[..., Client]
JSON = "application/json"
PLACE = "/api/environments/development"


def post(client: Client, path: str, **body: Any) -> Any:
    return client.post(path, body, content_type=JSON)


def patch(client: Client, path: str, **body: Any) -> Any:
    return client.patch(path, body, content_type=JSON)


def fields_of(response: Any) -> list[str]:
    return [error["field"] for error in response.json()["errors"]]


def test_environments_are_listed_by_name(cast: Cast, signed_in: SignedIn) -> None:
    answer = signed_in(cast.alice).get("/api/environments").json()
    assert [row["name"] for row in answer["results"]] == ["development", "production"]
    assert (answer["next"], answer["previous"]) == (None, None)
    assert [row["name"] for row in signed_in(cast.vera).get("/api/environments").json()["results"]] == [
        "development"
    ]
    assert signed_in(cast.charlie).get("/api/environments").json()["results"] == []


def test_a_forged_environment_breaks_no_list(
    cast: Cast, signed_in: SignedIn, sql: Callable[..., None]
) -> None:
    sql("UPDATE environments_app_environment SET name = 'x' WHERE id = %s", cast.development.pk)
    rows = signed_in(cast.root).get("/api/environments").json()["results"]
    assert [row["name"] for row in rows] == ["production"]


def test_an_environment_is_made_as_the_brief_shows_it(cast: Cast, signed_in: SignedIn) -> None:
    body = {"name": "staging", "display_name": "Staging", "kms_key_alias": "alias/keeper-prod"}
    response = post(signed_in(cast.root), "/api/environments", **body)
    assert response.status_code == 201
    assert body.items() <= response.json().items()
    assert {"id", "uuid", "created_at"} <= response.json().keys()
    assert post(signed_in(cast.root), "/api/environments", **body).status_code == 409
    assert post(signed_in(cast.alice), "/api/environments", name="other").status_code == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x", "colour": "red\n"}, "colour"),
        ({"name": "x", "kms_key_alias": "nope"}, "kms_key_alias"),
        ({"name": "x", "protected": "yes"}, "protected"),
        ({"name": "x", "position": "1"}, "position"),
        ({"name": "x", "position": -1}, "position"),
        ({"name": "x", "description": "a\x00b"}, "description"),
        ({"name": "x", "owner": "me"}, "owner"),
        ({"name": "x", "row_mac": "00"}, "row_mac"),
        ({"name": "x", "id": 7}, "id"),
    ],
)
def test_it_names_the_field_that_is_wrong(
    cast: Cast, signed_in: SignedIn, body: dict[str, Any], field: str
) -> None:
    response = post(signed_in(cast.root), "/api/environments", **body)
    assert response.status_code == 400
    assert fields_of(response) == [field]
    assert Environment.objects.count() == 2


@pytest.mark.parametrize("body", [[], "x", 5, None])
def test_a_body_that_is_no_object_is_refused(cast: Cast, signed_in: SignedIn, body: Any) -> None:
    response = signed_in(cast.root).post("/api/environments", body, content_type=JSON)
    assert response.status_code == 400


def test_what_looks_like_no_field_is_not_repeated(cast: Cast, signed_in: SignedIn) -> None:
    response = post(signed_in(cast.root), "/api/environments", **{"name": "x", "hunter2 secret!": 1})
    assert response.status_code == 400
    assert b"hunter2" not in response.content


def test_an_environment_is_changed(cast: Cast, signed_in: SignedIn) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    response = patch(signed_in(cast.alice), PLACE, protected=True, colour="teal")
    assert response.status_code == 200
    assert (response.json()["protected"], response.json()["colour"]) == (True, "teal")
    assert patch(signed_in(cast.alice), PLACE, name="x").status_code == 400
    assert patch(signed_in(cast.erin), PLACE, protected=False).status_code == 403


@pytest.mark.parametrize("kind", ["members", "recipients", "tokens", "trusts"])
def test_a_list_of_an_environment_has_what_is_of_that_one_alone(
    cast: Cast, signed_in: SignedIn, kind: str
) -> None:
    """Alice manages both: nothing but the address tells which is meant."""
    alice = cast.principal(cast.alice)
    for place in (cast.development, cast.production):
        make_trust(cast, Issuer(), environment=place, name=f"ci-{place.name}")
        tokens.issue(actor=alice, environment=place, name="ci", role="reader")
        add_recipient(actor=alice, environment=place, email=f"{place.name}@keeper.example")
    client = signed_in(cast.alice)
    here, there = (
        {row["id"] for row in client.get(f"/api/environments/{place.name}/{kind}").json()["results"]}
        for place in (cast.development, cast.production)
    )
    assert here
    assert there
    assert not here & there


@pytest.mark.parametrize("suffix", ["", "/members", "/tokens", "/members/1", "/tokens/1"])
def test_what_one_may_not_see_answers_like_what_does_not_exist(
    cast: Cast, signed_in: SignedIn, suffix: str
) -> None:
    client = signed_in(cast.charlie)
    hidden = client.get(f"/api/environments/production{suffix}")
    missing = client.get(f"/api/environments/nowhere{suffix}")
    assert (hidden.status_code, hidden.content) == (missing.status_code, missing.content)
    assert hidden.status_code == 404


def test_a_member_comes_changes_and_goes(cast: Cast, signed_in: SignedIn) -> None:
    client = signed_in(cast.alice)
    response = post(
        client,
        f"{PLACE}/members",
        user="Charlie",
        role="reader",
        prefix="pay",
        expires_at="2099-01-01T00:00:00Z",
    )
    assert response.status_code == 201
    document = response.json()
    assert (document["user"], document["group"], document["role"], document["prefix"]) == (
        "charlie",
        None,
        "reader",
        "pay",
    )
    assert (document["granted_by"], document["verified"]) == ("alice", True)
    path = f"{PLACE}/members/{document['id']}"
    changed = patch(client, path, role="editor", expires_at=None).json()
    assert (changed["role"], changed["expires_at"], changed["user"]) == ("editor", None, "charlie")
    assert client.get(path).json() == changed
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user": "charlie"}, "role"),
        ({"user": "charlie", "role": "king"}, "role"),
        ({"user": "nobody", "role": "viewer"}, "user"),
        ({"user": "сharlie", "role": "viewer"}, "user"),
        ({"group": "none", "role": "viewer"}, "group"),
        ({"role": "viewer"}, "user"),
        ({"user": "charlie", "role": "viewer", "prefix": "a//b"}, "prefix"),
        ({"user": "charlie", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"user": "charlie", "role": "viewer", "expires_at": "soon"}, "expires_at"),
        ({"user": "charlie", "role": "viewer", "environment": "production"}, "environment"),
    ],
)
def test_it_names_what_makes_no_membership(
    cast: Cast, signed_in: SignedIn, body: dict[str, Any], field: str
) -> None:
    response = post(signed_in(cast.alice), f"{PLACE}/members", **body)
    assert response.status_code == 400
    assert fields_of(response) == [field]


def test_the_last_manager_stays(cast: Cast, signed_in: SignedIn) -> None:
    membership = Membership.objects.get(user=cast.alice, environment=cast.development)
    assert signed_in(cast.alice).delete(f"{PLACE}/members/{membership.pk}").status_code == 409


def test_a_forged_membership_breaks_no_list_and_can_be_removed(
    cast: Cast, signed_in: SignedIn, sql: Callable[..., None]
) -> None:
    forged = Membership.objects.get(user=cast.vera)
    sql("UPDATE environments_app_membership SET role = 'manager' WHERE id = %s", forged.pk)
    client = signed_in(cast.alice)
    rows = client.get(f"{PLACE}/members").json()["results"]
    assert {row["user"]: row["verified"] for row in rows} == {
        "alice": True,
        "erin": True,
        "bob": True,
        "vera": False,
    }
    assert signed_in(cast.vera).get("/api/environments").json()["results"] == []
    assert client.delete(f"{PLACE}/members/{forged.pk}").status_code == 204


def test_a_token_is_shown_once(cast: Cast, signed_in: SignedIn) -> None:
    client = signed_in(cast.alice)
    response = post(client, f"{PLACE}/tokens", name="ci", role="editor", prefix="pay", cidrs=["127.0.0.0/8"])
    assert response.status_code == 201
    text = response.json()["token"]
    assert Client(headers={"authorization": f"Bearer {text}"}).get("/api/whoami").json()["name"] == "ci"
    path = f"{PLACE}/tokens/{response.json()['id']}"
    for answer in (client.get(path), client.get(f"{PLACE}/tokens")):
        assert text[-43:].encode() not in answer.content
        # In the names of fields: the public id is drawn, and may hold any letters.
        assert not re.search(rb'"\w*(hash|pepper)\w*":', answer.content)
    assert client.delete(path).status_code == 204
    assert client.get(path).json()["revoked_at"] is not None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "role"),
        ({"name": "x", "role": "admin"}, "role"),
        ({"role": "viewer"}, "name"),
        ({"name": "", "role": "viewer"}, "name"),
        ({"name": "x", "role": "viewer", "cidrs": ["10.0.0.1/8"]}, "cidrs"),
        ({"name": "x", "role": "viewer", "cidrs": [8]}, "cidrs[0]"),
        ({"name": "x", "role": "viewer", "secret_hash": "0"}, "secret_hash"),
    ],
)
def test_it_names_what_makes_no_token(
    cast: Cast, signed_in: SignedIn, body: dict[str, Any], field: str
) -> None:
    response = post(signed_in(cast.alice), f"{PLACE}/tokens", **body)
    assert response.status_code == 400
    assert fields_of(response)[0].startswith(field[:5])
    assert not ServiceToken.objects.exists()


def test_admin_tokens_are_for_administrators(cast: Cast, signed_in: SignedIn) -> None:
    response = post(signed_in(cast.root), "/api/tokens", name="ops")
    assert response.status_code == 201
    assert (response.json()["role"], response.json()["environment"]) == ("admin", None)
    path = f"/api/tokens/{response.json()['id']}"
    assert signed_in(cast.root).get(path).status_code == 200
    assert len(signed_in(cast.root).get("/api/tokens").json()["results"]) == 1
    for client in (signed_in(cast.alice), signed_in(cast.charlie)):
        assert client.get("/api/tokens").status_code == 403
        assert client.get(path).status_code == 403
        assert client.delete(path).status_code == 403
        assert post(client, "/api/tokens", name="mine").status_code == 403
    assert signed_in(cast.root).delete(path).status_code == 204


def test_a_token_of_an_environment_is_no_admin_token(cast: Cast, signed_in: SignedIn) -> None:
    post(signed_in(cast.alice), f"{PLACE}/tokens", name="ci", role="viewer")
    token = ServiceToken.objects.get()
    assert signed_in(cast.root).get(f"/api/tokens/{token.pk}").status_code == 404
    assert signed_in(cast.alice).get(f"/api/environments/production/tokens/{token.pk}").status_code == 404


ROUTES = [
    # method, path, body, and who may: (administrator, manager, editor, reader, viewer)
    ("get", PLACE, None, (200, 200, 200, 200, 200)),
    ("patch", PLACE, {"description": "x"}, (200, 200, 403, 403, 403)),
    ("get", f"{PLACE}/members", None, (200, 200, 403, 403, 403)),
    ("post", f"{PLACE}/members", {"user": "charlie", "role": "viewer"}, (201, 201, 403, 403, 403)),
    ("get", f"{PLACE}/tokens", None, (200, 200, 403, 403, 403)),
    ("post", f"{PLACE}/tokens", {"name": "x", "role": "viewer"}, (201, 201, 403, 403, 403)),
    ("post", "/api/environments", {"name": "other"}, (201, 403, 403, 403, 403)),
    ("get", "/api/tokens", None, (200, 403, 403, 403, 403)),
    ("post", "/api/tokens", {"name": "x"}, (201, 403, 403, 403, 403)),
]
ROLES = ["admin", "manager", "editor", "reader", "viewer"]


@pytest.mark.parametrize(("method", "path", "body", "statuses"), ROUTES)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_what_the_table_says(
    cast: Cast,
    bearer: Callable[..., Client],
    role: str,
    method: str,
    path: str,
    body: Any,
    statuses: tuple[int, ...],
) -> None:
    client = bearer(role, None if role == "admin" else cast.development)
    response = client.generic(method.upper(), path, _json(body), content_type=JSON)
    assert response.status_code == statuses[ROLES.index(role)]


@pytest.mark.parametrize("role", ROLES[1:])
def test_a_token_sees_no_other_environment(cast: Cast, bearer: Callable[..., Client], role: str) -> None:
    client = bearer(role, cast.development)
    for suffix in ("", "/members", "/tokens"):
        assert client.get(f"/api/environments/production{suffix}").status_code == 404


def test_lists_take_a_constant_number_of_statements(
    cast: Cast, bearer: Callable[..., Client], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = bearer("manager", cast.development)
    for number in range(20):
        post(client, f"{PLACE}/tokens", name=f"t{number}", role="viewer")
    with django_assert_num_queries(3):
        assert len(client.get(f"{PLACE}/tokens").json()["results"]) == 21
    with django_assert_num_queries(3):
        assert len(client.get(f"{PLACE}/members").json()["results"]) == 4
    with django_assert_num_queries(2):
        client.get("/api/environments")


def _json(body: Any) -> str:
    import json

    return "" if body is None else json.dumps(body)
