"""Personal tokens at the doors of foreign clients: the person's rights, narrowed, on record, ended at once."""

from typing import Any

import orjson
import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import PersonalToken
from environments_app.tests.cast import Cast
from environments_app.tokens.personal import issue_personal
from gateway_app.tests.aws.conftest import send, session_of, signed
from secrets_app.tests.kept import VALUE, keep


@pytest.fixture
def place(cast: Cast) -> str:
    keep(cast)
    keep(cast, "other/key")
    return str(cast.development.name)


def token_of(cast: Cast, **narrowed: Any) -> str:
    return issue_personal(actor=cast.principal(cast.bob), name="laptop", **narrowed)[1]


def vault(method: str, path: str, token: str) -> Any:
    return Client().generic(method, f"/vault/v1/{path}", b"", headers={"X-Vault-Token": token})


def aws(session: dict[str, str], name: str) -> Any:
    body = orjson.dumps({"SecretId": name})
    return send(signed(session, "GetSecretValue", body), body)


def last_reveal() -> AuditEvent:
    return AuditEvent.objects.filter(action=Action.SECRET_REVEAL).latest("id")


def test_a_client_of_vault_reads_as_the_person(cast: Cast, place: str) -> None:
    token = token_of(cast)
    answer = vault("GET", f"{place}/data/payments/key", token)
    assert answer.json()["data"]["data"] == {"value": VALUE}
    event = last_reveal()
    assert (event.actor_name, '"via":"kpr on laptop"' in event.details) == ("bob", True)
    found = vault("GET", "auth/token/lookup-self", token).json()["data"]
    assert (found["display_name"], found["policies"]) == ("laptop", ["personal"])
    assert 0 < found["ttl"] <= 12 * 3600
    assert vault("POST", "auth/token/revoke-self", token).status_code == 204
    assert PersonalToken.objects.get().revoked_at is not None
    assert vault("GET", f"{place}/data/payments/key", token).status_code == 403


def test_a_client_of_aws_reads_as_the_person_until_the_token_ends(cast: Cast, place: str) -> None:
    session = session_of(token_of(cast))
    assert aws(session, "payments/key").json()["SecretString"] == VALUE
    event = last_reveal()
    assert (event.actor_name, '"via":"kpr on laptop"' in event.details) == ("bob", True)
    token = PersonalToken.objects.get()
    token.revoked_at = token.created_at
    token.save()
    refused = aws(session, "payments/key")
    assert (refused.status_code, refused.json()["__type"]) == (400, "UnrecognizedClientException")


def test_what_a_token_is_narrowed_to_holds_at_every_door(cast: Cast, place: str) -> None:
    token = token_of(cast, environment=place, prefix="payments")
    assert vault("GET", f"{place}/data/payments/key", token).status_code == 200
    assert vault("GET", f"{place}/data/other/key", token).status_code in {403, 404}
    session = session_of(token)
    assert aws(session, "payments/key").status_code == 200
    assert aws(session, "other/key").status_code == 400


@pytest.mark.parametrize("text", ["kpu_short", f"kpu_{'a' * 22}_{'b' * 43}"])
def test_what_is_no_token_is_refused_at_every_door(db: None, text: str) -> None:
    assert vault("GET", "development/data/payments/key", text).status_code == 403
    assert vault("GET", "auth/token/lookup-self", text).status_code == 403
    assert Client().get("/aws/credentials", headers={"Authorization": text}).status_code == 403
