"""The contract of the routes by environment and name, of exports, and of comparisons."""

import io
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.test import Client
from dotenv import dotenv_values

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.tests.kept import VALUE, keep, send
from secrets_app.tests.test_api_secrets import is_problem

pytestmark = pytest.mark.every_database_weekly

SignedIn = Callable[[Any], Client]
DEVELOPMENT = "/api/environments/development"

# What an export must give back as it was put in.
AWKWARD = {
    "plain": "simple",
    "spaces": "  leading and trailing  ",
    "quotes": 'it\'s "quoted"',
    "backslashes": r"C:\new\table \\ \" \$x",
    "dollar": "$HOME ${HOME} $(id) `id`",
    "hash": "a # no comment",
    "lines": "first\nsecond\r\nthird\n",
    "tab": "a\tb",
    "unicode": "pässwörd ✓ 🔑 \u2028",
    "equals": "a=b=c",
    "yes": "yes",
    "number": "012345",
    "null": "null",
    "brace": "{a: [b]}",
    "lone-quote": "'",
    "backslash-end": "ends with \\",
    "percent": "100%",
    "exclamation": "!important & more",
}


@pytest.fixture
def alice(cast: Cast, signed_in: SignedIn) -> Client:
    return signed_in(cast.alice)


# --- By name -------------------------------------------------------------------------------------


def test_a_secret_is_put_read_and_deleted_by_name(cast: Cast, alice: Client) -> None:
    path = f"{DEVELOPMENT}/secrets/payments/stripe/key"
    created = send(alice, "PUT", path, {"value": VALUE, "secret_type": "api-key", "tags": ["a"]})
    first = f'"{created.json()["id"]}-1-1"'
    assert (created.status_code, created["ETag"], created.json()["name"]) == (
        201,
        first,
        "payments/stripe/key",
    )
    assert VALUE not in created.content.decode()
    assert alice.get(path).json() == {**created.json(), "value": VALUE}
    assert alice.get(path)["ETag"] == first

    kept = send(alice, "PUT", path, {"description": "no new value"})
    assert (kept.status_code, kept.json()["version"], kept.json()["tags"]) == (200, 1, ["a"])
    assert alice.get(path).json()["value"] == VALUE
    changed = send(alice, "PUT", path, {"value": "second"}, If_Match=kept["ETag"])
    assert (changed.status_code, changed.json()["version"], changed.json()["secret_type"]) == (
        200,
        2,
        "API_KEY",
    )

    assert is_problem(send(alice, "DELETE", path, If_Match=first), 412)
    assert send(alice, "DELETE", path, If_Match=changed["ETag"]).status_code == 204
    assert is_problem(alice.get(path), 404)
    assert is_problem(alice.delete(path), 404)
    again = send(alice, "PUT", path, {"value": "third"})
    assert (again.status_code, again.json()["secret_type"]) == (201, "TEXT")
    assert again.json()["id"] != created.json()["id"]


def test_a_new_secret_needs_a_value(alice: Client) -> None:
    assert is_problem(send(alice, "PUT", f"{DEVELOPMENT}/secrets/new", {"description": "x"}), 400, "value")
    assert not Secret.objects.exists()


def test_who_expects_a_state_creates_nothing(alice: Client) -> None:
    for etag in ('"1-1"', "*"):
        assert is_problem(
            send(alice, "PUT", f"{DEVELOPMENT}/secrets/new", {"value": "v"}, If_Match=etag), 412
        )
    assert not Secret.objects.exists()


def test_the_body_does_not_contradict_the_address(cast: Cast, alice: Client) -> None:
    path = f"{DEVELOPMENT}/secrets/a"
    same = {"value": "v", "name": "a", "environment_id": cast.development.pk}
    assert send(alice, "PUT", path, same).status_code == 201
    assert is_problem(send(alice, "PUT", path, {**same, "name": "b"}), 400, "name")
    assert is_problem(
        send(alice, "PUT", path, {**same, "environment_id": cast.production.pk}), 400, "environment_id"
    )


