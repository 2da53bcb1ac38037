"""The read engine answers exactly as the general path does, which stays the judge of all else."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse
from django.http.response import ResponseHeaders
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity import proven_table
from audit_app.integrity.row_authentication import row_message
from audit_app.interfaces import forget_keyring
from audit_app.models import AuditEvent, RefusalCount
from audit_app.verification.stream_verifier import verify
from core.db.statements import rows_of_each
from core.http.requests import Answer, Front
from environments_app.authorization.permissions import ADMIN_ACTIONS, ADMIN_TOKEN_ACTIONS, ROLE_ACTIONS
from environments_app.models import Environment, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.authentication import parse, verify_row
from gateway_app import rest
from gateway_app.engine import process
from gateway_app.engine import reads as recorded_read
from gateway_app.engine.reads import ListPoll, ReadRequest, RecordedRead, Served, Unchanged, serve
from gateway_app.lanes import Lanes
from gateway_app.tests.engine.inline import Inline
from secrets_app.envelope import seal
from secrets_app.keys.data_keys import active_key, forget_data_keys
from secrets_app.metrics import UNCHANGED_READS
from secrets_app.models import NO_SECRET, DataKey, LastAsked, Secret, SecretVersion
from secrets_app.queries import last_asked
from secrets_app.queries.states import state_of
from secrets_app.services import lifecycle
from secrets_app.tests.kept import change, keep, version

Bearer = Callable[..., Client]
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
def answered() -> list[bool]:
    """Return a list that grows by whether each request was answered in front of Django."""
    return []


@pytest.fixture
def both(answered: list[bool]) -> Callable[..., tuple[Told, Told]]:
    """Ask in front of Django, which gets what is left to it, and then Django alone."""

    def ask(client: Client, path: str, method: str = "get", **headers: str) -> tuple[Told, Told]:
        front = Lanes(Inline(), [rest.read])

        def in_front(environ: dict[str, Any]) -> Answer | None:
            answer = front(environ)
            answered.append(answer is not None)
            return answer

        return (
            told(FrontedClient(in_front, client.defaults), path, method, headers),
            told(FrontedClient(lambda _: None, client.defaults), path, method, headers),
        )

    return ask


class FrontedClient(Client):
    """A client of Django with something in front of it; `granted` grows by whether a lane answered by its work."""

    def __init__(self, front: Front, defaults: dict[str, Any]) -> None:
        super().__init__(raise_request_exception=False)
        self.front = front
        self.granted: list[bool] = []
        self.defaults.update(defaults)

    def request(self, **request: Any) -> Any:
        environ = self._base_environ(**request)  # type: ignore[attr-defined]  # the stub does not know it
        answer = self.front(environ)
        if answer:
            (body,) = answer.body
            response = HttpResponse(body, status=int(answer.status.split()[0]))
            response.headers = ResponseHeaders(dict(answer.headers))
            return response
        own = {name: value for name, value in environ.items() if name.startswith("keeper.")}
        if work := own.get("keeper.lane"):
            own["keeper.lane"] = lambda request: self.noted(work(request))
        else:
            self.granted.append(False)
        return super().request(**(request | own))

    def noted(self, response: HttpResponse | None) -> HttpResponse | None:
        self.granted.append(response is not None)
        return response


def told(client: Client, path: str, method: str, headers: dict[str, str]) -> Told:
    # A violation is reported once a minute, a refusal counted: each path begins afresh.
    cache.clear()
    RefusalCount.objects.all().delete()
    last = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    response = getattr(client, method)(path, headers=headers)
    events = AuditEvent.objects.filter(id__gt=last).order_by("id").values_list(*EVENT)
    shown = {name: value for name, value in response.items() if name not in OWN}
    return Told(response.status_code, response.content, shown, list(events))


def paths(secret: Secret) -> list[str]:
    return [f"/api/secrets/{secret.pk}", f"/api/environments/{secret.environment.name}/secrets/{secret.name}"]


def with_secret(client: Client, secret: str) -> Client:
    """Return the client of a token whose public id it knows, and whose secret it does not."""
    public_id, _ = parse(bearer_text(client))
    return Client(headers={"authorization": f"Bearer kpr_{public_id}_{secret}"})


def bearer_text(client: Client) -> str:
    return str(client.defaults["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")


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
    "another secret": lambda bearer, cast: with_secret(bearer("reader", cast.development), "A" * 43),
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


@pytest.mark.every_database_weekly
def test_a_poll_is_answered_and_counted_as_on_the_general_path(
    cast: Cast, bearer: Bearer, both: Callable[..., tuple[Told, Told]], answered: list[bool]
) -> None:
    """Whatever the headers of readers and of those who may not read: what changed is read as usual."""
    secret = change(cast, keep(cast, NAME), "another")
    tags = {f'"{secret.etag}"': 304, f'W/"{secret.etag}"': 304, f'"1-1", "{secret.etag}"': 304, "*": 304}
    tags |= {'"1-1"': 200, secret.etag: 200, "": 200, ", ,": 200, f'"{secret.etag}': 200, '"\u00fc"': 200}
    places = paths(secret)
    for turn, (who, reader) in enumerate(READERS.items()):
        client = reader(bearer, cast)
        # Each caller sends each header, and each header goes to both places.
        for place, (tag, status) in enumerate(tags.items(), turn):
            path = places[place % len(places)]
            counted = UNCHANGED_READS._value.get()
            hot, general = both(client, path, if_none_match=tag)
            assert hot == general, (who, path, tag)
            assert (hot.status, answered.pop(), len(hot.events)) == (status, True, status == 200), (who, tag)
            assert UNCHANGED_READS._value.get() == counted + 2 * (status == 304)
    for turn, (who, other) in enumerate(OTHERS.items()):
        client = other(bearer, cast)
        for place, tag in enumerate(tags, turn):
            path = places[place % len(places)]
            hot, general = both(client, path, if_none_match=tag)
            assert (hot == general, answered.pop()) == (True, False), (who, path, tag)


@pytest.mark.every_database
def test_a_poll_costs_two_statements_and_needs_no_key(cast: Cast, bearer: Bearer) -> None:
    secret, client = keep(cast, NAME), bearer("reader", cast.development)
    by_id = asking(client, secret_id=secret.pk, known=frozenset({f'"{secret.etag}"'}))
    by_name = asking(client, environment="development", name=NAME, known=frozenset({"*"}))
    # The first use of the token is noted.
    assert serve([by_id]) != [None]
    forget_data_keys()
    for asked in ([by_id], [by_name], [by_name] * 50):
        with CaptureQueriesContext(connection) as captured:
            found = serve(asked)
        assert all(isinstance(each, Unchanged) for each in found)
        # The tokens and the secrets: a server gets them together.
        assert len(captured) == (1 if connection.vendor == "mysql" else 2), captured.captured_queries


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
        for path in (*paths(secret), f"/api/secrets/0{secret.pk}"):
            hot, general = both(client, path)
            assert hot == general
            assert (hot.status, answered.pop()) == (200, True)


@pytest.mark.every_database
def test_a_key_that_has_to_be_opened_is_left_to_the_general_path(
    cast: Cast, bearer: Bearer, both: Callable[..., tuple[Told, Told]], answered: list[bool]
) -> None:
    (path, _), client = paths(keep(cast, NAME)), bearer("reader", cast.development)
    forget_data_keys()
    for is_in_front in (False, True):
        hot, general = both(client, path)
        assert hot == general
        assert (hot.status, answered.pop()) == (200, is_in_front)


@pytest.mark.every_database
def test_a_read_that_the_general_path_finishes_keeps_its_request_id(cast: Cast, bearer: Bearer) -> None:
    (path, _), client = paths(keep(cast, NAME)), bearer("reader", cast.development)
    forget_data_keys()
    answer = FrontedClient(Lanes(Inline(), [rest.read]), client.defaults).get(path)
    recorded = AuditEvent.objects.filter(action=Action.SECRET_REVEAL).values_list("request_id", flat=True)
    assert (answer.status_code, [*recorded]) == (200, [answer["X-Request-ID"]])


@pytest.mark.every_database
def test_system_keys_that_are_due_for_a_look_are_left_to_the_general_path(
    cast: Cast, bearer: Bearer, both: Callable[..., tuple[Told, Told]], answered: list[bool]
) -> None:
    (path, _), client = paths(keep(cast, NAME)), bearer("reader", cast.development)
    forget_keyring()
    for is_in_front in (False, True):
        assert both(client, path)[0].status == 200
        assert answered.pop() is is_in_front


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
    "token suspended": lambda *_: ServiceToken.objects.update(suspended_at=timezone.now()),
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
        hot, general = both(client, path, if_none_match="*")
        # Without its version it has the ETag that the caller knows: no value leaves.
        assert (hot == general, answered.pop()) == (True, False)
        assert hot.status >= 400 or how == "without version"


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
        assert hot == general
        assert not answered.pop()
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
@pytest.mark.parametrize("number", [1, 50])
def test_a_batch_costs_five_statements(cast: Cast, bearer: Bearer, number: int) -> None:
    secrets = [keep(cast, f"{NAME}/{place}") for place in range(number)]
    token = str(bearer("reader", cast.development).defaults["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")
    public_id, hidden = parse(token)
    requests = [ReadRequest(public_id, hidden, "127.0.0.1", "r" * 8, secret_id=each.pk) for each in secrets]
    # The first use of the token is noted.
    assert all(serve(requests))
    with CaptureQueriesContext(connection) as captured:
        reads = serve(requests)
    framed = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    texts = [query["sql"] for query in captured if not query["sql"].startswith(framed)]
    # The tokens, the secrets; the head, the events, the head: a server gets the first two and the last two
    # together.
    assert len(texts) == (3 if connection.vendor == "mysql" else 5), texts
    assert [*map(opened, reads)] == ["canary-4d1f-value"] * number


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_a_batch_takes_two_ways_to_a_server(cast: Cast, bearer: Bearer) -> None:
    """The tokens, the secrets and the heads as they stand; then heads, events and COMMIT."""
    secrets = [keep(cast, f"{NAME}/{place}") for place in range(2)]
    client = bearer("reader", cast.development)
    requests = [asking(client, secret_id=each.pk) for each in secrets]
    # The use of the token is noted, and where its events go.
    assert all(serve(requests))
    with CaptureQueriesContext(connection) as captured:
        assert [*map(opened, serve(requests))] == ["canary-4d1f-value"] * 2
    texts = [query["sql"] for query in captured if query["sql"] not in {"BEGIN", "COMMIT", "BEGIN IMMEDIATE"}]
    assert len(texts) == (2 if connection.vendor == "mysql" else 5), texts
    change(cast, secrets[0], "another")
    assert opened(serve(requests)[0]) == "another"
    assert list(verify()) == []


def opened(read: Served) -> str | None:
    """Return the value that was granted."""
    assert isinstance(read, RecordedRead)
    return read.open()


def asking(client: Client, **what: Any) -> ReadRequest:
    """Return what a client's token asks for."""
    public_id, hidden = parse(bearer_text(client))
    return ReadRequest(public_id, hidden, "127.0.0.1", "r" * 8, **what)


