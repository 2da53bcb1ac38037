"""Keys of issuers: fetched, kept, refreshed and refused."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import requests
from pytest_django import Settings

from core.errors import BadEndpoint
from environments_app.errors import KeysUnavailable
from environments_app.tests.trusts.issuer import Issuer, served, with_own_certificate
from environments_app.trusts import key_source
from environments_app.trusts.key_source import KeySource, find_key, forget_keys, require_key_url

PATIENCE_SECONDS = 60
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def issuer(settings: Settings, socket_enabled: None) -> Iterator[Issuer]:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    forget_keys()
    with served(Issuer()) as running:
        yield running


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds by which the clock of the cache is ahead."""
    ahead, real = [0.0], time.monotonic
    monkeypatch.setattr(
        key_source, "time", type("Clock", (), {"monotonic": staticmethod(lambda: real() + ahead[0])})
    )
    return ahead


def found(issuer: Issuer, kid: str = "one", **source: Any) -> bool:
    return find_key(KeySource(issuer.url, **source), algorithm="RS256", kid=kid) is not None


def wait_until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_keys_are_discovered_once(issuer: Issuer) -> None:
    assert found(issuer)
    assert found(issuer)
    assert issuer.requests == [DISCOVERY, "/keys"]


def test_the_address_of_keys_may_be_given(issuer: Issuer) -> None:
    assert found(issuer, jwks_url=f"{issuer.url}/keys")
    assert issuer.requests == ["/keys"]


def test_pasted_keys_use_no_network(issuer: Issuer) -> None:
    assert found(issuer, jwks=issuer.jwks())
    assert not found(issuer, "two", jwks=issuer.jwks())
    assert not issuer.requests


def test_a_flood_of_unknown_keys_asks_the_issuer_once(issuer: Issuer) -> None:
    assert not any(found(issuer, f"unknown-{number}") for number in range(50))
    assert issuer.requests == [DISCOVERY, "/keys"]


def test_a_rotated_key_is_found_after_the_cool_down(issuer: Issuer, clock: list[float]) -> None:
    assert found(issuer)
    issuer.rotate("two")
    assert not found(issuer, "two")
    clock[0] = key_source.COOL_DOWN_SECONDS

    assert found(issuer, "two")
    assert not found(issuer, "one")


def test_the_source_that_was_used_longest_ago_is_forgotten_first(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_source, "_MAX_SOURCES", 2)
    for place in ("a", "b", "a", "c", "a", "b"):
        assert found(issuer, jwks_url=f"{issuer.url}/{place}")
    assert issuer.requests == ["/a", "/b", "/c", "/b"]


