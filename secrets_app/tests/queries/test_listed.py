"""A list of plain rows shows what the instances would show, and nothing that they would not."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.api.serializers import SecretDocument
from secrets_app.models import Secret
from secrets_app.queries.listed import ListedSecret, genuine, listed
from secrets_app.services import lifecycle
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
Events = Callable[..., list[AuditEvent]]


def secrets() -> Any:
    return Secret.objects.select_related("environment").order_by("id")


def shown(rows: Any) -> Any:
    return [orjson.dumps(SecretDocument().to_representation(row)) for row in rows]


@pytest.fixture
def many(cast: Cast) -> None:
    keep(cast, "a/plain")
    keep(cast, "a/described", description="über\n100 %", tags=["b", "a"], owner="team", comment="x")
    keep(cast, "a/ends", expires_at=timezone.now() + timedelta(days=3, microseconds=-3))
    keep(cast, "b/json", '{"a": 1}', secret_type=SecretType.JSON)
    change(cast, keep(cast, "b/changed"), "second")
    keep(cast, "b/refers", "${development/a/plain}", uses_references=True)
    due = lifecycle.mark_rotation_due(actor=cast.principal(cast.alice), secret=keep(cast, "b/due"))
    lifecycle.delete(actor=cast.principal(cast.alice), secret=keep(cast, "c/gone"))
    keep(cast, "c/production", environment=cast.production)
    Secret.objects.filter(pk=due.pk).update(facts={"deep": ["€", 1, None]})


@pytest.mark.usefixtures("many")
def test_it_shows_what_instances_show() -> None:
    rows = list(listed(secrets()))
    assert {type(row) for row in rows} == {ListedSecret}
    assert shown(rows) == shown(secrets())
    assert len(rows) == 9


@pytest.mark.usefixtures("many")
def test_each_column_of_an_order_is_there() -> None:
    for row, secret in zip(listed(secrets()), secrets(), strict=True):
        for name in ("pk", "id", "name", "created_at", "updated_at", "expires_at", "rotation_due_at"):
            assert getattr(row, name) == getattr(secret, name)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "a/other"),
        ("secret_type", "JSON"),
        ("current_number", 7),
        ("previous_number", 7),
        ("pending_number", 7),
        ("live", None),
        ("resolves_as", "user:someone"),
        ("uuid", "0" * 32),
        ("row_mac", b"\x00" * 48),
        ("row_mac", b""),
    ],
)
def test_a_row_that_was_edited_is_reported_and_not_shown(
    cast: Cast, events: Events, column: str, value: object
) -> None:
    kept, edited = keep(cast, "a/kept"), keep(cast, "a/edited")
    Secret.objects.filter(pk=edited.pk).update(**{column: value})
    assert [row.pk for row in genuine(list(listed(secrets())))] == [kept.pk]
    assert len(events(Action.INTEGRITY_VIOLATION)) == 1


def test_a_row_that_was_moved_is_reported_and_not_shown(cast: Cast, events: Events) -> None:
    moved = keep(cast)
    Secret.objects.filter(pk=moved.pk).update(environment=cast.production)
    assert genuine(list(listed(secrets()))) == []
    assert len(events(Action.INTEGRITY_VIOLATION)) == 1


def test_a_page_of_the_api_takes_two_statements(cast: Cast, bearer: Callable[..., Client]) -> None:
    for number in range(5):
        keep(cast, f"a/{number}", tags=["x"])
    client = bearer("viewer", cast.development)
    client.get("/api/secrets")
    for query in ("", "?environment=development", "?limit=2&ordering=-updated", "?q=a&tag=x"):
        with CaptureQueriesContext(connection) as captured:
            assert client.get(f"/api/secrets{query}").json()["results"]
        # The token, and the rows: nothing is counted.
        assert len(captured) == 2, [each["sql"] for each in captured.captured_queries]