@pytest.mark.every_database
def test_a_read_gets_nothing_that_another_of_its_batch_may_have(cast: Cast, bearer: Bearer) -> None:
    """Rows of a batch are found together: each is given to those alone who asked for it and may have it."""
    for environment in (cast.development, cast.production):
        keep(cast, NAME, f"{environment.name} canary", environment=environment)
    developer, other = (bearer("reader", each) for each in (cast.development, cast.production))
    stranger = with_secret(developer, "A" * 43)
    allowed = [
        asking(developer, environment="development", name=NAME),
        asking(other, environment="production", name=NAME),
    ]
    refused = [
        asking(developer, environment="production", name=NAME),
        asking(other, environment="development", name=NAME),
        asking(stranger, environment="development", name=NAME),
    ]
    first, second, *others = serve([*allowed, *refused])
    assert [*map(opened, (first, second))] == ["development canary", "production canary"]
    assert others == [None] * 3


@pytest.mark.django_db(transaction=True)
def test_a_poll_is_noted_in_memory_and_stored_beside_the_reads(cast: Cast, bearer: Bearer) -> None:
    last_asked._noted.clear()
    last_asked._waiting.clear()
    secret, client = keep(cast, NAME), bearer("reader", cast.development)
    known = frozenset({f'"{secret.etag}"'})
    request = asking(client, secret_id=secret.pk, known=known)
    assert serve([request, request]) == [Unchanged(secret.etag)] * 2
    public_id, hidden = parse(bearer_text(client))
    poll = ListPoll(public_id, hidden, "127.0.0.1", "r", "development", "", "json", frozenset())
    token = ServiceToken.objects.get(public_id=public_id)
    actor = verify_row(recorded_read._rows([poll]).tokens[public_id], hidden, address="", request_id="")
    etag = state_of(actor, cast.development, form="json")
    assert serve([poll._replace(known=frozenset({f'"{etag}"'}))]) == [Unchanged(etag)]
    assert not LastAsked.objects.exists()
    process._look()
    # A request of the test before may have been noted since.
    marks = {mark.secret_uuid: mark for mark in LastAsked.objects.filter(actor_uuid=token.uuid)}
    assert marks.keys() == {secret.uuid, NO_SECRET}
    assert (marks[secret.uuid].number, marks[NO_SECRET].number) == (1, None)


