"""Plain pages of a list in front of Django: answered exactly as the general path does, or left to it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit_app.events.actions import Action
from core.http.requests import times_of
from environments_app.models import Environment, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens import request_rate
from gateway_app import rest
from gateway_app.lanes import Lanes
from gateway_app.tests.engine.inline import Inline
from secrets_app.api.secrets import SecretListView
from secrets_app.models import Secret
from secrets_app.services import lifecycle
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType
from tests.api.test_recorded_read import READERS, FrontedClient, Told, told, with_secret

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
Bearer = Callable[..., Client]
Both = Callable[..., tuple[Told, bool]]
LIST = "/api/secrets"
ORDERS = ("name", "-name", "created", "-updated", "expires", "-expires", "rotation_due", "id", "-id")
VIEWERS = READERS | {
    "viewer": lambda bearer, cast: bearer("viewer", cast.development),
    "elsewhere": lambda bearer, cast: bearer("manager", cast.production),
    "other prefix": lambda bearer, cast: bearer("reader", cast.development, prefix="pay"),
}
OTHERS: dict[str, Callable[[Bearer, Cast], Client]] = {
    "administrator": lambda bearer, _: bearer("admin"),
    "other network": lambda bearer, cast: bearer("reader", cast.development, cidrs=["10.0.0.0/8"]),
    "another secret": lambda bearer, cast: with_secret(bearer("reader", cast.development), "A" * 43),
    "nobody": lambda *_: Client(),
    "no token": lambda *_: Client(headers={"authorization": "Bearer kpr_x"}),
    "other scheme": lambda *_: Client(headers={"authorization": "Basic YTpi"}),
}


def in_front(client: Client) -> FrontedClient:
    return FrontedClient(Lanes(Inline(), [rest.page]), client.defaults)


@pytest.fixture
def both() -> Both:
    """Ask the lane and the view alone; return the equal answer, and whether the view was spared."""

    def ask(client: Client, path: str, method: str = "get", **headers: str) -> tuple[Told, bool]:
        fronted = in_front(client)
        hot = told(fronted, path, method, headers)
        general = told(FrontedClient(lambda _: None, client.defaults), path, method, headers)
        assert hot == general, path
        return hot, fronted.granted[0]

    return ask


@pytest.fixture
def filled(cast: Cast) -> Cast:
    keep(cast, "payments/key", description="über\n100 %", tags=["b", "a"], owner="team", comment="x")
    keep(cast, "payments/key/under", expires_at=timezone.now() + timedelta(days=3, microseconds=-3))
    keep(cast, "payments/other", '{"a": 1}', secret_type=SecretType.JSON)
    change(cast, keep(cast, "payments/changed"), "second")
    keep(cast, "pay", "${development/payments/key}", uses_references=True)
    keep(cast, "payments-beside", expires_at=timezone.now() + timedelta(days=3))
    due = lifecycle.mark_rotation_due(actor=cast.principal(cast.alice), secret=keep(cast, "Zebra"))
    lifecycle.delete(actor=cast.principal(cast.alice), secret=keep(cast, "payments/gone"))
    keep(cast, "payments/production", environment=cast.production)
    Secret.objects.filter(pk=due.pk).update(facts={"deep": ["€", 1, None]})
    return cast


@pytest.mark.parametrize("who", VIEWERS)
def test_a_plain_page_is_answered_in_front(filled: Cast, bearer: Bearer, both: Both, who: str) -> None:
    client = VIEWERS[who](bearer, filled)
    own = filled.production if who == "elsewhere" else filled.development
    plain = ("", "?limit=2", "?limit=200&ordering=-updated", "?cursor=&ordering=&environment=")
    for query in (*plain, f"?environment={own.name}", f"?environment={own.pk}&limit=3"):
        hot, spared = both(client, f"{LIST}{query}")
        assert (hot.status, spared, hot.events) == (200, True, []), query


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("prefix", ["", "payments"])
def test_each_page_of_each_order_is_that_of_the_general_path(
    filled: Cast, bearer: Bearer, both: Both, order: str, prefix: str
) -> None:
    """A page that begins where there is no value is another statement, which the general path composes."""
    client = bearer("viewer", filled.development, prefix=prefix)
    for limit in (1, 2):
        for way in ("next", "previous"):
            following: str | None = f"{LIST}?limit={limit}&ordering={order}&environment=development"
            last = following
            while following:
                last = following
                hot, spared = both(client, following)
                assert spared or (hot.status == 200 and "expires" in order) or order == "rotation_due"
                following = _next(hot, "next")
            while way == "previous" and last:
                hot, _ = both(client, last)
                last = _next(hot, "previous")


def _next(page: Told, way: str) -> str | None:
    link = orjson.loads(page.body)[way]
    return f"{LIST}?{urlsplit(link).query}" if link else None


def test_who_may_not_list_is_left_to_the_general_path(filled: Cast, bearer: Bearer, both: Both) -> None:
    for who, other in OTHERS.items():
        assert both(other(bearer, filled), LIST)[1] is False, who


SPOILT: dict[str, Callable[[Cast], Any]] = {
    "environment edited": lambda _: Environment.objects.filter(name="development").update(protected=True),
    "token revoked": lambda _: ServiceToken.objects.update(revoked_at=timezone.now()),
    "token suspended": lambda _: ServiceToken.objects.update(suspended_at=timezone.now()),
    "token edited": lambda _: ServiceToken.objects.update(role="manager"),
    "token narrowed": lambda _: ServiceToken.objects.update(prefix="payments"),
    "token expired": lambda _: ServiceToken.objects.update(expires_at=timezone.now()),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_was_ended_or_edited_is_refused(filled: Cast, bearer: Bearer, both: Both, how: str) -> None:
    client = bearer("reader", filled.development)
    assert both(client, LIST)[1]
    SPOILT[how](filled)
    hot, spared = both(client, LIST)
    assert spared is False
    assert hot.status == 401 or orjson.loads(hot.body)["results"] == []


EDITS: dict[str, dict[str, Any]] = {
    "name": {"name": "payments/renamed"},
    "type": {"secret_type": "JSON"},
    "current": {"current_number": 7},
    "previous": {"previous_number": 7},
    "pending": {"pending_number": 7},
    "references": {"resolves_as": "user:someone"},
    "uuid": {"uuid": "0" * 32},
    "MAC": {"row_mac": b"\x00" * 48},
    "no MAC": {"row_mac": b""},
}


@pytest.mark.parametrize("how", EDITS)
def test_an_edited_row_is_left_to_the_general_path(
    filled: Cast, bearer: Bearer, both: Both, how: str
) -> None:
    client = bearer("reader", filled.development)
    Secret.objects.filter(name="payments/key").update(**EDITS[how])
    hot, spared = both(client, LIST)
    assert (hot.status, spared) == (200, False)
    assert [event[4] for event in hot.events] == [Action.INTEGRITY_VIOLATION]


def test_a_row_of_another_environment_is_left_to_the_general_path(
    filled: Cast, bearer: Bearer, both: Both
) -> None:
    client = bearer("reader", filled.production)
    Secret.objects.filter(name="payments/key").update(environment=filled.production)
    hot, spared = both(client, LIST)
    assert (hot.status, spared, len(hot.events)) == (200, False, 1)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="MariaDB refuses what does not fit the column")
def test_a_column_of_another_type_is_left_to_the_general_path(
    filled: Cast, bearer: Bearer, both: Both
) -> None:
    client = bearer("reader", filled.development)
    for column in ("pending_number", "previous_number", "name", "created_at", "tags"):
        for value in ("X'ff'", "1.5", "'text'"):
            with connection.cursor() as cursor:
                cursor.execute("SAVEPOINT before")
                table = Secret._meta.db_table
                cursor.execute(f"UPDATE {table} SET {column} = {value} WHERE name = 'payments/key'")
                hot, _ = both(client, LIST)
                assert hot.status == 200, (column, value)
                cursor.execute("ROLLBACK TO before")


def test_a_page_costs_two_statements(filled: Cast, bearer: Bearer) -> None:
    client = bearer("reader", filled.development, prefix="payments")
    front = in_front(client)
    for query in ("", "?limit=2&ordering=-updated"):
        front.get(f"{LIST}{query}")
        with CaptureQueriesContext(connection) as captured:
            assert orjson.loads(front.get(f"{LIST}{query}").content)["results"]
        assert len(captured) == 2, captured.captured_queries


def test_a_page_is_measured_under_its_route(filled: Cast, bearer: Bearer) -> None:
    times = times_of("api-secrets", "GET", "2xx")
    counted = times._sum.get()
    with patch.object(SecretListView, "get", side_effect=AssertionError):
        answer = in_front(bearer("reader", filled.development)).get(f"{LIST}?limit=1")
    assert answer.content.startswith(b'{"results":[{"id":')
    assert times._sum.get() > counted


def test_a_page_counts_once_against_the_limit_of_a_token(
    filled: Cast, bearer: Bearer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = bearer("reader", filled.development)
    settings.KEEPER_TOKEN_REQUESTS_PER_MINUTE = 3
    monkeypatch.setattr(request_rate, "_MINUTE", 10**12)
    request_rate.forget_requests()
    front = in_front(client)
    # What is left to the general path is counted there.
    paths = (LIST, f"{LIST}?limit=0", f"{LIST}?q=a", LIST)
    assert [front.get(path).status_code for path in paths] == [200, 400, 200, 429]
    request_rate.forget_requests()


def test_what_is_unusual_is_left_to_the_general_path(filled: Cast, bearer: Bearer, both: Both) -> None:
    client = bearer("reader", filled.development)
    unusual: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("?format=json", "get", {}),
        ("?x=1", "get", {}),
        ("?limit=0", "get", {}),
        ("?limit=201", "get", {}),
        ("?limit=1&limit=2&limit=1&limit=2&limit=2", "get", {}),
        ("?ordering=value", "get", {}),
        ("?cursor=x", "get", {}),
        ("?cursor=WyJuYW1lIiwxLDIsZmFsc2Vd", "get", {}),
        ("?environment=production", "get", {}),
        ("?environment=nowhere", "get", {}),
        ("?environment=%C3%BC", "get", {}),
        ("?environment=0", "get", {}),
        ("?deleted=true", "get", {}),
        ("?q=pay", "get", {}),
        ("?tag=a", "get", {}),
        ("", "get", {"accept": "text/html"}),
        ("", "get", {"cookie": "sessionid=x"}),
        ("", "get", {"host": "evil.example"}),
        ("", "head", {}),
        ("", "options", {}),
        ("", "post", {}),
        ("/", "get", {}),
    )
    for query, method, headers in unusual:
        assert both(client, f"{LIST}{query}", method, **headers)[1] is False, (query, method, headers)


def test_a_repeated_parameter_counts_as_on_the_general_path(filled: Cast, bearer: Bearer, both: Both) -> None:
    client = bearer("reader", filled.development)
    for query in ("limit=1&limit=2", "environment=production&environment=development", "limit=%32"):
        assert both(client, f"{LIST}?{query}")[1]
