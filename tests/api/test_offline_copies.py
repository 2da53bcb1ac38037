"""Whether a client may keep values for a time without the server: the environment decides, and its token."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.environments.service import update_environment
from environments_app.errors import InvalidField
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from environments_app.tokens.bearers import HEADER
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue
from secrets_app.tests.kept import VALUE, keep

Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def export(cast: Cast) -> str:
    keep(cast)
    return f"/api/environments/{cast.development.name}/export"


def allow(cast: Cast, hours: int | None) -> Environment:
    place = Environment.objects.get(pk=cast.development.pk)
    return update_environment(actor=cast.principal(cast.alice), environment=place, offline_hours=hours)


def answer(export: str, token: str) -> Any:
    response = Client(headers={"authorization": f"Bearer {token}"}).get(export)
    assert response.json() == {"payments/key": VALUE}
    return response


def seconds(export: str, token: str) -> int:
    return int(answer(export, token).headers.get(HEADER, "0"))


def test_a_copy_is_forbidden_until_the_environment_allows_it(cast: Cast, export: str) -> None:
    _, token = issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci")
    assert HEADER not in answer(export, token).headers
    assert allow(cast, 24).is_authentic()
    assert seconds(export, token) == 24 * 3600
    allow(cast, None)
    assert HEADER not in answer(export, token).headers


def test_a_copy_does_not_outlive_its_token(cast: Cast, export: str) -> None:
    allow(cast, 24)
    _, token = issue_personal(actor=cast.principal(cast.bob), name="laptop", lifetime=timedelta(hours=2))
    assert 3600 < seconds(export, token) <= 2 * 3600


def test_a_session_keeps_no_copy(cast: Cast, export: str) -> None:
    allow(cast, 24)
    client = Client()
    client.force_login(cast.bob)
    assert HEADER not in client.get(export).headers


@pytest.mark.parametrize("hours", [0, -1, 169])
def test_an_age_beyond_the_bounds_is_refused(cast: Cast, hours: int) -> None:
    with pytest.raises(InvalidField) as refusal:
        allow(cast, hours)
    assert refusal.value.field == "offline_hours"


def test_a_change_by_sql_makes_the_row_another_one(cast: Cast, sql: Any) -> None:
    sql("UPDATE environments_app_environment SET offline_hours = 5")
    assert not Environment.objects.get(pk=cast.development.pk).is_authentic()


def test_the_change_is_recorded(cast: Cast, events: Events) -> None:
    allow(cast, 8)
    (event,) = events(Action.ENVIRONMENT_UPDATE)
    assert '"offline_hours":8' in event.details


def test_the_page_and_the_api_change_it(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.alice)
    path = f"/environments/{cast.development.name}"
    form = {"colour": "teal", "offline_hours": "12"}
    assert client.post(f"{path}/settings", form).status_code == 302
    assert b'value="12"' in client.get(path).content
    changed = client.patch(f"/api{path}", {"offline_hours": None}, content_type="application/json")
    assert changed.json()["offline_hours"] is None