@pytest.mark.every_database
@pytest.mark.parametrize("other", ["development", "production"])
def test_the_envelope_of_another_secret_does_not_open(
    cast: Cast, bearer: Bearer, sql: Callable[..., None], both: Callable[..., tuple[Told, Told]], other: str
) -> None:
    secret = keep(cast, NAME)
    environment = Environment.objects.get(name=other)
    foreign = SecretVersion.objects.get(secret=keep(cast, "foreign", environment=environment))
    sql(
        "UPDATE secrets_app_secretversion SET value = %s WHERE secret_id = %s",
        foreign.value.envelope,
        secret.pk,
    )
    for path in paths(secret):
        hot, general = both(bearer("reader", cast.development), path)
        assert hot == general
        assert hot.status >= 400
        read = [event[8] for event in hot.events if event[4] == Action.SECRET_REVEAL]
        assert read == ["allowed", "failed"]


def test_a_key_of_another_environment_opens_nothing(
    cast: Cast, bearer: Bearer, sql: Callable[..., None], both: Callable[..., tuple[Told, Told]]
) -> None:
    """Who has the key of one environment seals for another, bound to the very row: the key is refused."""
    secret = keep(cast, NAME)
    bound_to = version(secret).sealing_context()
    forged = seal(b"forged", data_key=active_key(cast.production), context=bound_to)
    sql("UPDATE secrets_app_secretversion SET value = %s WHERE secret_id = %s", forged, secret.pk)
    for path in paths(secret):
        hot, general = both(bearer("reader", cast.development), path)
        assert hot == general
        assert hot.status >= 400
        assert b"forged" not in hot.body


