"""The OpenAPI document: complete, without warnings, and true of what the API answers, its refusals included."""

import functools
import itertools
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from pytest_django.live_server_helper import LiveServer
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from environments_app.authorization.principals import system_principal
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from gateway_app.aws.openapi import TAG as AWS_TAG
from gateway_app.kv2.openapi import BODIES
from gateway_app.kv2.openapi import TAG as VAULT_TAG
from gateway_app.scim.lane import TAG as SCIM_TAG
from keeper_project.wsgi import application
from secrets_app.tests.kept import change, keep
from sync_app.tests.shown import make_item, make_plan, make_target
from tests.access.test_access_matrix import api_routes
from tests.access.test_protocol_matrix import routes

DESCRIBED: Any = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
# The protocols of other systems are described as they are: tests/access/test_protocol_matrix.py demands their answers.
API = {path: item for path, item in DESCRIBED["paths"].items() if path.startswith("/api/")}
PROTOCOLS = {path: item for path, item in DESCRIBED["paths"].items() if path not in API}
OPERATIONS = [(method.upper(), path) for path, item in API.items() for method in item]
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    response_schema_conformance,
    content_type_conformance,
)


def test_the_document_is_made_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--api-version", "1")
    told = capsys.readouterr()
    assert "openapi: 3" in told.out
    assert told.err == ""


@pytest.mark.parametrize("query", ["", "?format=json"])
def test_the_document_is_served_in_the_form_that_is_asked_for(db: None, query: str) -> None:
    response = Client().get(f"/api/schema{query}")
    assert response.status_code == 200
    if query:
        assert response["Content-Type"].startswith(("application/json", "application/vnd.oai.openapi+json"))
        assert "/api/secrets/{id}" in response.json()["paths"]