@pytest.mark.parametrize(
    "name",
    [
        "a//b",
        "a/../b",
        "%2e%2e/a",
        "a%252eb",
        "a%3Fb",
        "a%23b",
        "%20a",
        "a%20",
        "a/",
        "p%C3%A4ss",
        "a%00b",
        "n" * 513,
    ],
)
def test_names_that_cannot_be_are_refused_by_every_method(alice: Client, name: str) -> None:
    for method, body in (("GET", None), ("PUT", {"value": "v"}), ("DELETE", None)):
        response = send(alice, method, f"{DEVELOPMENT}/secrets/{name}", body)
        assert is_problem(response, 400, "name"), (method, response.content)
    assert not Secret.objects.exists()


@pytest.mark.parametrize("name", ["versions", "export", "a/versions/1", "..a", "a.b/c+d=e@f-g_h", "S3", "s3"])
def test_names_that_look_like_routes_are_names(alice: Client, name: str) -> None:
    path = f"{DEVELOPMENT}/secrets/{name}"
    assert send(alice, "PUT", path, {"value": name}).status_code == 201
    assert alice.get(path).json()["value"] == name


def test_an_environment_one_may_not_see_answers_as_one_that_is_not_there(
    cast: Cast, signed_in: SignedIn
) -> None:
    keep(cast, "a", environment=cast.production)
    bob = signed_in(cast.bob)
    for rest in ("", "/secrets/a", "/secrets/b", "/export", "/members", "/tokens"):
        hidden = bob.get(f"/api/environments/production{rest}")
        missing = bob.get(f"/api/environments/nowhere{rest}")
        assert is_problem(hidden, 404)
        assert hidden.content == missing.content


# --- Export --------------------------------------------------------------------------------------


@pytest.fixture
def awkward(cast: Cast) -> dict[str, str]:
    for name, value in AWKWARD.items():
        keep(cast, f"set/{name}", value)
    keep(cast, "setting", "beside the prefix")
    return {f"set/{name}": value for name, value in AWKWARD.items()}


def test_json_and_yaml_give_back_what_was_put_in(awkward: dict[str, str], alice: Client) -> None:
    as_json = alice.get(f"{DEVELOPMENT}/export?format=json&prefix=set")
    assert (as_json.status_code, as_json["Content-Type"], as_json["Cache-Control"]) == (
        200,
        "application/json",
        "no-store, private",
    )
    assert json.loads(as_json.content) == awkward
    as_yaml = alice.get(f"{DEVELOPMENT}/export?format=yaml&prefix=set")
    assert as_yaml["Content-Type"].startswith("application/yaml")
    assert yaml.safe_load(as_yaml.content) == awkward
    assert json.loads(alice.get(f"{DEVELOPMENT}/export").content) == {
        **awkward,
        "setting": "beside the prefix",
    }


def test_dotenv_readers_get_what_was_put_in(awkward: dict[str, str], alice: Client) -> None:
    response = alice.get(f"{DEVELOPMENT}/export?format=dotenv&prefix=set")
    assert response["Content-Type"].startswith("text/plain")
    read = dotenv_values(stream=io.StringIO(response.content.decode(), newline=""), interpolate=False)
    wanted = {name.replace("/", "_").replace("-", "_").upper(): value for name, value in awkward.items()}
    differing = {name for name in wanted if read.get(name) != wanted[name]}
    # `\$` stands for a dollar where a reader interpolates; python-dotenv leaves the backslash.
    assert differing <= {"SET_BACKSLASHES"}


def test_shells_get_what_was_put_in(awkward: dict[str, str], alice: Client) -> None:
    response = alice.get(f"{DEVELOPMENT}/export?format=dotenv&prefix=set")
    script = (
        response.content.decode()
        + 'printf \'%s\\0\' "$SET_DOLLAR" "$SET_QUOTES" "$SET_UNICODE" "$SET_BACKSLASHES"'
    )
    told = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode().split("\0")
    assert told[:4] == [awkward[f"set/{name}"] for name in ("dollar", "quotes", "unicode", "backslashes")]


