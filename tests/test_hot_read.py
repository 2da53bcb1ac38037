"""The hot read answers exactly as the general path does, which stays the judge of all else."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.interfaces.keyring import forget_keyring
from audit_app.models import AuditEvent
from environments_app.models import Environment, ServiceToken
from environments_app.tests.cast import Cast
from keeper_project.http.fast_read import middleware as fast_read_middleware
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.models import DataKey, Secret, SecretVersion
from secrets_app.services import lifecycle
from secrets_app.tests.kept import change, keep

Bearer = Callable[..., Client]
HOT = "keeper_project.http.fast_read.middleware.HotReadMiddleware"
# What names the request, and what tells caches of cookies, which a token's read does not look at.
OWN = {"X-Request-ID", "Vary"}
EVENT = (
    "stream",
    "actor_kind",
    "actor_uuid",
    "actor_name",
    "action",
    "object_kind",
    "object_uuid",
    "object_name",
    "outcome",
    "address",
    "details",
)
NAME = "payments/key"


class Told(NamedTuple):
    """What a request was answered, and what of it was recorded."""

    status: int
    body: bytes
    headers: dict[str, str]
    events: list[tuple[Any, ...]]


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that grows by whether each request was answered on the hot path."""
    found: list[bool] = []
    answer = fast_read_middleware._answer

    def watched(request: Any) -> Any:
        response = answer(request)
        found.append(response is not None)
        return response

    monkeypatch.setattr(fast_read_middleware, "_answer", watched)
    return found


@pytest.fixture
def both(settings: Settings) -> Callable[..., tuple[Told, Told]]:
    """Ask on the hot path, then on the general one."""
    complete = list(settings.MIDDLEWARE)

    def ask(client: Client, path: str, method: str = "get", **headers: str) -> tuple[Told, Told]:
        told = []
        for middleware in (complete, [name for name in complete if name != HOT]):
            settings.MIDDLEWARE = middleware
            told.append(_told(client, path, method, headers))
        return told[0], told[1]

    return ask


def _told(client: Client, path: str, method: str, headers: dict[str, str]) -> Told:
    # A violation is reported once a minute, a refusal counted: each path begins afresh.
    cache.clear()
    last = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    # A client keeps the middleware that it began with.
    fresh = Client(raise_request_exception=False)
    fresh.defaults.update(client.defaults)
    response = getattr(fresh, method)(path, headers=headers)
    events = AuditEvent.objects.filter(id__gt=last).order_by("id").values_list(*EVENT)
    shown = {name: value for name, value in response.items() if name not in OWN}
    return Told(response.status_code, response.content, shown, list(events))


def paths(secret: Secret) -> list[str]:
    return [f"/api/secrets/{secret.pk}", f"/api/environments/{secret.environment.name}/secrets/{secret.name}"]


READERS: dict[str, Callable[[Bearer, Cast], Client]] = {
    "reader": lambda bearer, cast: bearer("reader", cast.development),
    "editor": lambda bearer, cast: bearer("editor", cast.development),
    "manager": lambda bearer, cast: bearer("manager", cast.development),
    "prefix": lambda bearer, cast: bearer("reader", cast.development, prefix="payments"),
    "the name": lambda bearer, cast: bearer("reader", cast.development, prefix=NAME),
    "network": lambda bearer, cast: bearer("reader", cast.development, cidrs=["127.0.0.0/8"]),
    "expiring": lambda bearer, cast: bearer(
        "reader", cast.development, expires_at=timezone.now() + timedelta(hours=1)
    ),
}
OTHERS: dict[str, Callable[[Bearer, Cast], Client]] = {
    "viewer": lambda bearer, cast: bearer("viewer", cast.development),
    "administrator": lambda bearer, _: bearer("admin"),
    "elsewhere": lambda bearer, cast: bearer("manager", cast.production),
    "other prefix": lambda bearer, cast: bearer("reader", cast.development, prefix="pay"),
    "other network": lambda bearer, cast: bearer("reader", cast.development, cidrs=["10.0.0.0/8"]),
    "nobody": lambda *_: Client(),
    "no token": lambda *_: Client(headers={"authorization": "Bearer kpr_x"}),
    "other scheme": lambda *_: Client(headers={"authorization": "Basic YTpi"}),
}


