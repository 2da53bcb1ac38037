"""Details of HTTP: the types of problems, where what was created is, OPTIONS, and examples that are true."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from core.errors import KeeperError
from core.http import problems
from core.http.json import JsonRenderer
from core.http.problems import Problem
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from keeper_project.http import errors, middleware
from keeper_project.http.openapi import EXAMPLES
from tests.processes import ROOT

pytestmark = pytest.mark.django_db
OF_THE_FRAMEWORK = {
    "parse-error", "method-not-allowed", "not-acceptable", "unsupported-media-type", "too-large",
}  # fmt: skip


def classes(parent: type[KeeperError]) -> Iterator[type[KeeperError]]:
    for each in parent.__subclasses__():
        if "tests" not in each.__module__.split("."):
            yield each
            yield from classes(each)


def slug(title: str) -> str:
    return Problem(status=400, title=title, detail="").type.removeprefix("urn:keeper:problem:")


def client_of(cast: Cast, role: str = "editor") -> Client:
    _, text = issue(actor=cast.principal(cast.alice), environment=cast.development, role=role, name="http")
    return Client(headers={"Authorization": f"Bearer {text}"})


def test_every_type_of_problem_is_on_its_page_and_stays() -> None:
    kinds = [each.problem for each in classes(KeeperError) if each.problem]
    kinds += [kind for _, kind in problems._FOREIGN]
    kinds += [problems._COLLISION, problems._DISK_FULL, problems._NO_DATABASE]
    stated = {slug(kind.title) for kind in kinds}
    stated |= {
        slug(problem.title) for problem in (middleware._SECOND_FACTOR, middleware._TEMPORARY, errors._FAULT)
    }
    page = (ROOT / "docs/problems.md").read_text()

    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == stated | OF_THE_FRAMEWORK


@pytest.mark.parametrize(
    ("method", "path", "options", "expected"),
    [
        ("get", "/api/secrets/987654", {}, ("not-found", 404)),
        ("get", "/api/secrets?nonsense=1", {}, ("invalid-query", 400)),
        ("put", "/api/environments/development/secrets/a", {"data": "{", "content_type": "application/json"}, ("parse-error", 400)),
        ("put", "/api/environments/development/secrets/a", {"data": "x", "content_type": "text/plain"}, ("unsupported-media-type", 415)),
        ("put", "/api/environments/development/secrets/a", {"data": "{}", "content_type": "application/json", "headers": {"If-Match": "*"}}, ("the-secret-has-changed", 412)),
        ("delete", "/api/version", {}, ("method-not-allowed", 405)),
    ],
    ids=("absent", "query", "json", "media type", "state", "method"),
)  # fmt: skip
def test_a_problem_has_its_type(
    cast: Cast, method: str, path: str, options: dict[str, Any], expected: tuple[str, int]
) -> None:
    answer = getattr(client_of(cast), method)(path, **options)

    assert (answer.json()["type"], answer.status_code) == (f"urn:keeper:problem:{expected[0]}", expected[1])


def test_what_was_created_has_its_address(cast: Cast) -> None:
    client, json_type = client_of(cast), "application/json"
    place = f"/api/environments/{cast.development.name}"
    by_name = client.put(f"{place}/secrets/a/b", {"value": "1", "secret_type": "TEXT"}, json_type)
    again = client.put(f"{place}/secrets/a/b", {"value": "2"}, json_type)
    copied = client.post(
        f"/api/secrets/{by_name.json()['id']}/copy",
        {"environment": cast.development.name, "name": "c"},
        json_type,
    )

    assert (by_name.status_code, again.status_code, copied.status_code) == (201, 200, 201), copied.content
    for answer in (by_name, copied):
        assert answer["Location"] == f"/api/secrets/{answer.json()['id']}"
        assert client.get(answer["Location"]).json()["id"] == answer.json()["id"]
    assert not again.has_header("Location")

    manager = client_of(cast, "manager")
    token = manager.post(f"{place}/tokens", {"name": "ci", "role": "reader"}, json_type)
    assert token["Location"] == f"{place}/tokens/{token.json()['id']}"
    assert manager.get(token["Location"]).status_code == 200


def test_options_are_answered_with_the_methods(cast: Cast) -> None:
    answer = client_of(cast).options("/api/secrets")

    assert answer.status_code == 200
    assert answer.json() == {"methods": answer["Allow"].split(", ")}
    assert "OPTIONS" in answer["Allow"]
    assert Client().options("/api/secrets").status_code == 401


@pytest.mark.parametrize(("method", "path"), EXAMPLES, ids=[" ".join(each) for each in EXAMPLES])
def test_an_example_is_a_body_that_is_taken(cast: Cast, method: str, path: str) -> None:
    root = Client()
    root.force_login(cast.alice)
    address = path.format(environment=cast.development.name, name="billing/stripe-key")
    body = EXAMPLES[method, path]
    if "environment" in body:
        body = {**body, "environment": cast.development.name}

    answer = root.generic(method, address, JsonRenderer().render(body), content_type="application/json")

    assert answer.status_code in {200, 201, 401, 403}, answer.content
    assert (answer.status_code == 401) == (path == "/api/auth/jwt")


def test_a_broken_form_gets_an_answer_of_sts() -> None:
    answer = Client().generic(
        "POST", "/aws/sts", b"--x\r\nbroken", content_type="multipart/form-data; boundary="
    )

    assert (answer.status_code, answer["Content-Type"]) == (400, "text/xml")
    assert b"<Code>ValidationError</Code>" in answer.content