@pytest.mark.every_database
def test_reads_by_name_of_several_environments_take_no_other_row(
    cast: Cast, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = (cast.development, cast.production)
    for name in ("a", "b"):
        for environment in both:
            keep(cast, name, f"{environment.name} {name}", environment=environment)
    rows: list[int] = []

    def counted(queries: Any) -> Any:
        found = rows_of_each(queries)
        rows.append(len(found[-1]))
        return found

    monkeypatch.setattr(recorded_read, "rows_of_each", counted)
    readers = [(bearer("reader", environment), environment.name) for environment in both]
    asked = [asking(readers[0][0], environment="development", name="a")]
    asked += [asking(readers[1][0], environment="production", name=name) for name in ("b", "gone")]
    first, second, absent = serve(asked)
    assert (opened(first), opened(second), absent) == ("development a", "production b", None)
    assert rows == [2]


@pytest.mark.every_database
def test_a_batch_of_refusals_opens_no_transaction(cast: Cast, bearer: Bearer) -> None:
    secret = keep(cast, NAME)
    refused = asking(bearer("viewer", cast.development), secret_id=secret.pk)
    assert serve([refused]) == [None]
    with CaptureQueriesContext(connection) as captured:
        assert serve([refused]) == [None]
    assert all(query["sql"].startswith("SELECT") for query in captured), captured.captured_queries


@pytest.mark.every_database
def test_the_columns_of_a_row_prove_what_its_instance_proves(
    cast: Cast, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine covers the same bytes as the model, so that neither accepts what the other refuses."""
    ends = timezone.now() + timedelta(hours=1)
    client = bearer("reader", cast.development, prefix="payments", cidrs=["127.0.0.0/8"], expires_at=ends)
    secret = change(cast, keep(cast, NAME), "another")
    seen: list[bytes] = []

    def watched(*values: Any) -> bytes:
        seen.append(row_message(*values))
        return seen[-1]

    monkeypatch.setattr(proven_table, "row_message", watched)
    public_id, hidden = parse(str(client.defaults["HTTP_AUTHORIZATION"]).removeprefix("Bearer "))
    assert serve([ReadRequest(public_id, hidden, "127.0.0.1", "", secret_id=secret.pk)])[0]
    token = ServiceToken.objects.get(public_id=public_id)
    rows = (Environment.objects.get(name="development"), token, Secret.objects.get(pk=secret.pk))
    assert seen == [row._mac_message() for row in rows]


def test_who_may_reveal_may_see() -> None:
    """So that the engine asks the policy for one right alone."""
    needed = {Action.ENVIRONMENT_VIEW, Action.SECRET_VIEW}
    revealing = [actions for actions in ROLE_ACTIONS.values() if Action.SECRET_REVEAL in actions]
    assert revealing
    assert all(needed <= actions for actions in revealing)
    assert Action.SECRET_REVEAL not in ADMIN_ACTIONS | ADMIN_TOKEN_ACTIONS


def test_a_foreign_host_is_refused(
    cast: Cast, bearer: Bearer, both: Callable[..., tuple[Told, Told]], answered: list[bool]
) -> None:
    client = bearer("reader", cast.development)
    for path in paths(keep(cast, NAME)):
        hot, general = both(client, path, host="evil.example")
        assert hot == general
        assert (hot.status, answered.pop()) == (400, False)