@pytest.mark.every_database
@pytest.mark.parametrize("who", READERS)
def test_it_answers_and_records_as_the_general_path(
    cast: Cast, bearer: Bearer, both: Callable[..., tuple[Told, Told]], answered: list[bool], who: str
) -> None:
    secret = keep(cast, NAME)
    for path in paths(secret):
        hot, general = both(READERS[who](bearer, cast), path)
        assert hot == general
        assert (hot.status, answered.pop()) == (200, True)
        assert [event[4] for event in hot.events] == [Action.SECRET_REVEAL]


@pytest.mark.every_database
def test_it_answers_for_every_kind_of_row(
    cast: Cast, bearer: Bearer, both: Callable[..., tuple[Told, Told]], answered: list[bool]
) -> None:
    full = keep(
        cast, "full", "ü\n\"'\\ 🔑", description="ä", tags=["b", "a"], owner="é",
        expires_at=timezone.now() + timedelta(days=1),
    )  # fmt: skip
    changed = change(cast, keep(cast, "changed"), "another", comment="why")
    other_key = keep(cast, "other-key")
    DataKey.objects.filter(scope=cast.development.uuid).update(active=None, retired_at=timezone.now())
    newer = keep(cast, "newer-key")
    client = bearer("reader", cast.development)
    for secret in (full, changed, other_key, newer):
        for path in paths(secret):
            forget_data_keys()
            hot, general = both(client, path)
            assert hot == general
            assert (hot.status, answered.pop()) == (200, True)


@pytest.mark.every_database
@pytest.mark.parametrize("who", OTHERS)
def test_whoever_may_not_read_is_left_to_the_general_path(
    cast: Cast, bearer: Bearer, both: Callable[..., tuple[Told, Told]], answered: list[bool], who: str
) -> None:
    secret = keep(cast, NAME)
    for path in paths(secret):
        hot, general = both(OTHERS[who](bearer, cast), path)
        assert hot == general
        assert not answered.pop()
        assert b"canary" not in hot.body


def _deleted(cast: Cast, secret: Secret) -> None:
    lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)


SPOILT: dict[str, Callable[[Cast, Secret], Any]] = {
    "deleted": _deleted,
    "not living": lambda _, secret: Secret.objects.filter(pk=secret.pk).update(live=None),
    "edited": lambda _, secret: Secret.objects.filter(pk=secret.pk).update(previous_number=7),
    "retyped": lambda _, secret: Secret.objects.filter(pk=secret.pk).update(secret_type="JSON"),
    "moved": lambda cast, secret: Secret.objects.filter(pk=secret.pk).update(environment=cast.production),
    "without version": lambda _, secret: SecretVersion.objects.filter(secret_id=secret.pk).update(number=9),
    "environment edited": lambda cast, _: Environment.objects.filter(pk=cast.development.pk).update(
        protected=True
    ),
    "token revoked": lambda *_: ServiceToken.objects.update(revoked_at=timezone.now()),
    "token edited": lambda *_: ServiceToken.objects.update(role="manager"),
    "token of another pepper": lambda *_: ServiceToken.objects.update(pepper_id="gone"),
    "token expired": lambda *_: ServiceToken.objects.update(expires_at=timezone.now()),
}


@pytest.mark.every_database
@pytest.mark.parametrize("is_read_before", [False, True])
@pytest.mark.parametrize("how", SPOILT)
def test_what_is_gone_or_edited_is_left_to_the_general_path(
    cast: Cast, bearer: Bearer, both: Callable[..., tuple[Told, Told]], answered: list[bool], how: str,
    *, is_read_before: bool,
) -> None:  # fmt: skip
    # The first event of a stream opens it: both streams are open before the paths are compared.
    secret, _ = keep(cast, NAME), keep(cast, "first", environment=cast.production)
    client = bearer("reader", cast.development)
    if is_read_before:
        # The proofs are kept: they are of the rows as they were.
        assert [client.get(path).status_code for path in paths(secret)] == [200, 200]
    SPOILT[how](cast, secret)
    for path in paths(secret):
        hot, general = both(client, path)
        assert hot == general
        assert hot.status >= 400
        assert not answered.pop()


