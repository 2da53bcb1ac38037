"""What a request may cost: statements of SQL, calls of KMS, values opened (asserted as counts)."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.queries import search
from environments_app.tests.cast import Cast
from secrets_app import envelope
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.keys.providers.registry import provider
from secrets_app.models import DataKey
from secrets_app.rows import environment_snapshot
from secrets_app.rows.bulk_insert import CreatedSecret
from secrets_app.services import bulk_create, read
from secrets_app.tests.kept import VALUE, keep, send
from secrets_app.types.registry import SecretType
from secrets_app.views.listing import MAX_COUNTED
from sync_app.tests.shown import make_entry, make_item, make_plan, make_target

pytestmark = pytest.mark.every_database

_FRAME = re.compile(r"^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET )", re.IGNORECASE)
_LAST_USE = re.compile(r"^UPDATE [`\"]environments_app_servicetoken")


class Count:
    """What something cost."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.key_calls = 0
        self.opened = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Count statements but those that frame a transaction, calls of the key provider, and openings."""

    @contextmanager
    def counting() -> Iterator[Count]:
        count = Count()
        with monkeypatch.context() as patched:
            _count_calls(patched, count)
            with CaptureQueriesContext(connection) as captured:
                yield count
        texts = [query["sql"] for query in captured.captured_queries]
        count.statements = [text for text in texts if not _FRAME.match(text)]

    return counting


def _count_calls(patched: pytest.MonkeyPatch, count: Count) -> None:
    keeper = provider()
    for name in ("generate", "unwrap"):
        genuine = getattr(keeper, name)

        def call(*args: Any, genuine: Callable[..., Any] = genuine, **options: Any) -> Any:
            count.key_calls += 1
            return genuine(*args, **options)

        patched.setattr(keeper, name, call)
    opening = envelope.open_bound

    def opened(*args: Any, **options: Any) -> bytes:
        count.opened += 1
        return opening(*args, **options)

    patched.setattr(envelope, "open_bound", opened)


def fill(cast: Cast, number: int, *, prefix: str = "bulk") -> list[CreatedSecret]:
    return bulk_create.create_many(
        actor=cast.principal(cast.alice),
        items=[
            bulk_create.NewSecret(
                environment=cast.development,
                name=f"{prefix}/{place:05}",
                secret_type=SecretType.TEXT,
                value=f"{VALUE} {place}",
            )
            for place in range(number)
        ],
    )


@pytest.mark.parametrize("by", ["id", "name", "version"])
def test_one_value_costs_few_statements_on_the_general_path_and_no_key_call(
    cast: Cast, bearer: Callable[..., Client], counted: Callable[[], Any], by: str
) -> None:
    secret = keep(cast)
    client = bearer("reader", cast.development)
    path = {
        "id": f"/api/secrets/{secret.pk}",
        "name": f"/api/environments/development/secrets/{secret.name}",
        "version": f"/api/secrets/{secret.pk}/versions/1",
    }[by]
    assert client.get(path).json()["value"] == VALUE
    with counted() as count:
        assert client.get(path).json()["value"] == VALUE
    # By name the environment is looked for as well; a version names where it was migrated from.
    assert len(count.statements) <= 6 + (by != "id"), "\n".join(count.statements)
    assert (count.key_calls, count.opened) == (0, 1)


def test_the_last_use_of_a_token_is_written_once_a_minute(
    cast: Cast, bearer: Callable[..., Client], counted: Callable[[], Any]
) -> None:
    client = bearer("reader", cast.development)
    writes = []
    for _ in range(3):
        with counted() as count:
            client.get("/api/whoami")
        writes.append(len([text for text in count.statements if _LAST_USE.match(text)]))
    assert writes == [1, 0, 0]


@pytest.mark.parametrize(
    "path",
    [
        "/api/secrets",
        "/api/secrets?q=bulk&environment=development&ordering=-updated",
        "/secrets",
        "/secrets?q=bulk",
    ],
)
def test_a_page_of_a_list_costs_the_same_however_long_the_list_is(
    cast: Cast, signed_in: Callable[[Any], Client], counted: Callable[[], Any], path: str
) -> None:
    client = signed_in(cast.alice)
    fill(cast, 10, prefix="first")
    client.get(path)
    costs = []
    for more in ("second", "third"):
        with counted() as count:
            assert client.get(path).status_code == 200
        costs.append(len(count.statements))
        assert (count.key_calls, count.opened) == (0, 0)
        counts = [text for text in count.statements if "COUNT(" in text and "secrets_app_secret" in text]
        # The page shows how many match; it counts so many rows at most.
        assert all(f"LIMIT {MAX_COUNTED + 1}" in text for text in counts)
        assert not [text for text in count.statements if "secretversion" in text]
        fill(cast, 200, prefix=more)
    assert costs[0] == costs[1]


def test_a_deep_page_costs_what_the_first_one_does(
    cast: Cast, bearer: Callable[..., Client], counted: Callable[[], Any]
) -> None:
    fill(cast, 130)
    client = bearer("viewer", cast.development)
    page = client.get("/api/secrets?limit=50").json()
    costs = set()
    while page["next"]:
        with counted() as count:
            page = client.get(page["next"]).json()
        costs.add(len(count.statements))
        assert not [text for text in count.statements if "OFFSET" in text]
    assert len(costs) == 1


def test_a_thousand_secrets_are_made_with_two_key_calls_and_a_few_statements(
    cast: Cast, bearer: Callable[..., Client], counted: Callable[[], Any]
) -> None:
    client = bearer("editor", cast.development)
    client.get("/api/whoami")
    costs = {}
    for number in (1, 100, 1000):
        items = [
            {"name": f"n{number}/{place}", "secret_type": "TEXT", "value": f"{VALUE} {place}"}
            for place in range(number)
        ]
        body = {"environment_id": cast.development.pk, "secrets": items}
        with counted() as count:
            assert send(client, "POST", "/api/secrets/bulk", body).status_code == 201
        costs[number] = len(count.statements)
        assert count.key_calls <= 2
    # Secrets, versions and items of the manifest: of each, SQLite takes all in one statement, and MariaDB a
    # hundred. The one event costs the same for all.
    more = {"sqlite": 0, "mysql": 9 * 3}[connection.vendor]
    assert costs[1000] <= costs[100] + more, costs
    assert costs[100] <= 16, costs
    assert AuditEvent.objects.filter(action=Action.SECRET_CREATE).count() == len(costs)


def test_a_thousand_secrets_are_read_with_one_event_and_a_key_call_for_each_key(
    cast: Cast, counted: Callable[[], Any]
) -> None:
    names = [secret.name for secret in fill(cast, 1000)]
    alice = cast.principal(cast.alice)
    forget_data_keys()
    with counted() as count:
        revealed = read.reveal_environment(actor=alice, environment=cast.development)
    assert [item.name for item in revealed] == names
    assert count.key_calls <= DataKey.objects.filter(environment=cast.development).count()
    assert count.opened == 1000
    # The manifest's thousand items are written in a few statements, once for all equal reads.
    assert len(count.statements) <= 14, "\n".join(text[:80] for text in count.statements)
    (event,) = AuditEvent.objects.filter(action=Action.SECRET_EXPORT)
    for name in (names[0], names[499], names[-1]):
        found = search.find(viewer=alice, object_name=name, action=Action.SECRET_EXPORT).events
        assert [item.pk for item in found] == [event.pk]
    with counted() as again:
        assert read.reveal_environment(actor=alice, environment=cast.development) == revealed
    assert (again.key_calls, len(again.statements) < len(count.statements)) == (0, True)
    environment_snapshot.store_prepared()
    with counted() as warm:
        assert read.reveal_environment(actor=alice, environment=cast.development) == revealed
    assert (warm.key_calls, warm.opened) == (0, 1)
    # The rows, the snapshot, the manifest, the event with its head, and the rights of now.
    assert len(warm.statements) <= 10, "\n".join(text[:80] for text in warm.statements)
    forget_data_keys()
    with counted() as cold:
        assert read.reveal_environment(actor=alice, environment=cast.development) == revealed
    assert (cold.key_calls, cold.opened) == (1, 1)


def test_an_unchanged_value_is_not_written(cast: Cast, counted: Callable[[], Any]) -> None:
    from secrets_app.tests.kept import change

    secret = keep(cast)
    with counted() as count:
        change(cast, secret, VALUE)
    written = [text for text in count.statements if text.startswith(("INSERT", "UPDATE"))]
    # The event alone, which says that the value was compared.
    assert written
    assert all("audit_app_" in text for text in written), written
    assert (count.key_calls, count.opened) == (0, 0)


@pytest.mark.parametrize("path", ["/sync", "/sync/{target}", "/sync/plans/{plan}", "/secrets"])
def test_a_page_of_the_sync_costs_the_same_however_much_it_shows(
    cast: Cast, signed_in: Callable[[Any], Client], counted: Callable[[], Any], path: str
) -> None:
    client = signed_in(cast.alice)
    target = make_target(cast.development)
    plan = make_plan(target)
    address = path.format(target=target.pk, plan=plan.pk)
    costs = []
    for more in ("first", "second", "third"):
        for place in range(12):
            secret = keep(cast, f"{more}/{place:02}")
            make_entry(target, secret, ("drifted", "in_sync", "conflict")[place % 3])
            make_item(plan, secret.name, ("create", "update", "conflict")[place % 3], secret_uuid=secret.uuid)
        make_entry(make_target(cast.development, more), None, "missing", name="x")
        client.get(address)
        with counted() as count:
            assert client.get(address).status_code == 200
        costs.append(len(count.statements))
        assert (count.key_calls, count.opened) == (0, 0)
    assert len(set(costs)) == 1, costs
