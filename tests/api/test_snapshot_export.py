"""The export that a snapshot answers is that of the general path, which stays the judge of all else."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from audit_app.models import AuditEvent, ReadManifest
from environments_app.authorization.principals import system_principal
from environments_app.environments.service import update_environment
from environments_app.models import Environment, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens
from environments_app.tokens.bearers import HEADER
from gateway_app import rest
from gateway_app.lanes import Lanes
from gateway_app.tests.engine.inline import Inline
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import EnvironmentSnapshot, Secret
from secrets_app.rows import environment_snapshot
from secrets_app.services import read
from secrets_app.tests.kept import VALUE, change, keep
from tests.api.test_recorded_read import FrontedClient

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
Bearer = Callable[..., Client]
PATH = "/api/environments/development/export"
EVENT = ("stream", "actor_uuid", "action", "object_uuid", "outcome", "address", "details", "manifest_id")
# What names the request, and what tells caches of cookies, which a token's read does not look at.
LEFT_OUT = {"X-Request-ID", "Vary"}


class Told(NamedTuple):
    """What a request was answered, and what of it was recorded."""

    status: int
    body: bytes
    headers: dict[str, str]
    events: list[tuple[Any, ...]]


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that grows by whether a snapshot answered each request."""
    monkeypatch.setattr(environment_snapshot, "MIN_SECRETS", 2)
    return []


@pytest.fixture
def lanes(answered: list[bool]) -> Callable[[Client], Client]:
    """Return a client with the lane in front of it."""

    def fronted(client: Client) -> Client:
        made = FrontedClient(Lanes(Inline(), [rest.export]), client.defaults)
        made.granted = answered
        return made

    return fronted


@pytest.fixture
def filled(cast: Cast, answered: list[bool], monkeypatch: pytest.MonkeyPatch) -> Cast:
    """Return the cast with secrets in development, and their snapshot; no other is made."""
    for name in ("b/c", "a", "d"):
        keep(cast, name, f'{VALUE} "of" {name} ü')
    for _ in range(2):
        read.reveal_environment(actor=cast.principal(cast.alice), environment=cast.development)
        environment_snapshot.store_prepared()
    assert EnvironmentSnapshot.objects.count() == 1
    # A thread that stores one sees nothing of a test's transaction.
    monkeypatch.setattr(environment_snapshot, "prepare", lambda *_: None)
    return cast


@pytest.fixture
def both(lanes: Callable[[Client], Client]) -> Callable[..., tuple[Told, Told]]:
    """Ask the lane, then the view alone and without snapshots."""

    def ask(client: Client, path: str, method: str = "get", **headers: str) -> tuple[Told, Told]:
        first = _told(lanes(client), path, method, headers)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(environment_snapshot, "find", lambda *_: None)
            return first, _told(FrontedClient(lambda _: None, client.defaults), path, method, headers)

    return ask


def _told(client: Client, path: str, method: str, headers: dict[str, str]) -> Told:
    # A violation is reported once a minute, a refusal counted: each path begins afresh.
    cache.clear()
    last = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    response = getattr(client, method)(path, headers=headers)
    events = AuditEvent.objects.filter(id__gt=last).order_by("id").values_list(*EVENT)
    shown = {name: value for name, value in response.items() if name not in LEFT_OUT}
    return Told(response.status_code, response.content, shown, list(events))


READERS: dict[str, dict[str, Any]] = {
    "reader": {},
    "network": {"cidrs": ["127.0.0.0/8"]},
    "expiring": {"expires_at": timezone.now() + timedelta(hours=1)},
}


@pytest.mark.parametrize("query", ["", "?format=json"])
@pytest.mark.parametrize("who", READERS)
def test_it_answers_and_records_as_the_general_path(
    filled: Cast, bearer: Bearer, both: Any, answered: list[bool], who: str, query: str
) -> None:
    client = bearer("reader", filled.development, **READERS[who])
    own, general = both(client, PATH + query)
    assert answered == [True]
    assert own == general
    assert own.status == 200
    assert [event[2] for event in own.events] == ["secret.export"]
    assert ReadManifest.objects.count() == 1
    assert list(client.get(PATH).json()) == ["a", "b/c", "d"]


OTHERS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "of a prefix": ("get", "?prefix=b", "reader", {}),
    "as dotenv": ("get", "?format=dotenv", "reader", {}),
    "in an unknown format": ("get", "?format=xml", "reader", {}),
    "accepted as text": ("get", "", "reader", {"Accept": "text/plain"}),
    "head": ("head", "", "reader", {}),
    "post": ("post", "", "reader", {}),
    "by a viewer": ("get", "", "viewer", {}),
    "without a token": ("get", "", "reader", {"Authorization": ""}),
    "by no token": ("get", "", "reader", {"Authorization": "Bearer nothing"}),
}


@pytest.mark.parametrize("how", OTHERS)
def test_all_else_is_left_to_the_general_path(
    filled: Cast, bearer: Bearer, both: Any, answered: list[bool], how: str
) -> None:
    method, query, role, headers = OTHERS[how]
    own, general = both(bearer(role, filled.development), PATH + query, method, **headers)
    assert answered == [False]
    assert own == general