def test_known_keys_outlive_an_outage_for_a_day(issuer: Issuer, clock: list[float]) -> None:
    assert found(issuer)
    issuer.answers[DISCOVERY] = (500, {}, b"")
    clock[0] = key_source.KEEP_SECONDS - 10
    assert found(issuer)
    assert not found(issuer, "unknown")
    clock[0] = key_source.KEEP_SECONDS + 10

    with pytest.raises(KeysUnavailable):
        found(issuer)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (DISCOVERY, (302, {"Location": "/elsewhere"}, b"")),
        (DISCOVERY, (200, {}, b"")),
        (DISCOVERY, (200, {}, b"not json")),
        (DISCOVERY, (200, {}, json.dumps({"issuer": "https://other.test", "jwks_uri": "x"}).encode())),
        (DISCOVERY, (200, {}, b'{"jwks_uri": "https://other.test"}')),
        ("/keys", (301, {"Location": "/elsewhere"}, b"")),
        ("/keys", (200, {}, b"x" * 10_000_000)),
        ("/keys", (200, {}, b'{"keys": []}')),
        ("/keys", (200, {"Content-Encoding": "gzip"}, b"")),
        ("/keys", (404, {}, b"")),
    ],
)
def test_bad_answers_give_no_keys_and_are_not_asked_again(
    issuer: Issuer, path: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    issuer.answers[path] = answer
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            found(issuer)

    assert issuer.requests.count(DISCOVERY) == 1
    assert "/elsewhere" not in issuer.requests


@pytest.mark.parametrize(
    "place", ["http://10.0.0.1/keys", "http://internal.test/keys", "file:///etc/passwd", 7]
)
def test_discovery_leads_to_no_other_protocol(issuer: Issuer, place: Any) -> None:
    issuer.answers[DISCOVERY] = (200, {}, json.dumps({"issuer": issuer.url, "jwks_uri": place}).encode())

    with pytest.raises(KeysUnavailable):
        found(issuer)


@pytest.mark.parametrize("named", ["https://other.test", None])
def test_a_discovery_document_of_another_issuer_gives_no_keys(issuer: Issuer, named: str | None) -> None:
    document = {"issuer": named, "jwks_uri": f"{issuer.url}/keys"}
    issuer.answers[DISCOVERY] = (200, {}, json.dumps(document).encode())

    with pytest.raises(KeysUnavailable):
        found(issuer)
    assert issuer.requests == [DISCOVERY]


def test_a_network_that_is_not_allowed_is_not_asked(issuer: Issuer, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []

    with pytest.raises(KeysUnavailable):
        found(issuer)
    assert not issuer.requests


def test_a_certificate_that_is_not_trusted_is_named_with_what_to_do(
    settings: Settings, socket_enabled: None, tmp_path: Path
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    named = r"certificate of 127\.0\.0\.1: .*issuer certificate\. .*public authorities\. .*paste the issuer's keys"
    with with_own_certificate(tmp_path) as address, pytest.raises(KeysUnavailable, match=named):
        key_source.fetch_keys(KeySource(address))


def test_a_slow_issuer_is_cut_off(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_source, "_FETCH_SECONDS", 0.2)
    issuer.delay = 1

    with pytest.raises(KeysUnavailable):
        found(issuer)


def test_few_issuers_are_asked_at_once(issuer: Issuer) -> None:
    issuer.may_answer.clear()

    def ask(number: int) -> str:
        try:
            found(issuer, jwks_url=f"{issuer.url}/keys/{number}")
        except KeysUnavailable:
            return "refused"
        return "found"

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask, number) for number in range(6)]
        refused = list(islice(as_completed(asking, timeout=PATIENCE_SECONDS), 4))
        issuer.may_answer.set()
        assert [each.result() for each in refused] == ["refused"] * 4
        assert sorted(each.result() for each in asking) == ["found"] * 2 + ["refused"] * 4


@pytest.mark.parametrize(
    "url", ["http://issuer.test/keys", "ftp://x", "https://u:p@x/keys", "https://x/?a=b", ""]
)
def test_keys_are_fetched_by_https_only(url: str) -> None:
    with pytest.raises(BadEndpoint):
        require_key_url(url)


def test_keys_that_are_fresh_are_not_asked_for_again(issuer: Issuer, clock: list[float]) -> None:
    assert found(issuer)
    issuer.requests.clear()
    clock[0] = key_source.FRESH_SECONDS - 5
    assert found(issuer)
    assert not issuer.requests
    clock[0] = key_source.FRESH_SECONDS + 5
    assert found(issuer)
    assert issuer.requests == [DISCOVERY, "/keys"]


def test_pasted_keys_are_shown_without_the_network(issuer: Issuer) -> None:
    source = KeySource("https://elsewhere.test", jwks=issuer.jwks())
    assert list(key_source.fetch_keys(source)) == [("RS256", "one")]
    with pytest.raises(KeysUnavailable):
        key_source.fetch_keys(KeySource("https://elsewhere.test", jwks='{"keys": []}'))
    assert not issuer.requests


def test_all_who_come_at_once_get_the_key_by_one_fetch(issuer: Issuer) -> None:
    issuer.may_answer.clear()
    with ThreadPoolExecutor(10) as pool:
        asking = [pool.submit(found, issuer) for _ in range(10)]
        wait_until(lambda: bool(issuer.requests))
        issuer.may_answer.set()
        assert all(each.result(PATIENCE_SECONDS) for each in asking)
    assert issuer.requests == [DISCOVERY, "/keys"]


def test_who_comes_while_a_new_key_is_fetched_gets_it(issuer: Issuer, clock: list[float]) -> None:
    assert found(issuer)
    issuer.rotate("two")
    issuer.requests.clear()
    clock[0] = key_source.COOL_DOWN_SECONDS
    issuer.may_answer.clear()
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(found, issuer, "two") for _ in range(4)]
        wait_until(lambda: bool(issuer.requests))
        # A key that is known waits for nothing.
        assert found(issuer)
        issuer.may_answer.set()
        assert all(each.result(PATIENCE_SECONDS) for each in asking)
    assert issuer.requests == [DISCOVERY, "/keys"]


def test_others_wait_briefly_for_an_issuer_that_failed_before(
    issuer: Issuer, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.answers[DISCOVERY] = (500, {}, b"")
    with pytest.raises(KeysUnavailable) as first:
        found(issuer)
    assert first.value.retry_after > key_source.COOL_DOWN_SECONDS - PATIENCE_SECONDS / 2
    del issuer.answers[DISCOVERY]
    issuer.requests.clear()
    monkeypatch.setattr(key_source, "_BRIEF_SECONDS", 0.05)
    clock[0] = key_source.COOL_DOWN_SECONDS
    issuer.may_answer.clear()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(found, issuer)
        wait_until(lambda: bool(issuer.requests))
        with pytest.raises(KeysUnavailable) as second:
            found(issuer)
        assert second.value.retry_after == 1
        issuer.may_answer.set()
        assert asking.result(PATIENCE_SECONDS)
    assert issuer.requests == [DISCOVERY, "/keys"]


def test_who_needs_keys_while_too_many_issuers_are_asked_is_told_so(
    issuer: Issuer, clock: list[float]
) -> None:
    assert found(issuer)
    clock[0] = key_source.FRESH_SECONDS + 5
    taken = [key_source._FETCHING.acquire(blocking=False) for _ in range(2)]
    try:
        assert taken == [True, True]
        with pytest.raises(KeysUnavailable, match="other issuers"):
            found(issuer, jwks_url=f"{issuer.url}/other")
        # Who has a key that is kept does without.
        assert found(issuer)
    finally:
        for _ in taken:
            key_source._FETCHING.release()
    assert found(issuer, jwks_url=f"{issuer.url}/other")


def test_only_an_answer_of_200_is_believed(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = requests.Session.send

    def created(self: requests.Session, *given: Any, **options: Any) -> requests.Response:
        response = sent(self, *given, **options)
        response.status_code = 201
        return response

    monkeypatch.setattr(requests.Session, "send", created)
    with pytest.raises(KeysUnavailable, match="answers 201"):
        key_source.fetch_keys(KeySource(issuer.url))