def test_a_pem_stays_readable_line_by_line(cast: Cast, alice: Client) -> None:
    keep(cast, "pem", "-----BEGIN X-----\nabc=\n-----END X-----\n")
    export = alice.get(f"{DEVELOPMENT}/export?format=dotenv").content.decode()
    # Behind the comments that name what Docker does not take.
    assert export.endswith("\nPEM='-----BEGIN X-----\nabc=\n-----END X-----\n'\n")


def test_no_secret_is_lost_where_two_become_one_variable(cast: Cast, alice: Client) -> None:
    keep(cast, "a/b")
    keep(cast, "a-b")
    assert is_problem(alice.get(f"{DEVELOPMENT}/export?format=dotenv"), 400, "format")
    assert len(alice.get(f"{DEVELOPMENT}/export?format=json").json()) == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [("format=xml", "format"), ("prefix=a//b", "prefix"), ("prefix=a/", "prefix")],
)
def test_an_export_that_cannot_be_is_a_problem(alice: Client, query: str, field: str) -> None:
    assert is_problem(alice.get(f"{DEVELOPMENT}/export?{query}"), 400, field)


def test_an_empty_environment_exports_nothing(alice: Client) -> None:
    assert alice.get(f"{DEVELOPMENT}/export").json() == {}
    empty = alice.get(f"{DEVELOPMENT}/export?format=dotenv")
    assert (empty.content, empty["Content-Type"]) == (b"\n", "text/plain; charset=utf-8")


# --- Comparing -----------------------------------------------------------------------------------


def test_two_environments_are_compared_without_showing_a_value(cast: Cast, alice: Client) -> None:
    for name, left, right in (
        ("same", VALUE, VALUE),
        ("other", VALUE, "x"),
        ("left", VALUE, None),
        ("right", None, VALUE),
    ):
        for environment, value in ((cast.development, left), (cast.production, right)):
            if value:
                keep(cast, name, value, environment=environment)
    response = alice.get(f"{DEVELOPMENT}/compare/production")
    assert VALUE not in response.content.decode()
    assert response.json()["left"] == "development"
    assert {
        (row["name"], row["difference"], row["left_version"], row["right_version"])
        for row in response.json()["results"]
    } == {
        ("same", "same", 1, 1),
        ("other", "different", 1, 1),
        ("left", "only_left", 1, None),
        ("right", "only_right", None, 1),
    }
    assert AuditEvent.objects.filter(action="secret.compare", outcome="allowed").count() == 2


def test_comparing_takes_the_right_to_reveal_on_both_sides(cast: Cast, signed_in: SignedIn) -> None:
    bob = signed_in(cast.bob)
    assert is_problem(bob.get(f"{DEVELOPMENT}/compare/production"), 404)
    assert is_problem(bob.get("/api/environments/production/compare/development"), 404)
    assert is_problem(signed_in(cast.root).get(f"{DEVELOPMENT}/compare/production"), 403)


# --- Environments --------------------------------------------------------------------------------


def test_environments_take_the_fields_of_the_readme(cast: Cast, bearer: Callable[..., Client]) -> None:
    admin = bearer("admin")
    body = {"name": "staging-eu", "display_name": "Staging EU", "kms_key_alias": "alias/keeper-staging"}
    created = send(admin, "POST", "/api/environments", body)
    assert created.status_code == 201
    assert {name: created.json()[name] for name in body} == body
    listed = admin.get("/api/environments").json()
    assert listed.keys() == {"results", "next", "previous"}
    assert [row["name"] for row in listed["results"]] == ["development", "production", "staging-eu"]
    assert is_problem(send(admin, "POST", "/api/environments", body), 409)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Upper"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "рaypal"}, "name"),
        ({"name": 7}, "name"),
        ({"display_name": "x" * 101}, "display_name"),
        ({"kms_key_alias": "not an alias"}, "kms_key_alias"),
        ({"colour": "puce"}, "colour"),
        ({"position": -1}, "position"),
        ({"protected": "yes"}, "protected"),
        ({"typo": 1}, "typo"),
    ],
)
def test_an_environment_that_cannot_be_is_a_problem(
    cast: Cast, bearer: Callable[..., Client], change: dict[str, Any], field: str
) -> None:
    assert is_problem(
        send(bearer("admin"), "POST", "/api/environments", {"name": "ok", **change}), 400, field
    )
