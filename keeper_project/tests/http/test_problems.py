"""Errors tell what is wrong and repeat nothing that was sent: it may be a secret in the wrong place."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError, connection
from django.http import Http404
from django.test import Client
from rest_framework.exceptions import NotAuthenticated, Throttled, ValidationError

from audit_app.errors import KeyringUnavailable, TooManyRefusals
from audit_app.models import AuditEvent
from core.http.problems import problem_of
from core.tests.db.test_concurrency import full
from environments_app.errors import BadToken, Forbidden, Invisible, LastManager
from environments_app.tests.cast import Cast
from keeper_project.http.errors import problem_response
from secrets_app.errors import (
    InvalidValue,
    KeyRefused,
    KeyUnavailable,
    MissingVersion,
    NameTaken,
    NoSuchVersion,
    NotDeleted,
    StaleVersion,
    TamperedSecret,
    TooManyItems,
    WrongContext,
)
from secrets_app.services.bulk_create import InvalidItems, ItemFault
from secrets_app.tests.kept import keep, send

CANARY = "canary~9c41~swordfish"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Invisible("x"), 404),
        (Http404("x"), 404),
        (NoSuchVersion("x"), 404),
        (Forbidden("x"), 403),
        (PermissionDenied("x"), 403),
        (BadToken("forged-token"), 401),
        (NotAuthenticated(), 401),
        (InvalidValue("value", "x"), 400),
        (InvalidItems([ItemFault(index=3, field="name", reason="x")]), 400),
        (ValidationError({"a": ["x"]}), 400),
        (StaleVersion("x"), 412),
        (NameTaken("x"), 409),
        (NotDeleted("x"), 409),
        (LastManager("x"), 409),
        (TamperedSecret("x"), 409),
        (WrongContext("x"), 409),
        (MissingVersion("x"), 409),
        (TooManyItems("x"), 413),
        (RequestDataTooBig("x"), 413),
        (TooManyRefusals(retry_after=7), 429),
        (Throttled(wait=7), 429),
        (KeyUnavailable("x", permanent=True), 503),
        (KeyRefused("x"), 503),
        (KeyringUnavailable("x"), 503),
        (OperationalError(2013, "Lost connection to server during query"), 503),
        (InterfaceError(0, ""), 503),
    ],
)
def test_each_error_has_its_status(error: Exception, status: int) -> None:
    problem = problem_of(error)
    assert problem is not None
    assert problem.status == problem.document["status"] == status
    assert problem.document.keys() >= {"type", "title", "status", "detail"}
    if status == 429:
        assert problem.headers["Retry-After"] == "7"


def test_an_error_that_nobody_foresaw_is_no_problem_document() -> None:
    assert problem_of(ZeroDivisionError("x")) is None
    assert problem_response(ZeroDivisionError("x"), {}) is None


def test_what_is_told_to_an_operator_is_not_told_to_the_caller() -> None:
    problem = problem_of(KeyUnavailable("arn:aws:kms:eu-central-1:111122223333:key/x denied", permanent=True))
    assert problem is not None
    assert "arn:" not in json.dumps(problem.document)


def test_a_fault_in_a_view_is_a_problem_without_its_words(
    cast: Cast, signed_in: Callable[[Any], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError(CANARY)

    monkeypatch.setattr("secrets_app.api.secrets.visible_secrets", fail)
    client = signed_in(cast.alice)
    client.raise_request_exception = False
    response = client.get("/api/secrets")
    assert (response.status_code, response["Content-Type"]) == (500, "application/problem+json")
    assert CANARY not in response.content.decode()


@pytest.mark.parametrize("path", ["/api/secrets", "/secrets", "/api/secrets/1"])
def test_a_database_that_is_away_is_a_problem_that_passes(
    cast: Cast, signed_in: Callable[[Any], Client], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    client = signed_in(cast.alice)
    client.raise_request_exception = False

    def lost(*_: object) -> None:
        raise OperationalError(2013, CANARY)

    with connection.execute_wrapper(lost):
        response = client.get(
            path, headers={"Authorization": "Bearer kpr_AbCdEfGhIjKlMnOpQrStUv_" + "x" * 43}
        )
    assert response.status_code == 503
    assert CANARY not in response.content.decode() + "".join(record.getMessage() for record in caplog.records)
    assert (response["Content-Type"] == "application/problem+json") == path.startswith("/api/")


@pytest.mark.parametrize("path", ["/api/nothing", "/api/secrets/", "/api", "/api/secrets/1/nothing"])
def test_an_address_that_leads_nowhere_is_a_problem(db: None, path: str) -> None:
    response = Client().get(path)
    assert response.status_code == 404
    assert (response["Content-Type"] == "application/problem+json") == path.startswith("/api/")


def test_a_token_in_the_wrong_place_does_not_come_back(cast: Cast) -> None:
    for header in (
        f"Bearer {CANARY}",
        f"Basic {CANARY}",
        CANARY,
        f"Bearer kpr_{'a' * 22}_{'b' * 43} {CANARY}",
    ):
        response = Client(headers={"authorization": header}).get("/api/whoami")
        assert response.status_code in {401, 429}
        assert "swordfish" not in response.content.decode()
        assert "swordfish" not in str(response.headers)


def test_the_value_of_a_secret_is_in_no_answer_to_its_writer(
    cast: Cast, bearer: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    client = bearer("editor", cast.development)
    body = {"name": "n", "environment_id": cast.development.pk, "secret_type": "TEXT", "value": CANARY}
    with caplog.at_level(logging.DEBUG):
        created = send(client, "POST", "/api/secrets", body)
        path = f"/api/secrets/{created.json()['id']}"
        for response in (
            created,
            send(client, "POST", "/api/secrets", body),
            send(client, "PUT", path, {"value": CANARY + "2"}),
            send(client, "PUT", path, {"value": CANARY}, If_Match='"1-1"'),
            send(client, "PATCH", path, {"value": CANARY, "secret_type": "JSON"}),
            send(client, "POST", f"{path}/rollback", {"version": 1}),
            send(client, "POST", f"{path}/rename", {"name": "other"}),
            client.get("/api/secrets"),
            client.get(f"{path}/versions"),
        ):
            assert "swordfish" not in response.content.decode()
    assert "swordfish" not in caplog.text
    assert not [event for event in AuditEvent.objects.all() if "swordfish" in event.details]


def test_a_refused_row_of_a_bulk_call_is_named_by_its_place(
    cast: Cast, signed_in: Callable[[Any], Client]
) -> None:
    keep(cast)
    items = [
        {"name": "a", "secret_type": "TEXT", "value": CANARY},
        {"name": "b//c", "secret_type": "TEXT", "value": CANARY},
    ]
    body = {"environment_id": cast.development.pk, "secrets": items}
    response = send(signed_in(cast.alice), "POST", "/api/secrets/bulk", body)
    assert response.json()["errors"][0]["item"] == 1
    assert "swordfish" not in response.content.decode()


@pytest.mark.parametrize(
    ("secrets", "field"), [(["swordfish"], "secrets.0"), ("swordfish", "secrets"), ([], "secrets")]
)
def test_what_is_wrong_with_the_whole_is_told_of_the_whole(
    cast: Cast, signed_in: Callable[[Any], Client], secrets: object, field: str
) -> None:
    body = {"environment_id": cast.development.pk, "secrets": secrets}
    response = send(signed_in(cast.alice), "POST", "/api/secrets/bulk", body)
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert (
        send(signed_in(cast.alice), "POST", "/api/secrets/bulk", [body]).json()["errors"][0]["field"]
        == "body"
    )
    assert "swordfish" not in response.content.decode()


def test_a_full_disk_is_said_in_words() -> None:
    problem = problem_of(full())
    assert problem is not None
    assert (problem.status, problem.title) == (503, "The disk is full")
    assert "free space" in problem.detail
    assert "Retry-After" in problem.headers
