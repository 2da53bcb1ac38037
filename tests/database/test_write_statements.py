"""What one write by the API costs in statements, through all of Keeper, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.tests.kept import keep

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
Bearer = Callable[..., Client]
_FRAME = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "START TRANSACTION", "SET autocommit")
MARIADB = connection.vendor == "mysql"


@pytest.fixture
def client(cast: Cast, bearer: Bearer) -> Client:
    client = bearer("editor", cast.development)
    # What a process asks once, and the note of the token's last use.
    put(client, "warm", value="first")
    put(client, "warm", value="second")
    return client


def put(client: Client, name: str, **fields: Any) -> Any:
    place = f"/api/environments/development/secrets/{name}"
    return _sent(client.put(place, {"secret_type": "TEXT", **fields}, content_type="application/json"))


def _sent(response: Any) -> Any:
    assert response.status_code in {200, 201}, response.content
    return response.json()


def statements(act: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        act()
    found = [query["sql"] for query in captured.captured_queries]
    return [sql for sql in found if not sql.startswith(_FRAME)]


def test_a_new_version_by_id(client: Client, cast: Cast) -> None:
    secret = keep(cast)
    body = {"value": "a new value"}
    taken = statements(
        lambda: _sent(client.put(f"/api/secrets/{secret.pk}", body, content_type="application/json"))
    )
    # Token; secret; its newest versions; in the transaction: secret, version; head; protection and guards;
    # event, head; then: who refers to it, and the targets of its environment.
    # What no semicolon separates goes to MariaDB together.
    assert len(taken) == (8 if MARIADB else 10), taken
    assert Secret.objects.get(pk=secret.pk).current_number == 2


def test_a_new_version_by_name(client: Client) -> None:
    # Its environment along with it.
    assert len(taken := statements(lambda: put(client, "warm", value="third"))) == (8 if MARIADB else 10), (
        taken
    )


def test_a_new_secret(client: Client) -> None:
    # Token; environment and name; number; data key; secret; version; head; number and protection; event, head;
    # references and targets.
    assert len(taken := statements(lambda: put(client, "new", value="first"))) == (10 if MARIADB else 11), (
        taken
    )


def test_a_new_version_writes_the_columns_alone_that_change(client: Client) -> None:
    taken = statements(lambda: put(client, "warm", value="third"))
    (update,) = [sql for sql in taken if sql.startswith("UPDATE") and "secrets_app_secret" in sql]
    assigned = update.partition(" SET ")[2].partition(" WHERE ")[0]
    # No index has one of these but those of the last change.
    quote = connection.ops.quote_name
    for column in ("name", "uuid", "environment_id", "owner", "live", "expires_at", "rotation_due_at"):
        assert quote(column) not in assigned
    assert "current_number" in assigned
