"""The limit of a token's requests: the same on the general path, in the read engine and at each door."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.test import Client, RequestFactory

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.errors import TooManyRequests
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens import personal, request_rate
from environments_app.tokens.service import issue
from gateway_app import rest
from gateway_app.lanes import Lanes
from gateway_app.tests.aws.conftest import kind_of, send, session_of, signed
from gateway_app.tests.engine.inline import Inline
from secrets_app.tests.kept import keep
from tests.api.test_recorded_read import FrontedClient

pytestmark = pytest.mark.django_db
LIMIT = 3
API = "/api/environments/development/secrets/a"
KV2 = "/vault/v1/secret/data/a"


@pytest.fixture(autouse=True)
def limited(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Allow three requests in a minute that does not end."""
    settings.KEEPER_TOKEN_REQUESTS_PER_MINUTE = LIMIT
    monkeypatch.setattr(request_rate, "_MINUTE", 10**12)
    request_rate.forget_requests()
    yield
    request_rate.forget_requests()


@pytest.fixture
def own(cast: Cast) -> str:
    keep(cast, "a")
    return new_token(cast, "own")


def new_token(cast: Cast, name: str) -> str:
    actor = cast.principal(cast.alice)
    return issue(actor=actor, environment=cast.development, role="reader", name=name)[1]


def by_api(token: str) -> Any:
    return Client().get(API, headers={"Authorization": f"Bearer {token}"})


def by_kv2(token: str) -> Any:
    return Client().get(KV2, headers={"X-Vault-Token": token})


def by_engine(token: str) -> bool:
    environ = RequestFactory(headers={"Authorization": f"Bearer {token}"}).get(API).META
    return Lanes(Inline(), [rest.read])(environ) is not None


def reveals() -> int:
    return AuditEvent.objects.filter(action=Action.SECRET_REVEAL).count()


def test_the_api_refuses_what_is_too_much(cast: Cast, own: str) -> None:
    counted = request_rate.LIMITED._value.get()
    answers = [by_api(own) for _ in range(LIMIT + 2)]
    assert [each.status_code for each in answers] == [200] * LIMIT + [429] * 2
    assert answers[-1]["Content-Type"] == "application/problem+json"
    assert int(answers[-1]["Retry-After"]) > 0
    assert reveals() == LIMIT
    assert request_rate.LIMITED._value.get() == counted + 2
    # It is the token that asks too much, and not its address.
    assert not RefusalCount.objects.exists()
    assert by_api(new_token(cast, "other")).status_code == 200


def test_all_doors_count_together(own: str) -> None:
    assert by_api(own).status_code == 200
    assert by_kv2(own).status_code == 200
    session = session_of(own)
    refused = by_kv2(own)
    assert (refused.status_code, refused.json()["errors"]) == (
        429,
        [TooManyRequests(retry_after=1).args[0]],
    )
    assert int(refused["Retry-After"]) > 0
    body = orjson.dumps({"SecretId": "a"})
    refused = send(signed(session, "GetSecretValue", body), body)
    assert (refused.status_code, kind_of(refused)) == (429, "ThrottlingException")
    assert int(refused["Retry-After"]) > 0
    refused = Client().get("/aws/credentials", headers={"Authorization": own})
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0


def test_the_read_engine_leaves_what_is_too_much(own: str) -> None:
    # The general path opens the data key.
    assert by_api(own).status_code == 200
    assert [by_engine(own) for _ in range(LIMIT + 1)] == [True] * (LIMIT - 1) + [False] * 2
    assert by_api(own).status_code == 429
    assert reveals() == LIMIT


def test_a_token_of_a_person_has_the_same_limit(cast: Cast, own: str) -> None:
    _, text = personal.issue_personal(actor=cast.principal(cast.alice), name="laptop")
    assert [by_api(text).status_code for _ in range(LIMIT + 1)] == [200] * LIMIT + [429]
    assert by_api(own).status_code == 200


def test_an_export_that_the_snapshot_leaves_is_one_request(own: str) -> None:
    client = FrontedClient(Lanes(Inline(), [rest.export]), {"HTTP_AUTHORIZATION": f"Bearer {own}"})
    answers = [client.get("/api/environments/development/export") for _ in range(LIMIT + 1)]
    assert [each.status_code for each in answers] == [200] * LIMIT + [429]


def test_who_guesses_uses_up_no_requests(own: str) -> None:
    guess = f"{own[:-1]}{'A' if own[-1] != 'A' else 'B'}"
    assert [by_api(own).status_code for _ in range(LIMIT - 1)] == [200] * (LIMIT - 1)
    for _ in range(LIMIT + 1):
        assert by_api(guess).status_code == 401
        assert not by_engine(guess)
    assert by_api(own).status_code == 200


def test_the_next_minute_has_its_own_count_and_0_is_no_limit(
    own: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [by_api(own).status_code for _ in range(LIMIT + 1)][-1] == 429
    monkeypatch.setattr(request_rate, "_MINUTE", 10**9)
    assert by_api(own).status_code == 200
    settings.KEEPER_TOKEN_REQUESTS_PER_MINUTE = 0
    assert {by_api(own).status_code for _ in range(LIMIT + 2)} == {200}
    assert ServiceToken.objects.count() == 1
