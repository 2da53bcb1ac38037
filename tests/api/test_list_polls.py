"""Polls of lists in front of Django: answered exactly as the general path does, or left to it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.http.requests import Answer
from environments_app.models import Environment, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens import request_rate
from environments_app.tokens.authentication import parse
from gateway_app import rest
from gateway_app.engine import reads
from gateway_app.engine.reads import ListPoll
from gateway_app.lanes import Lanes
from gateway_app.tests.engine.inline import Inline
from secrets_app.api.environment_secrets import KIND as MANIFEST
from secrets_app.metrics import UNCHANGED_LISTS
from secrets_app.models import Secret
from secrets_app.services import lifecycle, transfer, version_stages, write
from secrets_app.tests.kept import change, keep
from tests.api.test_recorded_read import OTHERS, READERS, FrontedClient, Told, bearer_text, told

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
Bearer = Callable[..., Client]
Both = Callable[..., tuple[Told, bool]]
BASE = "/api/environments/development"
PATHS = (
    f"{BASE}/manifest",
    f"{BASE}/manifest?prefix=payments",
    f"{BASE}/export",
    f"{BASE}/export?format=json",
    f"{BASE}/export?format=dotenv",
    f"{BASE}/export?prefix=payments&format=yaml",
    f"{BASE}/export?prefix=payments%2Fkey",
)


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    reads._kept.clear()
    yield
    reads._kept.clear()


@pytest.fixture
def both() -> Both:
    """Ask in front of Django and Django alone; return the equal answer and whether the engine gave it."""

    def ask(client: Client, path: str, etag: str, method: str = "get", **headers: str) -> tuple[Told, bool]:
        front, taken = Lanes(Inline(), [rest.poll]), []

        def in_front(environ: dict[str, Any]) -> Answer | None:
            answer = front(environ)
            taken.append(answer is not None)
            return answer

        headers |= {"if-none-match": etag}
        hot = told(FrontedClient(in_front, client.defaults), path, method, headers)
        general = told(FrontedClient(lambda _: None, client.defaults), path, method, headers)
        assert hot == general, path
        return hot, taken[0]

    return ask


@pytest.fixture
def filled(cast: Cast) -> Cast:
    for name in ("payments/key", "payments/other", "other"):
        keep(cast, name)
    # The first event of a stream opens it: both are open before the paths are compared.
    keep(cast, "first", environment=cast.production)
    return cast


def etag_of(client: Client, path: str) -> str:
    return str(client.get(path)["ETag"])


def stored(name: str) -> Secret:
    return Secret.objects.select_related("environment").get(name=name, live=True)


@pytest.mark.parametrize("who", READERS)
def test_an_unchanged_list_is_answered_and_counted_in_front(
    filled: Cast, bearer: Bearer, both: Both, who: str
) -> None:
    client = READERS[who](bearer, filled)
    for path in PATHS:
        etag, kind = etag_of(client, path), "manifest" if "manifest" in path else "export"
        counted = UNCHANGED_LISTS.labels(kind)._value.get()
        for given in (etag, f"W/{etag}", f'"0", {etag}'):
            hot, in_front = both(client, path, given)
            assert (hot.status, in_front, hot.events, hot.headers["ETag"]) == (304, True, [], etag), path
        assert UNCHANGED_LISTS.labels(kind)._value.get() == counted + 6
        for given in ('"0"', "*", etag.strip('"')):
            hot, in_front = both(client, path, given)
            assert (hot.status, in_front) == (200, False), (path, given)


def test_who_may_not_read_is_left_to_the_general_path(filled: Cast, bearer: Bearer, both: Both) -> None:
    known = {path: etag_of(bearer("reader", filled.development), path) for path in PATHS}
    for who, other in OTHERS.items():
        client = other(bearer, filled)
        for path, etag in known.items():
            assert both(client, path, etag)[1] is False, (who, path)


SPOILT: dict[str, Callable[[Cast], Any]] = {
    "environment edited": lambda _: Environment.objects.filter(name="development").update(protected=True),
    "token revoked": lambda _: ServiceToken.objects.update(revoked_at=timezone.now()),
    "token suspended": lambda _: ServiceToken.objects.update(suspended_at=timezone.now()),
    "token edited": lambda _: ServiceToken.objects.update(role="manager"),
    "token narrowed": lambda _: ServiceToken.objects.update(prefix="payments"),
    "token expired": lambda _: ServiceToken.objects.update(expires_at=timezone.now()),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_was_ended_or_edited_since_is_refused(
    filled: Cast, bearer: Bearer, both: Both, how: str
) -> None:
    client = bearer("reader", filled.development)
    known = {path: etag_of(client, path) for path in PATHS}
    assert all(both(client, path, etag)[1] for path, etag in known.items())
    SPOILT[how](filled)
    for path, etag in known.items():
        hot, in_front = both(client, path, etag)
        assert (hot.status >= 400, in_front) == (True, False), path


def test_the_state_of_one_token_is_no_state_of_another(filled: Cast, bearer: Bearer, both: Both) -> None:
    """Both ask for the same path of the same environment while nothing in it changes."""
    whole, part = (
        bearer("reader", filled.development),
        bearer("reader", filled.development, prefix="payments"),
    )
    path = PATHS[0]
    for first, second in ((whole, part), (part, whole)):
        etag, other = etag_of(first, path), etag_of(second, path)
        assert etag != other
        reads._kept.clear()
        assert both(first, path, etag)[0].status == 304
        hot, in_front = both(second, path, etag)
        assert (hot.status, in_front) == (200, False)
        assert both(second, path, other)[0].status == 304


def test_each_change_is_noticed_at_the_next_poll(filled: Cast, bearer: Bearer, both: Both) -> None:
    """The state is kept by the head of the stream: whatever changes a secret has to move it."""
    client, actor = bearer("reader", filled.development), filled.principal(filled.alice)

    def staged() -> None:
        secret = stored("other")
        version = version_stages.prepare(actor=actor, secret=secret, value="next", comment="")
        version_stages.stage(actor=actor, secret=secret, version=version, details={})

    changes: tuple[Callable[[], object], ...] = (
        lambda: change(filled, stored("payments/key"), "another"),
        lambda: write.update(actor=actor, secret=stored("other"), description="new"),
        lambda: write.rollback(actor=actor, secret=stored("payments/key"), number=1),
        lambda: lifecycle.rename(actor=actor, secret=stored("other"), name="renamed"),
        lambda: lifecycle.rename(actor=actor, secret=stored("renamed"), name="other"),
        lambda: keep(filled, "new"),
        lambda: lifecycle.delete(actor=actor, secret=stored("new")),
        lambda: lifecycle.restore(actor=actor, secret=Secret.objects.get(name="new")),
        lambda: transfer.move(actor=actor, secret=stored("new"), environment=filled.production),
        staged,
    )
    for place, act in enumerate(changes):
        etag = etag_of(client, PATHS[0])
        assert both(client, PATHS[0], etag)[1]
        act()
        hot, in_front = both(client, PATHS[0], etag)
        assert (hot.status, in_front) == (200, False), place


@pytest.mark.parametrize("changed", ["development", "production"])
def test_polls_of_one_batch_go_by_the_heads_of_their_own_environments(
    filled: Cast, bearer: Bearer, changed: str
) -> None:
    keep(filled, "there", environment=filled.production)
    polls = []
    for place in (filled.development, filled.production):
        client = bearer("reader", place)
        known = frozenset({etag_of(client, f"/api/environments/{place.name}/manifest")})
        public_id, hidden = parse(bearer_text(client))
        polls.append(ListPoll(public_id, hidden, "127.0.0.1", "r" * 8, place.name, "", MANIFEST, known))
    assert all(reads.serve(polls))
    keep(filled, "new", environment=Environment.objects.get(name=changed))
    for batch in (polls, polls[::-1]):
        found = reads.serve(batch)
        assert [poll.environment for poll, got in zip(batch, found, strict=True) if got is None] == [changed]


def test_a_poll_costs_two_statements_once_the_state_is_known(
    filled: Cast, bearer: Bearer, both: Both
) -> None:
    client = bearer("reader", filled.development)
    etag = etag_of(client, PATHS[0])
    environ = {"if-none-match": etag}
    front = FrontedClient(Lanes(Inline(), [rest.poll]), client.defaults)
    costs = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as captured:
            assert front.get(PATHS[0], headers=environ).status_code == 304
        costs.append(len(captured))
    # The token with its environment, and the head, for which a server is asked along once the stream is
    # known; at first the rows as well.
    asked = 1 if connection.vendor == "mysql" else 2
    assert costs == [3, asked, asked]
    both(client, f"{BASE}/export", '"0"')
    with CaptureQueriesContext(connection) as captured:
        assert front.get(PATHS[0], headers=environ).status_code == 304
    # The head has moved by the record of a read.
    assert len(captured) == asked + 1


def test_what_is_kept_of_states_is_bounded(
    filled: Cast, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "_MAX_KEPT", 3)
    client = bearer("reader", filled.development)
    front = FrontedClient(Lanes(Inline(), [rest.poll]), client.defaults)
    for path in PATHS:
        assert front.get(path, headers={"if-none-match": etag_of(client, path)}).status_code == 304
        assert len(reads._kept) <= 3


def test_polls_count_against_the_limit_of_a_token(
    filled: Cast, bearer: Bearer, both: Both, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = bearer("reader", filled.development)
    etag = etag_of(client, PATHS[0])
    settings.KEEPER_TOKEN_REQUESTS_PER_MINUTE = 2
    monkeypatch.setattr(request_rate, "_MINUTE", 10**12)
    request_rate.forget_requests()
    # Asked in front and then of Django alone: two requests.
    assert both(client, PATHS[0], etag)[1]
    front = FrontedClient(Lanes(Inline(), [rest.poll]), client.defaults)
    assert front.get(PATHS[0], headers={"if-none-match": etag}).status_code == 429
    request_rate.forget_requests()


def test_what_is_unusual_is_left_to_the_general_path(filled: Cast, bearer: Bearer, both: Both) -> None:
    client = bearer("reader", filled.development, expires_at=timezone.now() + timedelta(hours=1))
    etag = etag_of(client, PATHS[0])
    unusual: tuple[tuple[str, str, dict[str, str]], ...] = (
        (f"{BASE}/manifest?format=json", "get", {}),
        (f"{BASE}/manifest?x=1", "get", {}),
        (f"{BASE}/manifest?prefix=a/", "get", {}),
        (f"{BASE}/manifest?prefix=%C3%BC", "get", {}),
        (f"{BASE}/export?format=none", "get", {}),
        (f"{BASE}/export?format=dotenv", "get", {"accept": "application/json"}),
        (f"{BASE}/manifest", "get", {"accept": "text/html"}),
        (f"{BASE}/manifest", "head", {}),
        (f"{BASE}/manifest", "options", {}),
        ("/api/environments/nowhere/manifest", "get", {}),
        ("/api/environments/production/manifest", "get", {}),
        (f"{BASE}/manifest/", "get", {}),
        (f"{BASE}/manifest", "get", {"host": "evil.example"}),
    )
    for path, method, headers in unusual:
        assert both(client, path, etag, method, **headers)[1] is False, path
