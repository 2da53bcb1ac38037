"""No statement of a write, a read, a list or the sync's schedule scans what grows, beside 100,000 secrets."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection, models
from django.test import Client

from audit_app.integrity.row_state import latest_digests
from audit_app.models import AuditEvent, ReadManifestItem, SearchEntry
from audit_app.queries import search, search_index
from core.db.bulk import insert, insert_into
from core.db.statements import rows_of_each
from core.pagination import asked_page
from environments_app.authorization.principals import grant_in
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from environments_app.tokens import authentication
from secrets_app.api.secrets import SecretListView
from secrets_app.maintenance import integrity_checks
from secrets_app.models import Reference, Secret, SecretVersion
from secrets_app.queries.listed import page_rows
from secrets_app.rows import raw_secrets
from secrets_app.services import bulk_create, write
from secrets_app.tests.kept import keep, send
from secrets_app.types.registry import SecretType
from sync_app.models import SyncEntry
from sync_app.rotation.execution import schedule as rotation_schedule
from sync_app.runs import schedule
from sync_app.tests.shown import make_entry, make_target
from tests.database.query_plans import faults, watched

pytestmark = [pytest.mark.every_database, pytest.mark.django_db(transaction=True)]

ROWS: Final = 100_000
GROWING: Final = {
    model._meta.db_table
    for model in (Secret, SecretVersion, AuditEvent, ReadManifestItem, SearchEntry, SyncEntry, Reference)
}
_SECRETS: Final = Secret._meta.db_table
_WALKS: Final = "it has no index of its own: it walks the index of the order until the page is full"
_SORTS: Final = "few ask for this order, and its index would cost every write"
# What may read very much, and why.
EXEMPT: Final = {
    "list by search": {_SECRETS: _WALKS},
    "list by tag": {_SECRETS: _WALKS},
    "list by type": {_SECRETS: _WALKS},
    "list by age": {_SECRETS: _WALKS},
    "list by expiry": {_SECRETS: _WALKS},
    "page of a search": {_SECRETS: _WALKS},
    # As the general path does for a token with a prefix.
    "plain list in order of change under 'a'": {_SECRETS: _WALKS},
    "list in order of creation": {_SECRETS: _SORTS},
    "list in order of ids": {_SECRETS: _SORTS},
    # MariaDB sorts those of one environment; without that condition the orders have their indexes.
    "list in order of expiry": {_SECRETS: _SORTS},
    "list in order of rotation": {_SECRETS: _SORTS},
    # Without statistics SQLite takes another of the conditions' indexes.
    "the recorded state of a secret": {AuditEvent._meta.db_table: "the index of outcomes"},
    "the recorded writes of a secret": {AuditEvent._meta.db_table: "the index of outcomes"},
}
TEXTS: Final = ("m/", "m/05", "m/099999", "z", "nowhere", "127.0.0.1", "alice")
# The top bar looks through 10,000 names, whatever their number.
LOOKS_THROUGH: Final = {"search of the top bar": 4} | {f"top bar {text}": 4 for text in TEXTS}
Acts = Iterator[tuple[str, Callable[[], Any]]]


def fill(template: models.Model, **columns: Callable[[int], Any]) -> None:
    """Store ROWS copies of a row; `columns` give what each has of its own. None of them is authentic."""
    fields = [field for field in template._meta.concrete_fields if not isinstance(field, models.AutoField)]
    names = [str(field.column) for field in fields]
    binary = frozenset(str(field.column) for field in fields if isinstance(field, models.BinaryField))
    quote, table = connection.ops.quote_name, template._meta.db_table
    key = str(template._meta.pk.column)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(map(quote, names))} FROM {quote(table)} WHERE {quote(key)} = %s",
            [template.pk],
        )
        row = dict(zip(names, cursor.fetchone(), strict=True))
    given = [(names.index(column), value) for column, value in columns.items()]
    copies = [list(row.values()) for _ in range(ROWS)]
    for number, copy in enumerate(copies):
        for place, value in given:
            copy[place] = value(number)
    insert(insert_into(table, tuple(names), binary=binary, vendor=connection.vendor), copies)


def uuid_of(number: int) -> str:
    """Return a uuid as the database holds it; in order, since pages of an index then fill one by one."""
    text = f"{number:032x}"
    if not connection.features.has_native_uuid_field:
        return text
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def create_many(cast: Cast) -> Secret:
    """Create two secrets in one call, and list ROWS others in the manifest of its event; return one."""
    items = [
        bulk_create.NewSecret(
            environment=cast.development, name=name, secret_type=SecretType.TEXT, value="one"
        )
        for name in ("bulk/a", "bulk/b")
    ]
    created, _ = bulk_create.create_many(actor=cast.principal(cast.alice), items=items)
    fill(ReadManifestItem.objects.get(name="bulk/a"), secret_uuid=uuid_of)
    return Secret.objects.get(pk=created.pk)


def fill_all(cast: Cast) -> None:
    """Store ROWS secrets of development, each with a version, an event, and an entry of a target."""
    secret = keep(cast, "m/template")
    entry = make_entry(make_target(cast.development, automatic=True, interval_seconds=60), secret, "in_sync")
    event = AuditEvent.objects.filter(object_uuid=secret.uuid).latest("id")
    fill(secret, uuid=uuid_of, name=lambda number: f"m/{number:06}")
    first = Secret.objects.get(name="m/000000").pk
    fill(SecretVersion.objects.get(secret=secret), uuid=uuid_of, secret_id=lambda number: first + number)
    fill(
        event,
        uuid=uuid_of,
        object_uuid=uuid_of,
        sequence=lambda number: ROWS + number,
        object_name=lambda number: f"m/{number:06}",
    )
    search_index.fill()
    entry_of = SearchEntry.objects.get(event=event)
    written = AuditEvent.objects.get(object_name="m/000000").pk
    fill(entry_of, event_id=lambda number: written + number, object_name=lambda number: f"m/{number:06}")
    fill(entry, uuid=uuid_of, secret_uuid=uuid_of, name=lambda number: f"m/{number:06}")
    naming = Reference.objects.create(secret=secret, environment="development", name="m/template")
    fill(naming, secret_id=lambda number: first + number, name=lambda number: f"m/{number:06}")


def refer(cast: Cast, name: str, value: str) -> None:
    write.create(
        actor=cast.principal(cast.alice), environment=cast.production, name=name,
        secret_type=SecretType.TEXT, value=value, uses_references=True,
    )  # fmt: skip


def writes(client: Client, own: list[Secret], place: Environment) -> Acts:
    new = {"environment_id": place.pk, "name": "b/new", "secret_type": "TEXT", "value": "one"}
    many = [{"name": f"b/{number}", "secret_type": "TEXT", "value": "one"} for number in range(10)]
    refers = {**new, "name": "b/refers", "value": "${development/a/00}", "uses_references": True}
    path = f"/api/secrets/{own[0].pk}"
    yield "create", lambda: send(client, "POST", "/api/secrets", new)
    yield "create with a reference", lambda: send(client, "POST", "/api/secrets", refers)
    yield (
        "create many",
        lambda: send(client, "POST", "/api/secrets/bulk", {"environment_id": place.pk, "secrets": many}),
    )
    yield (
        "put by name",
        lambda: send(
            client,
            "PUT",
            "/api/environments/development/secrets/b/put",
            {"value": "one", "secret_type": "TEXT"},
        ),
    )
    yield "update", lambda: send(client, "PUT", path, {"value": "two"})
    yield "update with the same value", lambda: send(client, "PUT", path, {"value": "two"})
    yield "update of metadata", lambda: send(client, "PATCH", path, {"description": "more"})
    yield "roll back", lambda: send(client, "POST", f"{path}/rollback", {"version": 1})
    yield "rename", lambda: send(client, "POST", f"{path}/rename", {"name": "a/renamed"})
    yield "delete", lambda: send(client, "DELETE", f"/api/secrets/{own[1].pk}")
    yield "restore", lambda: send(client, "POST", f"/api/secrets/{own[1].pk}/restore")


def reads(client: Client, page: Client, own: list[Secret]) -> Acts:
    path, name = f"/api/secrets/{own[2].pk}", f"/api/environments/development/secrets/{own[2].name}"
    yield "read by id", lambda: client.get(path)
    yield "read by name", lambda: client.get(name)
    yield "read by id, in general", lambda: client.get(f"{path}?format=json")
    yield (
        "read by name, in general",
        lambda: client.get(name, headers={"accept": "application/json, */*;q=0"}),
    )
    yield "read of a version", lambda: client.get(f"{path}/versions/1")
    yield from engine(own)
    yield "versions", lambda: client.get(f"{path}/versions")
    yield "page of a secret", lambda: page.get(f"/secrets/{own[2].pk}")
    yield (
        "reveal on a page",
        lambda: page.post(f"/secrets/{own[2].pk}/reveal", headers={"hx-request": "true"}),
    )


def engine(own: list[Secret]) -> Acts:
    """Yield what the read engine asks for a batch; a server gets these statements together."""
    ids, names = [each.pk for each in own[2:102]], [each.name for each in own[2:52]]
    by_name = raw_secrets.by_name([50, 50])
    yield "batch by id", lambda: rows_of_each([(raw_secrets.by_id(100), ids)])
    yield "read by id alone", lambda: rows_of_each([(raw_secrets.by_id(1), ids[:1])])
    yield (
        "batch by name",
        lambda: rows_of_each([(by_name, ["development", *names, "production", *names])]),
    )
    yield "batch of tokens", lambda: rows_of_each([(authentication.statement(100), ["p" * 22] * 100)])


def lists(client: Client, page: Client) -> Acts:
    queries = {
        "list": "", "list of an environment": "environment=development", "list by prefix": "prefix=a",
        "list in order of change": "ordering=-updated", "list in order of expiry": "ordering=expires",
        "list in order of rotation": "ordering=rotation_due", "list in order of creation": "ordering=created",
        "list in order of ids": "ordering=id", "list of an environment in order of change":
        "environment=development&ordering=-updated", "list of what is deleted": "deleted=true",
        "list by search": "q=a/05", "list by tag": "tag=t", "list by type": "type=JSON", "list by age": "age=30-90",
        "list by expiry": "expiring=30", "list by rotation": "rotation=overdue",
    }  # fmt: skip
    for name, query in queries.items():
        yield name, lambda query=query: client.get(f"/api/secrets?{query}")  # type: ignore[misc]
    deep = client.get("/api/secrets?limit=50").json()["next"]
    yield "deep list", lambda: client.get(deep)
    yield "page of the list", lambda: page.get("/secrets")
    yield "page of an environment's list", lambda: page.get("/secrets?environment=development")
    yield "page of folders", lambda: page.get("/secrets?folders=1")
    yield "page of a search", lambda: page.get("/secrets?q=a/05")
    yield "search of the top bar", lambda: page.get("/secrets/search?q=a/0")


def searches(page: Client, operator: Client) -> Acts:
    """Yield the searches over everything: what is common, rare, last, and not there."""
    for text in TEXTS:
        yield f"top bar {text}", lambda text=text: page.get("/secrets/search", {"q": text})  # type: ignore[misc]
        yield f"everything {text}", lambda text=text: operator.get("/admin/search/", {"q": text})  # type: ignore[misc]


def plain_lists(client: Client, place: Environment) -> Acts:
    """Yield the pages that are answered in front of Django, of a whole environment and under a prefix."""
    following = parse_qs(urlsplit(client.get("/api/secrets?limit=50").json()["next"]).query)
    queries: dict[str, dict[str, str]] = {
        "list": {}, "list in order of change": {"ordering": "-updated"}, "deep list": {"cursor": following["cursor"][0]}
    }  # fmt: skip
    for prefix, (name, query) in product(("", "a"), queries.items()):
        grant = grant_in(role="viewer", prefix=prefix, id=place.pk, uuid=place.uuid, name=place.name)
        page = asked_page(query, Secret, SecretListView)
        yield f"plain {name} under '{prefix}'", partial(page_rows, grant, page)


def sync(place: Environment) -> Acts:
    yield "nudge", lambda: schedule.schedule_environment(place.pk, ["a/02", "m/000001", "m/000002"])
    yield "due targets", schedule.queue_due
    yield "due rotations", rotation_schedule.queue_due
    yield "due times after a clock was put back", schedule.correct_future_due_times
    yield "due times of rotations after a clock was put back", rotation_schedule.correct_future_due_times


def trail(cast: Cast, created: Secret) -> Acts:
    alice = cast.principal(cast.alice)
    yield (
        "who created a secret, by uuid",
        lambda: list(search.events(viewer=alice, object_uuid=created.uuid)[:20]),
    )
    yield (
        "the recorded state of a secret",
        lambda: latest_digests(integrity_checks._CHANGES, rows=[created]),
    )
    yield "the recorded writes of a secret", lambda: integrity_checks._writes({created.uuid})


def old_environments_that_follow(place: Environment) -> list[int]:
    """Ask as Keeper did when each write walked all living secrets."""
    names = Environment.objects.filter(pk__in=[place.pk]).values("name")
    rows = Reference.objects.filter(environment__in=names, secret__live=True)
    return list(rows.values_list("secret__environment_id", flat=True).distinct())


def test_nothing_scans_what_grows(
    cast: Cast, bearer: Callable[..., Client], signed_in: Callable[[Any], Client]
) -> None:
    own = [keep(cast, f"a/{number:02}") for number in range(120)]
    refer(cast, "app/url", "see ${development/a/00}")
    refer(cast, "app/nested", "see ${production/app/url}")
    created = create_many(cast)
    fill_all(cast)
    client, page = bearer("editor", cast.development), signed_in(cast.alice)
    analyze()
    # What is found once is kept by the process.
    assert client.get(f"/api/secrets/{own[3].pk}").status_code == 200
    place = cast.development
    found: dict[tuple[str, str], str] = {}
    own_acts = (
        writes(client, own, place),
        reads(client, page, own),
        lists(client, page),
        plain_lists(client, place),
        searches(page, signed_in(cast.root)),
    )
    for acts in (*own_acts, sync(place), trail(cast, created)):
        for name, act in acts:
            with watched() as statements:
                answer = act()
            assert getattr(answer, "status_code", 200) < 300, (name, answer.content)
            assert statements, name
            found |= {
                (name, table): text
                for table, text in faults(statements, GROWING, times=LOOKS_THROUGH.get(name, 1)).items()
                if table not in EXEMPT.get(name, {})
            }
    assert not found, "\n\n".join(f"{name}, {table}:\n{text}" for (name, table), text in found.items())

    with watched() as statements:
        Secret.objects.filter(description="nothing has it").exists()
        old_environments_that_follow(place)
    assert all(faults([statement], GROWING) for statement in statements)


def analyze() -> None:
    """Let MariaDB count its rows now; on SQLite nobody does, and Keeper's installations go without as well."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE {', '.join(sorted(GROWING))}")
            cursor.fetchall()