@pytest.mark.every_database
@pytest.mark.parametrize("stored", [b"KPR", b"", b"KPR\x01\x02" + bytes(120), b"KPR\x01\x01" + bytes(120)])
def test_a_value_that_does_not_open_is_recorded_once(
    cast: Cast, bearer: Bearer, sql: Callable[..., None], both: Callable[..., tuple[Told, Told]],
    answered: list[bool], stored: bytes,
) -> None:  # fmt: skip
    secret = keep(cast, NAME)
    sql("UPDATE secrets_app_secretversion SET value = %s WHERE secret_id = %s", stored, secret.pk)
    for path in paths(secret):
        hot, general = both(bearer("reader", cast.development), path)
        assert (hot.status, hot.body, hot.events) == (general.status, general.body, general.events)
        assert answered.pop()
        read = [event[8] for event in hot.events if event[4] == Action.SECRET_REVEAL]
        assert read == ["allowed", "failed"]


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/api/secrets/{id}?format=json", "get", {}),
        ("/api/secrets/{id}?x=1", "get", {}),
        ("/api/secrets/{id}", "head", {}),
        ("/api/secrets/{id}", "options", {}),
        ("/api/secrets/{id}", "get", {"accept": "text/html"}),
        ("/api/secrets/{id}", "get", {"accept": "application/json, */*"}),
        ("/api/secrets/0{id}", "get", {}),
        ("/api/secrets/{id}/", "get", {}),
        ("/api/secrets/999999999999999999", "get", {}),
        ("/api/secrets/9999999999999999999", "get", {}),
        ("/api/secrets/{id}/versions", "get", {}),
        ("/api/environments/development/secrets/payments", "get", {}),
        ("/api/environments/development/secrets/payments//key", "get", {}),
        ("/api/environments/development/secrets/Payments/key", "get", {}),
        ("/api/environments/development/secrets/payments/key ", "get", {}),
        ("/api/environments/Development/secrets/payments/key", "get", {}),
        ("/api/environments/nowhere/secrets/payments/key", "get", {}),
    ],
)
@pytest.mark.every_database
def test_what_is_unusual_is_left_to_the_general_path(
    cast: Cast, bearer: Bearer, both: Callable[..., tuple[Told, Told]], answered: list[bool],
    path: str, method: str, headers: dict[str, str],
) -> None:  # fmt: skip
    secret = keep(cast, NAME)
    hot, general = both(bearer("reader", cast.development), path.format(id=secret.pk), method, **headers)
    assert hot == general
    assert not answered.pop()


@pytest.mark.every_database
def test_a_read_costs_four_statements(cast: Cast, bearer: Bearer) -> None:
    client = bearer("reader", cast.development)
    for path in paths(keep(cast, NAME)):
        client.get(path)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        framed = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
        texts = [query["sql"] for query in captured if not query["sql"].startswith(framed)]
        # Everything about the read, then the head, the event, the head again; a server gets the last two
        # together.
        assert len(texts) == (3 if connection.vendor == "mysql" else 4), texts


@pytest.mark.every_database
def test_rows_prove_themselves_once_under_the_keys_of_now(
    cast: Cast, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    is_authentic = AuthenticatedRow.is_authentic

    def watched(row: AuthenticatedRow) -> bool:
        asked.append(row.MAC_LABEL)
        return is_authentic(row)

    monkeypatch.setattr(AuthenticatedRow, "is_authentic", watched)
    secret, client = keep(cast, NAME), bearer("reader", cast.development)

    def proven() -> set[str]:
        asked.clear()
        assert [client.get(path).status_code for path in paths(secret)] == [200, 200]
        return set(asked)

    # The first read notes that the token was used, which is another row.
    client.get(paths(secret)[0])
    assert proven() <= {"service-token", "environment"}
    assert proven() == set()
    forget_keyring()
    assert proven() == {"service-token", "environment", "secret"}


def test_a_foreign_host_is_refused(cast: Cast, bearer: Bearer) -> None:
    client = bearer("reader", cast.development)
    for path in paths(keep(cast, NAME)):
        assert client.get(path, headers={"host": "evil.example"}).status_code == 400
