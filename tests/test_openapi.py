"""The OpenAPI document: complete, without warnings, and true of what the API answers."""

from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from environments_app.models import Environment
from environments_app.principals import system_principal
from environments_app.tests.cast import Cast
from environments_app.tokens import issue
from keeper_project.wsgi import application
from secrets_app.tests.kept import change, keep
from sync_app.tests.shown import make_item, make_plan, make_target
from tests.test_access_matrix import api_routes

OPERATIONS = [
    (method.upper(), path)
    for path, item in SchemaGenerator().get_schema(request=None, public=True)["paths"].items()  # type: ignore[no-untyped-call]
    for method in item
]
CHECKS = (not_a_server_error, response_schema_conformance, content_type_conformance)


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


def test_every_route_and_method_is_described() -> None:
    described = sum(
        len(methods) for name, methods in api_routes().items() if name not in {"api-schema", "api-docs"}
    )
    assert len(OPERATIONS) == described


@pytest.fixture
def manager(cast: Cast) -> dict[str, str]:
    """The header of a token that may do everything in development."""
    secret = change(cast, keep(cast), "second value")
    keep(cast, "other/key", environment=cast.production)
    assert secret.pk
    return _header(cast.development)


def _header(environment: Environment | None) -> dict[str, str]:
    operator = system_principal(is_admin=True)
    role = "manager" if environment else "admin"
    _, text = issue(actor=operator, environment=environment, role=role, name="fuzzer")
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def document(db: None) -> Any:
    return schemathesis.openapi.from_wsgi("/api/schema?format=json", application)


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda value: value)
def test_the_api_answers_as_its_document_says(
    manager: dict[str, str], cast: Cast, document: Any, method: str, path: str
) -> None:
    headers = _header(None) if path.startswith("/api/tokens") else manager
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
        response = case.call(headers=headers)
        case.validate_response(response, checks=list(CHECKS), headers=headers)

    fuzz = document[path][method].as_strategy()
    settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(fuzz)(check))()  # type: ignore[no-untyped-call]