TOKENS: dict[str, Callable[[Bearer, Cast], Client]] = {
    "of a part": lambda bearer, cast: bearer("reader", cast.development, prefix="b"),
    "of another environment": lambda bearer, cast: bearer("manager", cast.production),
    "of another network": lambda bearer, cast: bearer("reader", cast.development, cidrs=["10.0.0.0/8"]),
    "of the installation": lambda bearer, _: bearer("admin"),
}


@pytest.mark.parametrize("whose", TOKENS)
def test_so_is_a_token_that_may_not_read_it_whole(
    filled: Cast, bearer: Bearer, both: Any, answered: list[bool], whose: str
) -> None:
    own, general = both(TOKENS[whose](bearer, filled), PATH)
    assert answered == [False]
    assert own == general


@pytest.mark.parametrize(
    "table", ["secrets_app_secret", "environments_app_environment", "environments_app_servicetoken"]
)
def test_so_is_what_was_edited(
    filled: Cast, bearer: Bearer, both: Any, answered: list[bool], sql: Callable[..., None], table: str
) -> None:
    client = bearer("reader", filled.development)
    sql(f"UPDATE {table} SET row_mac = %s", b"0" * 48)
    own, general = both(client, PATH)
    assert answered == [False]
    assert own == general


def test_so_are_rows_without_a_snapshot(
    filled: Cast, bearer: Bearer, both: Any, answered: list[bool]
) -> None:
    client = bearer("reader", filled.development)
    for value in ("another value", "one more"):
        # Of rows that were read before, the general path makes a snapshot.
        change(filled, filled.development.secrets.get(name="a"), value)
        own, general = both(client, PATH)
        assert (answered.pop(), own) == (True, general)
        own, general = both(client, PATH)
        assert (answered.pop(), own) == (False, general)
    EnvironmentSnapshot.objects.all().delete()
    own, general = both(client, PATH)
    assert (answered, own) == ([False], general)


def test_a_token_that_is_revoked_meanwhile_gets_nothing(
    filled: Cast, bearer: Bearer, lanes: Any, answered: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = lanes(bearer("reader", filled.development))
    genuine = Sealed.open

    def slowly(sealed: Any, receipt: Any) -> bytes:
        value = genuine(sealed, receipt)
        tokens.revoke(actor=system_principal(is_admin=True), token=ServiceToken.objects.get())
        return value

    monkeypatch.setattr(Sealed, "open", slowly)
    answer = client.get(PATH)
    assert answer.status_code in {403, 404}
    assert VALUE not in answer.content.decode()
    assert answered == [True]
    outcomes = AuditEvent.objects.filter(action="secret.export", actor_kind="token").order_by("id")
    assert [event.outcome for event in outcomes] == ["allowed", "denied"]


def test_a_snapshot_that_does_not_open_is_on_record_and_rows_answer(
    filled: Cast, bearer: Bearer, lanes: Any, answered: list[bool], sql: Callable[..., None]
) -> None:
    client = lanes(bearer("reader", filled.development))
    expected = client.get(PATH).content
    sql("UPDATE secrets_app_environmentsnapshot SET value = %s", b"KPR")
    last = AuditEvent.objects.latest("id").pk
    assert client.get(PATH).content == expected
    assert answered == [True, False]
    found = AuditEvent.objects.filter(id__gt=last).order_by("id").values_list("action", "outcome")
    assert list(found)[:3] == [
        ("secret.export", "allowed"),
        ("integrity.violation", "failed"),
        ("secret.export", "failed"),
    ]
    assert list(found)[-1] == ("secret.export", "allowed")


def test_copies_that_clients_may_keep_are_left_to_the_view(
    filled: Cast, bearer: Bearer, both: Any, answered: list[bool]
) -> None:
    """The view states for how long a copy may be used; without that a client deletes it."""
    place = Environment.objects.get(pk=filled.development.pk)
    update_environment(actor=filled.principal(filled.alice), environment=place, offline_hours=4)
    own, general = both(bearer("reader", filled.development), PATH)
    assert (answered, own) == ([False], general)
    assert own.headers[HEADER] == str(4 * 3600)


def test_an_environment_is_named_as_the_general_path_names_it(
    filled: Cast, bearer: Bearer, both: Any
) -> None:
    client = bearer("reader", filled.development)
    assert Environment.objects.filter(name="development").exists()
    for name in ("Development", "development%20", "nowhere", "develop%6dent"):
        own, general = both(client, f"/api/environments/{name}/export")
        assert own == general


def test_what_changes_after_the_values_were_read_is_sent_by_the_next_poll(
    filled: Cast, bearer: Bearer, lanes: Callable[[Client], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, export = lanes(bearer("reader", filled.development)), read.export_snapshot

    def changed_after(**given: Any) -> bytes | None:
        values = export(**given)
        change(filled, Secret.objects.get(name="a"), "changed meanwhile")
        return values

    client.get(PATH)
    with monkeypatch.context() as patched:
        patched.setattr(rest, "export_snapshot", changed_after)
        old = client.get(PATH)
    assert b"changed meanwhile" not in old.content
    new = client.get(PATH, headers={"If-None-Match": old["ETag"]})
    assert (new.status_code, b"changed meanwhile" in new.content) == (200, True)
