"""Requests that do not prove who calls: each is refused as AWS does, counted, and reads nothing."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.authorization.principals import system_principal
from environments_app.errors import BadToken
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens import bearers
from environments_app.tokens.bearers import TokenSession, open_session
from environments_app.tokens.service import issue, revoke
from gateway_app.tests.aws.conftest import ADDRESS, Signed, kind_of, send, session_of, signed, token
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.django_db
Travel = Callable[[timedelta], None]
BODY = b'{"SecretId": "a"}'
INCOMPLETE = "IncompleteSignatureException"
INVALID = "InvalidSignatureException"
UNKNOWN = "UnrecognizedClientException"


@pytest.fixture
def travel(monkeypatch: pytest.MonkeyPatch) -> Travel:
    """Set the clocks of Keeper and of botocore to a time away from now."""
    began = timezone.now()

    def to(away: timedelta) -> None:
        monkeypatch.setattr("django.utils.timezone.now", lambda: began + away)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: began + away)

    return to


@pytest.fixture
def own(cast: Cast) -> str:
    keep(cast, "a", value="s3cret")
    return token(cast)


@pytest.fixture
def headers(own: str) -> Signed:
    return signed(session_of(own), "GetSecretValue", BODY)


def refused(answer: Any, kind: str, reason: str) -> None:
    assert (answer.status_code, kind_of(answer)) == (400, kind), answer.content
    assert "s3cret" not in answer.content.decode()
    assert answer["Content-Type"] == "application/x-amz-json-1.1"
    assert AuditEvent.objects.filter(action=Action.SECRET_REVEAL).count() == 0
    assert RefusalCount.objects.filter(kind=reason).exists(), [*RefusalCount.objects.values_list("kind")]


def test_what_is_signed_is_answered(headers: Signed) -> None:
    answer = send(headers, BODY)
    assert (answer.status_code, answer.json()["SecretString"]) == (200, "s3cret")


def test_the_same_request_may_come_again_until_15_minutes_have_passed(
    headers: Signed, travel: Travel
) -> None:
    travel(timedelta(minutes=14))
    assert send(headers, BODY).status_code == 200
    for away in (timedelta(minutes=15, seconds=5), timedelta(minutes=-15, seconds=-5)):
        travel(away)
        answer = send(headers, BODY)
        assert (answer.status_code, kind_of(answer)) == (400, INVALID)


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("Authorization", "MissingAuthenticationTokenException", "no-credentials"),
        ("X-Amz-Date", INCOMPLETE, "malformed-signature"),
        ("X-Amz-Security-Token", INCOMPLETE, "malformed-signature"),
        ("X-Amz-Target", INCOMPLETE, "malformed-signature"),
        ("Content-Type", INVALID, "bad-signature"),
    ],
)
def test_a_request_without_one_of_its_headers(headers: Signed, name: str, kind: str, reason: str) -> None:
    del headers[name]
    refused(send(headers, BODY), kind, reason)


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-security-token", "x-amz-target"])
def test_a_signature_that_does_not_cover_a_header(headers: Signed, name: str) -> None:
    names = headers["Authorization"].split("SignedHeaders=")[1].split(",")[0]
    kept = ";".join(each for each in names.split(";") if each != name)
    assert kept != names
    headers["Authorization"] = headers["Authorization"].replace(names, kept)
    refused(send(headers, BODY), INCOMPLETE, "malformed-signature")


@pytest.mark.parametrize(
    ("address", "body", "service"),
    [
        ("http://elsewhere.example/aws", BODY, "secretsmanager"),
        ("http://testserver:8443/aws", BODY, "secretsmanager"),
        ("http://testserver/aws/", BODY, "secretsmanager"),
        ("http://testserver/aws?a=b", BODY, "secretsmanager"),
        (ADDRESS, b'{"SecretId": "b"}', "secretsmanager"),
        (ADDRESS, b"", "secretsmanager"),
        (ADDRESS, BODY, "s3"),
    ],
)
def test_a_signature_for_another_host_path_body_or_service(
    own: str, address: str, body: bytes, service: str
) -> None:
    headers = signed(session_of(own), "GetSecretValue", body, address=address, service=service)
    refused(send(headers, BODY), INVALID, "bad-signature")


def test_a_signature_for_an_address_without_this_query(headers: Signed) -> None:
    refused(send(headers, BODY, address=f"{ADDRESS}?a=b"), INVALID, "bad-signature")


def test_a_signature_for_another_operation(headers: Signed) -> None:
    headers["X-Amz-Target"] = "secretsmanager.ListSecrets"
    refused(send(headers, BODY), INVALID, "bad-signature")


@pytest.mark.parametrize("text", ["20150830T123600Z", "30000101T000000Z"])
def test_a_date_that_is_far_from_now(headers: Signed, text: str) -> None:
    headers["Authorization"] = headers["Authorization"].replace(headers["X-Amz-Date"][:8], text[:8])
    headers["X-Amz-Date"] = text
    refused(send(headers, BODY), INVALID, "skewed-signature")


@pytest.mark.parametrize("text", ["", "now", "2015-08-30T12:36:00Z", "20159930T123600Z", "1" * 5_000])
def test_a_date_that_is_none(headers: Signed, text: str) -> None:
    headers["X-Amz-Date"] = text
    refused(send(headers, BODY), INCOMPLETE, "malformed-signature")


def test_a_date_that_is_not_that_of_the_scope(headers: Signed) -> None:
    today = headers["X-Amz-Date"][:8]
    headers["Authorization"] = headers["Authorization"].replace(f"/{today}/", "/20200101/")
    answer = send(headers, BODY)
    refused(answer, INVALID, "bad-signature")
    assert "does not match X-Amz-Date" in answer.json()["message"]


def test_a_session_of_which_a_part_is_missing_or_changed(own: str, headers: Signed) -> None:
    text = headers["X-Amz-Security-Token"]
    for given in (text[:-1], text[:-4], text[:40], text[4:], f"{text}=", f"{text} a", "é", text * 20, own):
        headers["X-Amz-Security-Token"] = given
        answer = send(headers, BODY)
        assert (answer.status_code, kind_of(answer)) == (400, UNKNOWN), given
    for place in range(0, len(text) - 2, 7):
        other = "A" if text[place] != "A" else "B"
        headers["X-Amz-Security-Token"] = text[:place] + other + text[place + 1 :]
        refused(send(headers, BODY), UNKNOWN, "forged-session")


def test_the_key_of_another_session(own: str) -> None:
    one, other = session_of(own), session_of(own)
    assert one["SecretAccessKey"] != other["SecretAccessKey"]
    mixed = one | {"SecretAccessKey": other["SecretAccessKey"]}
    refused(send(signed(mixed, "GetSecretValue", BODY), BODY), INVALID, "bad-signature")
    renamed = one | {"AccessKeyId": other["AccessKeyId"]}
    refused(send(signed(renamed, "GetSecretValue", BODY), BODY), UNKNOWN, "forged-session")


def test_a_session_ends_with_its_token(cast: Cast, own: str, headers: Signed) -> None:
    revoke(actor=cast.principal(cast.alice), token=ServiceToken.objects.get(public_id=own[4:26]))
    refused(send(headers, BODY), UNKNOWN, "revoked-token")


def test_a_session_ends_after_an_hour(own: str, travel: Travel) -> None:
    session = session_of(own)
    travel(timedelta(minutes=59))
    assert send(signed(session, "GetSecretValue", BODY), BODY).status_code == 200
    travel(timedelta(minutes=61))
    answer = send(signed(session, "GetSecretValue", BODY), BODY)
    assert (answer.status_code, kind_of(answer)) == (400, "ExpiredTokenException")


def test_a_session_ends_no_later_than_its_token(cast: Cast) -> None:
    ends = timezone.now() + timedelta(minutes=20)
    session = session_of(token(cast, expires_at=ends))
    assert open_session(session["Token"]).expires_at == ends.replace(microsecond=0)


def test_the_networks_of_a_token_hold_for_its_sessions(cast: Cast, own: str, headers: Signed) -> None:
    stored = ServiceToken.objects.get(public_id=own[4:26])
    stored.cidrs = ["10.0.0.0/8"]
    stored.save()
    refused(send(headers, BODY), UNKNOWN, "token-from-elsewhere")


def test_a_session_of_a_row_that_was_edited_or_whose_pepper_is_gone(
    own: str, headers: Signed, settings: Any
) -> None:
    ServiceToken.objects.filter(public_id=own[4:26]).update(role="manager")
    refused(send(headers, BODY), UNKNOWN, "forged-token")
    ServiceToken.objects.filter(public_id=own[4:26]).update(role="reader")
    settings.KEEPER_TOKEN_PEPPERS = [f"another:{'x' * 40}"]
    refused(send(headers, BODY), UNKNOWN, "unknown-token")


def test_who_guesses_is_slowed_down(headers: Signed, settings: Any) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 3
    headers["Authorization"] = headers["Authorization"][:-64] + "0" * 64
    answers = [send(headers, BODY) for _ in range(5)]
    assert (answers[-1].status_code, kind_of(answers[-1])) == (429, "ThrottlingException")
    assert "Retry-After" in answers[-1]


@pytest.mark.parametrize("given", ["", "kpr_x", "Basic a:b", f"kpr_{'a' * 22}_{'b' * 43}", "Bearer "])
def test_credentials_are_for_tokens(db: None, given: str) -> None:
    answer = Client().get("/aws/credentials", headers={"Authorization": given} if given else {})
    assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
    assert RefusalCount.objects.get().count == 1


def test_credentials_are_given_for_a_token_with_or_without_its_scheme(cast: Cast, own: str) -> None:
    for given in (own, f"Bearer {own}", f"bearer {own} "):
        session = session_of(given)
        assert session.keys() == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
        assert session["AccessKeyId"].startswith("ASIA")
        assert (len(session["AccessKeyId"]), len(session["SecretAccessKey"])) == (20, 40)
        assert session["SecretAccessKey"] not in session["Token"]
        assert own[27:] not in str(session)


def test_a_token_that_administers_gets_none(cast: Cast) -> None:
    operator = system_principal(is_admin=True)
    _, text = issue(actor=operator, environment=None, role="admin", name="operator")
    answer = Client().get("/aws/credentials", headers={"Authorization": text})
    assert answer.status_code == 403


def test_an_opened_session_is_kept_for_a_minute_and_no_other_text_is(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, opened, kept = [1000.0], list[str](), dict[bytes, Any]()
    monkeypatch.setattr(bearers, "_kept", kept)
    monkeypatch.setattr(bearers, "_MAX_KEPT", 2)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    open_stored = bearers._opened

    def counted(text: str) -> TokenSession:
        opened.append(text)
        return open_stored(text)

    monkeypatch.setattr(bearers, "_opened", counted)
    text = session_of(own)["Token"]
    first = open_session(text)
    assert open_session(text) is first
    assert "key" not in repr(first)
    now[0] += 61
    assert open_session(text) == first
    assert opened == [text] * 2
    for other in (text[:-4], f"{text} ", "A" * len(text)):
        with pytest.raises(BadToken):
            open_session(other)
    assert len(kept) == 1
    for _ in range(3):
        open_session(session_of(own)["Token"])
        assert len(kept) <= 2
    assert text not in str(kept)


def test_a_session_keeps_the_keys_of_few_regions(own: str) -> None:
    session = session_of(own)
    for number in range(20):
        headers = signed(session, "GetSecretValue", BODY, region=f"eu-central-{number}")
        assert send(headers, BODY).status_code == 200
        assert send(headers, BODY).status_code == 200
    assert 0 < len(open_session(session["Token"]).derived) <= 8


def test_nothing_of_a_session_is_stored(cast: Cast, own: str) -> None:
    before = {**ServiceToken.objects.filter(public_id=own[4:26]).values()[0]}
    session = session_of(own)
    after = {**ServiceToken.objects.filter(public_id=own[4:26]).values()[0]}
    before.pop("last_used_at"), before.pop("last_used_address")
    assert {name: after[name] for name in before} == before
    assert not AuditEvent.objects.filter(details__contains=session["SecretAccessKey"]).exists()