def test_the_document_is_made_once_however_often_anybody_asks(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Client().get("/api/schema").content
    monkeypatch.setattr(SchemaGenerator, "get_schema", lambda *_given, **_named: pytest.fail("made again"))
    assert Client().get("/api/schema").content == made


def test_every_route_and_method_is_described() -> None:
    described = sum(
        len(methods) for name, methods in api_routes().items() if name not in {"api-schema", "api-docs"}
    )
    assert len(OPERATIONS) == described


def test_every_route_of_the_protocols_is_described_and_tagged_apart() -> None:
    found = {
        (each["operationId"], tag)
        for item in PROTOCOLS.values()
        for each in item.values()
        for tag in each["tags"]
    }
    # OpenAPI has no methods LIST and SCAN: the description of GET names them.
    served = {VAULT_TAG: routes("vault/"), AWS_TAG: routes("aws"), SCIM_TAG: routes("scim/")}
    assert found == {
        (f"{name}_{method.lower()}".replace("-", "_"), tag)
        for tag, each in served.items()
        for name, method in each
        if method not in {"LIST", "SCAN"}
    }
    listing = [each["get"]["description"] for path, each in PROTOCOLS.items() if "/metadata" in path]
    assert len(listing) == len([each for each in listing if "`LIST`" in each and "`SCAN`" in each]) == 3
    assert not {tag for item in API.values() for each in item.values() for tag in each["tags"]} & {*served}
    assert all(each["summary"] for item in PROTOCOLS.values() for each in item.values())
    assert BODIES.keys() <= {name for name, _ in routes("vault/")}


def test_every_operation_describes_its_refusals() -> None:
    for path, item in API.items():
        for method, operation in item.items():
            described = operation["responses"]
            assert described.keys() >= {"401", "403", "429", "503"}, (method, path)
            assert "Retry-After" in described["429"]["headers"]
            for status in described.keys() - {"200", "201", "202", "204", "304"}:
                problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
                assert described[status]["content"] == {"application/problem+json": problem}
            for parameter in operation.get("parameters", []):
                if parameter["name"] in {"id", "number", "item"}:
                    assert parameter["schema"]["type"] == "integer", (method, path)
    assert DESCRIBED["info"]["license"]["name"] == "MIT"
    assert DESCRIBED["servers"]


def test_a_read_that_opens_values_describes_that_it_may_be_refused_as_damaged() -> None:
    """A value that was edited in the database, or is guarded, is refused by 409."""
    reads = {path: item["get"]["responses"] for path, item in API.items() if "get" in item}
    assert {path for path, answers in reads.items() if "409" in answers} == {
        "/api/environments/{environment}/compare/{other}",
        "/api/environments/{environment}/export",
        "/api/environments/{environment}/secrets/{name}",
        "/api/reports/{key}",
        "/api/secrets/{id}",
        "/api/secrets/{id}/versions",
        "/api/secrets/{id}/versions/{number}",
    }


def test_a_body_takes_no_member_but_those_described() -> None:
    schemas = DESCRIBED["components"]["schemas"]
    bodies = {
        body["schema"]["$ref"].rpartition("/")[2]
        for item in API.values()
        for operation in item.values()
        for body in operation.get("requestBody", {}).get("content", {}).values()
    }
    # Its other members are options of the kind that is generated.
    bodies.remove("GenerateDocumentRequest")
    for name in bodies:
        variants = [each["$ref"].rpartition("/")[2] for each in schemas[name].get("oneOf", [])] or [name]
        assert all(schemas[each]["additionalProperties"] is False for each in variants), name
    assert schemas["NewSecretDocumentRequest"]["properties"]["name"]["pattern"]
    assert schemas["BulkDocumentRequest"]["properties"]["secrets"]["minItems"] == 1


@pytest.fixture
def manager(cast: Cast) -> dict[str, str]:
    """The header of a token that may do everything in development."""
    secret = change(cast, keep(cast), "second value")
    keep(cast, "other/key", environment=cast.production)
    assert secret.pk
    return _header(cast.development)


def _header(environment: Environment | None, *, role: str = "manager") -> dict[str, str]:
    operator = system_principal(is_admin=True)
    given = role if environment else "admin"
    _, text = issue(actor=operator, environment=environment, role=given, name=f"fuzzer-{given}")
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def document(db: None) -> Any:
    return _document()


@functools.cache
def _document() -> Any:
    """Load the document once a process; no test changes it."""
    return schemathesis.openapi.from_wsgi("/api/schema?format=json", application)


def takes_input(method: str, path: str) -> bool:
    """Return whether an operation takes a body or parameters beside those of its path."""
    operation = API[path][method.lower()]
    return "requestBody" in operation or any(each["in"] != "path" for each in operation.get("parameters", []))


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda value: value)
def test_the_api_answers_as_its_document_says(
    manager: dict[str, str], cast: Cast, document: Any, method: str, path: str
) -> None:
    admin, editor = _header(None), _header(cast.development, role="editor")
    # Each example comes from the next of these, so that what a role may not do is seen as well.
    callers = itertools.cycle(
        [admin] if path.startswith("/api/tokens") else [manager, editor, manager, admin]
    )
    target = make_target(cast.development)
    plan = make_plan(target)
    make_item(plan, "payments/db", act="conflict")
    standing = {"/targets/{id}": target.pk, "/plans/{id}": plan.pk}

    def check(case: Any) -> None:
        # Half of the time at objects that are there, so that more than 404 is seen.
        if case.path_parameters and case.path_parameters.get("environment"):
            case.path_parameters["environment"] = "development"
        if case.path_parameters and "id" in case.path_parameters and "/secrets/" in path:
            case.path_parameters["id"] = 1
        for kind, row in standing.items():
            if kind in path and case.path_parameters:
                case.path_parameters["id"] = row
        headers = next(callers)
        response = case.call(headers=headers)
        # The fault of another system, which is not there in this test, is none of Keeper's.
        checks = CHECKS[1:] if response.status_code == HTTPStatus.BAD_GATEWAY else CHECKS
        case.validate_response(response, checks=list(checks), headers=headers)

    fuzz = document[path][method].as_strategy()
    settings(
        # Where there is nothing to invent but what the path names, each caller asks twice.
        max_examples=20 if takes_input(method, path) else 8,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(fuzz)(check))()  # type: ignore[no-untyped-call]


@pytest.mark.torture
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", ["viewer", "reader", "editor", "manager", "admin"])
def test_a_long_run_finds_no_answer_that_is_not_described(
    cast: Cast, live_server: LiveServer, tmp_path: Path, role: str
) -> None:
    keep(cast, "payments/db")
    make_item(make_plan(make_target(cast.development)), "payments/db", act="conflict")
    headers = _header(None if role == "admin" else cast.development, role=role)
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{live_server.url}/api/schema?format=json",
         "--header", f"Authorization: {headers['Authorization']}", "--workers", "1", "--seed", "1",
         "--max-examples", "20", "--request-timeout", "60", "--generation-deterministic",
         # Names that a path can hold are few among those that are invented.
         "--suppress-health-check", "filter_too_much",
         "--include-path-regex", "^/api/", "--checks", ",".join(each.__name__ for each in CHECKS)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
