"""No refusal of the API repeats what was sent in a body, a parameter, a header or an address."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from audit_app.models import AuditEvent
from secrets_app.tests.kept import send
from tests.access.access_scene import Scene, call_as, shared_scene, stage
from tests.access.test_access_matrix import TABLE

__all__ = ["shared_scene", "stage"]

CANARY = "canary~9c41~swordfish"


def wrongly_filled(body: Any) -> Iterator[Any]:
    """Yield a body with the canary in each place of each kind, one at a time."""
    yield CANARY
    yield [CANARY]
    yield {CANARY: CANARY}
    if not isinstance(body, dict):
        return
    yield {**body, CANARY: "x"}
    yield {**body, "typo": CANARY}
    for name in {
        *body,
        "comment",
        "tags",
        "owner",
        "expires_at",
        "description",
        "options",
        "cidrs",
        "prefix",
        "colour",
        "position",
        "kms_key_alias",
    }:
        for planted in (CANARY, [CANARY], {CANARY: CANARY}, [{"a": CANARY}], {"a": [CANARY]}):
            yield {**body, name: planted}


def answers_nothing(response: Any, *, where: object) -> None:
    told = response.getvalue().decode() + "".join(
        f"{name}: {value}" for name, value in response.headers.items()
    )
    # 502 tells of another system, which is not there in this test.
    assert response.status_code < 500 or response.status_code == 502, where
    if response.status_code >= 400:
        assert response["Content-Type"] == "application/problem+json", where
        assert "swordfish" not in told, (where, told)


@pytest.mark.parametrize(
    ("route", "method"), [key for key, rule in TABLE.items() if rule.body], ids=lambda value: value
)
def test_no_field_of_a_body_comes_back_in_a_refusal(
    stage: Callable[[str], Scene], route: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = stage(route)
    caller = "admin" if route in {"api-environments", "api-admin-tokens"} else "manager"
    client = call_as(caller, place)
    with caplog.at_level(logging.DEBUG):
        for body in wrongly_filled(place.body(TABLE[route, method].body)):
            answers_nothing(send(client, method, place.path(route), json.dumps(body)), where=body)
    assert "swordfish" not in caplog.text
    # Names, comments and descriptions that were taken may stand in the trail; values never do.
    for event in AuditEvent.objects.filter(outcome="failed"):
        assert "swordfish" not in event.details


@pytest.mark.parametrize("route", sorted({name for name, _ in TABLE}))
def test_no_parameter_header_or_part_of_an_address_comes_back(
    stage: Callable[[str], Scene], one_document: None, route: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = stage(route)
    client = call_as("manager", place)
    path = place.path(route)
    with (
        caplog.at_level(logging.DEBUG, logger="core"),
        caplog.at_level(logging.DEBUG, logger="keeper_project"),
    ):
        for name in (
            "q",
            "cursor",
            "ordering",
            "limit",
            "format",
            "tag",
            "type",
            "prefix",
            "expiring",
            "rotation",
            "deleted",
            "action",
            "outcome",
            "since",
            "object_uuid",
            CANARY,
        ):
            answers_nothing(client.get(path, {name: CANARY}), where=name)
        for header in (
            "if-match",
            "content-type",
            "accept",
            "x-request-id",
            "if-none-match",
            "x-forwarded-for",
            "host-name",
        ):
            for method in ("get", "put", "patch", "post"):
                response = (
                    getattr(client, method)(
                        path, "{}", content_type=f"application/{CANARY}", headers={header: CANARY}
                    )
                    if method != "get"
                    else client.get(path, headers={header: CANARY})
                )
                answers_nothing(response, where=(header, method))
        answers_nothing(client.generic("CANARY-SWORDFISH", path), where="method")
    assert "swordfish" not in caplog.text
