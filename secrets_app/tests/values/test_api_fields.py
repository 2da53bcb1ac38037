"""Bodies of the API of secrets: an environment by name, every fault at once, each by the name that was sent."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import example, given
from hypothesis.strategies import from_regex, text

from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidName
from secrets_app.tests.kept import keep, send
from secrets_app.values.names import MAX_NAME_LENGTH, NAME_PATTERN, validate_secret_name

pytestmark = pytest.mark.every_database_weekly


@pytest.fixture
def erin(cast: Cast, bearer: Callable[..., Client]) -> Client:
    return bearer("editor", cast.development)


def refused(response: Any) -> dict[str, str]:
    """Return the reason of each field of a refusal."""
    assert response.status_code == 400, response.content
    return {error["field"]: error["reason"] for error in response.json()["errors"]}


BODY = {"name": "db/password", "secret_type": "TEXT", "value": "v"}


def test_an_environment_is_named_in_place_of_its_id(cast: Cast, erin: Client) -> None:
    made = send(erin, "POST", "/api/secrets", {**BODY, "environment": "development"})
    assert (made.status_code, made.json()["environment_id"]) == (201, cast.development.pk)
    both = {"environment": "development", "environment_id": cast.development.pk, "name": "other"}
    assert send(erin, "POST", "/api/secrets", {**BODY, **both}).status_code == 201


def test_two_environments_in_one_body_are_refused(cast: Cast, erin: Client) -> None:
    body = {**BODY, "environment": "production", "environment_id": cast.development.pk}
    assert refused(send(erin, "POST", "/api/secrets", body)).keys() == {"environment"}


def test_one_that_the_caller_may_not_see_is_not_there(cast: Cast, erin: Client) -> None:
    for name in ("production", "nowhere"):
        answer = send(erin, "POST", "/api/secrets", {**BODY, "environment": name})
        assert answer.status_code == 404


def test_no_environment_is_a_fault_of_a_field(cast: Cast, erin: Client) -> None:
    assert "`environment`" in refused(send(erin, "POST", "/api/secrets", BODY))["environment_id"]


def test_copy_move_bulk_and_change_take_the_name(cast: Cast, bearer: Callable[..., Client]) -> None:
    erin = bearer("editor", cast.development)
    secret = keep(cast, "db/first")
    path = f"/api/secrets/{secret.pk}"
    copied = send(erin, "POST", f"{path}/copy", {"environment": "development", "name": "db/second"})
    assert copied.status_code == 201
    bulk = {"environment": "development", "secrets": [{**BODY, "name": "one"}, {**BODY, "name": "two"}]}
    assert send(erin, "POST", "/api/secrets/bulk", bulk).json()["created"] == 2
    mixed = {"secrets": [{**BODY, "name": "three", "environment": "development"}]}
    assert send(erin, "POST", "/api/secrets/bulk", mixed).status_code == 201
    assert send(erin, "PATCH", path, {"environment": "development", "owner": "team"}).status_code == 200
    assert refused(send(erin, "PATCH", path, {"environment": "production"})).keys() == {"environment"}


def test_every_fault_is_told_at_once(cast: Cast, erin: Client) -> None:
    body = {"name": "/a/", "secret_type": "NONE", "value": 1, "enviroment": "development", "tags": "x"}
    faults = refused(send(erin, "POST", "/api/secrets", body))
    assert faults.keys() == {"name", "secret_type", "value", "enviroment", "tags", "environment_id"}
    assert faults["enviroment"] == "This field is unknown."


def test_a_file_that_cannot_be_read_is_a_fault_of_its_content(cast: Cast, erin: Client) -> None:
    body = {"format": "json", "content": "{"}
    faults = refused(send(erin, "POST", "/api/environments/development/import", body))
    assert faults.keys() == {"content"}


@example("a")
@example("a" * MAX_NAME_LENGTH)
@example("a\n")
@given(from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: len(name) <= MAX_NAME_LENGTH))
def test_a_name_of_the_pattern_is_one(name: str) -> None:
    assert validate_secret_name(name.rstrip("\n")) == name.rstrip("\n")


@example("")
@example("a//b")
@example("../a")
@example("a\x00")
@example("\uff21")
@given(text(alphabet="aZ0_.+=@-/ ä", max_size=12))
def test_what_is_no_name_has_not_the_pattern(name: str) -> None:
    try:
        validate_secret_name(name)
    except InvalidName:
        assert not re.match(NAME_PATTERN, name)
    else:
        assert re.match(NAME_PATTERN, name)
