"""A decoy token is answered as one that was never issued, by every protocol; each use of it is recorded."""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

import pytest
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Concat
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit_app.models import AuditEvent, RefusalCount
from environments_app.errors import BadToken, Conflict
from environments_app.models import Alert, Delivery, PersonalToken, ServiceToken, User
from environments_app.sessions.service import end_tokens
from environments_app.tests.cast import Cast
from environments_app.tokens import decoys, rotation
from environments_app.tokens.bearers import bearer_of
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue, revoke
from gateway_app.engine.reads import ReadRequest, serve
from sync_app.rotation.leaks import find_leaked

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
ADDRESS: Final = "192.0.2.7"


@pytest.fixture(autouse=True)
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what was noted to the test, which stores it itself."""
    monkeypatch.setattr(decoys, "start", lambda: None)
    decoys._waiting.clear()


@pytest.fixture
def bait(cast: Cast) -> str:
    alice = cast.principal(cast.alice)
    return issue(actor=alice, environment=cast.development, role="reader", name="deploy", decoy=True)[1]


def unknown(text: str) -> str:
    """Return a text of the same form that Keeper never issued."""
    return text[:4] + text[4:].swapcase()


def get(path: str, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Client(headers=named, REMOTE_ADDR=ADDRESS).get(path)


def post(path: str, body: Any, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client = Client(headers=named, REMOTE_ADDR=ADDRESS)
    return client.post(path, json.dumps(body), content_type="application/json")


def _signed(key_id: str, token: str = "") -> Any:
    headers = {
        "authorization": f"AWS4-HMAC-SHA256 Credential={key_id}/20300101/eu/secretsmanager/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
        "x-amz-target": "secretsmanager.GetSecretValue",
        "x-amz-date": "20300101T000000Z",
        "x-amz-security-token": token,
    }
    return Client(headers=headers, REMOTE_ADDR=ADDRESS).post(
        "/aws", b"{}", content_type="application/x-amz-json-1.1"
    )


DOORS: Final[dict[str, Callable[[str], Any]]] = {
    "rest": lambda t: get("/api/secrets", authorization=f"Bearer {t}"),
    "rest: one": lambda t: get("/api/secrets/1", authorization=f"Bearer {t}"),
    "rest: by name": lambda t: get("/api/environments/development/secrets/a", authorization=f"Bearer {t}"),
    "rest: export": lambda t: get("/api/environments/development/export", authorization=f"Bearer {t}"),
    "rest: a poll": lambda t: get(
        "/api/environments/development/export", authorization=f"Bearer {t}", if_none_match='"a"'
    ),
    "rest: whoami": lambda t: get("/api/whoami", authorization=f"Bearer {t}"),
    "rest: a wrong secret": lambda t: get("/api/whoami", authorization=f"Bearer {t[:-6]}AAAAAA"),
    "rest: cut off": lambda t: get("/api/whoami", authorization=f"Bearer {t[:30]}"),
    "rest: basic": lambda t: get(
        "/api/whoami", authorization=f"Basic {b64encode(f'x:{t}'.encode()).decode()}"
    ),
    "vault": lambda t: get("/vault/v1/secret/data/a", x_vault_token=t),
    "vault: bearer": lambda t: get("/vault/v1/auth/token/lookup-self", authorization=f"Bearer {t}"),
    "vault: unwrap": lambda t: post("/vault/v1/sys/wrapping/unwrap", {"token": t}, x_vault_token=t),
    "vault: approle": lambda t: post(
        "/vault/v1/auth/approle/login", {"role_id": t[4:26], "secret_id": t[27:]}
    ),
    "vault: role id alone": lambda t: post(
        "/vault/v1/auth/approle/login", {"role_id": t[4:26], "secret_id": "wrong"}
    ),
    "aws: credentials": lambda t: get("/aws/credentials", authorization=t),
    "aws: the access key id": lambda t: _signed(t[4:26]),
    "aws: the session token": lambda t: _signed("ASIAAAAAAAAAAAAAAAAA", t),
    "scim": lambda t: get("/scim/v2/Users", authorization=f"Bearer {t}"),
}


def _shown(answer: Any) -> tuple[int, str, dict[str, str]]:
    headers = {
        k: v for k, v in answer.headers.items() if k.lower() not in {"x-request-id", "x-amzn-requestid"}
    }
    body = re.sub(r'"(request_id|RequestId|instance)":"[^"]*"', "", answer.content.decode())
    return answer.status_code, body, headers


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", ["service", "personal"])
def test_it_is_answered_as_unknown_and_noted(cast: Cast, bait: str, door: str, kind: str) -> None:
    if kind == "personal":
        bait = issue_personal(actor=cast.principal(cast.alice), name="laptop", decoy=True)[1]
    DOORS[door](unknown(bait))
    RefusalCount.objects.all().delete()
    with CaptureQueriesContext(
        connection,
    ) as never:
        expected = _shown(DOORS[door](unknown(bait)))
    RefusalCount.objects.all().delete()
    with CaptureQueriesContext(connection) as found:
        answer = _shown(DOORS[door](bait))
    assert answer == expected
    assert answer[0] >= 400
    # By the same statements: nothing but what they find differs.
    assert [each["sql"][:60] for each in found.captured_queries] == [
        each["sql"][:60] for each in never.captured_queries
    ]
    decoys.store()
    event = AuditEvent.objects.get(action="token.decoy")
    assert (event.outcome, event.address) == ("denied", ADDRESS)
    alert = Alert.objects.get(kind="decoy")
    assert ADDRESS in alert.lines[0]
    assert Delivery.objects.filter(kind="decoy").exists()
    told = json.dumps([alert.subject, alert.lines, event.details])
    assert bait not in told
    assert bait[27:] not in told


def test_the_read_engine_knows_none(bait: str) -> None:
    (read,) = serve([ReadRequest(bait[4:26], bait[27:], ADDRESS, "r", secret_id=1)])
    assert read is None


def test_a_burst_is_one_event_and_one_message_and_all_are_counted(bait: str) -> None:
    for _ in range(50):
        DOORS["rest: whoami"](bait)
    decoys.store()
    assert json.loads(AuditEvent.objects.get(action="token.decoy").details)["count"] == 50
    sent = Delivery.objects.filter(kind="decoy").count()
    assert sent
    DOORS["vault"](bait)
    decoys.store()
    assert Delivery.objects.filter(kind="decoy").count() == sent
    alert = Alert.objects.get(kind="decoy")
    assert alert.waiting
    assert "/api/whoami" in str(alert.lines)
    assert "/vault/v1/secret/data/a" in str(alert.lines)


def test_the_limit_of_refusals_hides_no_use(bait: str, settings: Any) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 1
    for _ in range(3):
        DOORS["rest"](unknown(bait))
    assert DOORS["rest"](bait).status_code == 429
    decoys.store()
    assert AuditEvent.objects.filter(action="token.decoy").exists()


def test_a_row_that_was_edited_opens_nothing(cast: Cast, bait: str) -> None:
    ServiceToken.objects.filter(public_id=bait[4:26]).update(decoy=None)
    with pytest.raises(BadToken):
        bearer_of(bait, address=ADDRESS)


def test_what_fails_is_stored_later(bait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DOORS["rest"](bait)
    with monkeypatch.context() as patched:
        patched.setattr(decoys, "raise_alert", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            decoys.store()
    decoys.store()
    assert AuditEvent.objects.filter(action="token.decoy").count() == 1


def test_what_comes_while_storing_fails_is_counted_as_well(
    bait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    DOORS["rest"](bait)

    def fails(**_: Any) -> None:
        DOORS["rest"](bait)
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(decoys, "raise_alert", fails)
        with pytest.raises(ZeroDivisionError):
            decoys.store()
    decoys.store()
    assert json.loads(AuditEvent.objects.get(action="token.decoy").details)["count"] == 2


@pytest.mark.parametrize("where", ["the address", "the agent"])
def test_a_token_in_what_is_shown_of_a_request_is_left_out(bait: str, where: str) -> None:
    if where == "the address":
        get(f"/api/secrets/{bait}", authorization=f"Bearer {bait}")
    else:
        get("/api/whoami", authorization=f"Bearer {bait}", user_agent=f"curl {bait}")
    decoys.store()
    event, alert = AuditEvent.objects.get(action="token.decoy"), Alert.objects.get(kind="decoy")
    told = json.dumps([event.details, alert.subject, alert.lines], ensure_ascii=False)
    assert ("…" in told, bait in told, bait[27:] in told) == (True, False, False)


def test_a_flood_of_agents_keeps_few_notes_and_is_counted(bait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoys, "_MOST_WAITING", 3)
    for number in range(20):
        get("/api/whoami", authorization=f"Bearer {bait}", user_agent=f"agent {number}")
    assert len(decoys._waiting) <= 4
    decoys.store()
    found = [json.loads(each.details) for each in AuditEvent.objects.filter(action="token.decoy")]
    assert sum(each["count"] for each in found) == 20
    assert any(ADDRESS in line for line in Alert.objects.get(kind="decoy").lines)


def test_a_request_of_many_texts_costs_no_more_than_one_of_few(bait: str) -> None:
    def queries(count: int) -> int:
        texts = " ".join(unknown(bait)[:-2] + f"{number:02}" for number in range(count))
        with CaptureQueriesContext(connection) as found:
            get("/api/whoami", authorization=f"Bearer {texts}")
        return sum("public_id" in each["sql"] for each in found.captured_queries)

    assert queries(60) == queries(20) > queries(1)


def test_the_person_of_a_decoy_is_told_and_an_auditor_who_left_is_not(cast: Cast) -> None:
    auditors = [
        User.objects.create(username=name, role="auditor", is_active=is_active)
        for name, is_active in (("iris", True), ("left", False))
    ]
    User.objects.update(email=Concat("username", Value("@keeper.example")))
    text = issue_personal(actor=cast.principal(cast.erin), name="laptop", decoy=True)[1]
    DOORS["rest"](text)
    decoys.store()
    told = set(Delivery.objects.filter(kind="decoy").values_list("addressee", flat=True))
    assert {cast.erin.uuid, cast.root.uuid, auditors[0].uuid} <= told
    assert not {cast.bob.uuid, auditors[1].uuid} & told


def test_a_revoked_one_watches_no_more_and_its_alert_ends(cast: Cast, bait: str) -> None:
    DOORS["rest"](bait)
    decoys.store()
    token = ServiceToken.objects.select_related("environment").get(public_id=bait[4:26])
    with pytest.raises(Conflict):
        rotation.rotate(actor=cast.principal(cast.alice), token=token)
    revoke(actor=cast.principal(cast.alice), token=token)
    assert not Alert.objects.filter(kind="decoy", open=True).exists()
    assert DOORS["rest"](bait).status_code == 401
    decoys.store()
    assert AuditEvent.objects.filter(action="token.decoy").count() == 1


def test_it_watches_on_when_the_sessions_of_its_person_end(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    issue_personal(actor=alice, name="laptop", decoy=True)
    end_tokens(actor=alice, user=cast.alice)
    assert PersonalToken.objects.get(name="laptop").revoked_at is None


def test_a_search_for_leaks_is_a_use_and_names_it_to_managers(cast: Cast, bait: str) -> None:
    (found,) = find_leaked(actor=cast.principal(cast.alice), text=bait)
    assert (found.name, found.state) == ("deploy", "decoy")
    decoys.store()
    assert AuditEvent.objects.filter(action="token.decoy").exists()


def test_an_accessor_that_a_bearer_asks_for_is_a_use(cast: Cast, bait: str) -> None:
    own = issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci")[1]
    for path in ("lookup-accessor", "revoke-accessor"):
        answer = post(f"/vault/v1/auth/token/{path}", {"accessor": bait[4:26]}, x_vault_token=own)
        assert answer.status_code == 403
    decoys.store()
    assert AuditEvent.objects.filter(action="token.decoy").count() == 2
