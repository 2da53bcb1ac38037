"""AssumeRoleWithWebIdentity: who gets a session by a trust, for how long, and how the protocol words a refusal."""

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode
from xml.etree.ElementTree import Element

import orjson
import pytest
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]  # it has no stubs
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.errors import KeysUnavailable
from environments_app.models import ServiceToken, Trust
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.trusts import service
from keeper_project.aws.names import account_number
from keeper_project.tests.aws.conftest import kind_of, send, signed
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.django_db
ADDRESS: Final = "/aws/sts"
_SPACE: Final = "{https://sts.amazonaws.com/doc/2011-06-15/}"
_ROLE: Final = "arn:aws:iam::000000000000:role/ci"
Answer = tuple[int, Element, Any]


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def trust(cast: Cast, issuer: Issuer) -> Trust:
    keep(cast, "a", value="s3cret", environment=cast.production)
    return make_trust(cast, issuer, lifetime_minutes=30)


def assume(jwt: str, **changes: Any) -> Answer:
    """Ask as botocore does; a member that is `...` is left out."""
    members = {
        "Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": _ROLE,
        "RoleSessionName": "botocore-session-1", "WebIdentityToken": jwt,
    } | changes  # fmt: skip
    body = urlencode({name: value for name, value in members.items() if value is not ...})
    answer: Any = Client().post(
        ADDRESS, body, content_type="application/x-www-form-urlencoded; charset=utf-8"
    )
    assert answer["Content-Type"] == "text/xml"
    return answer.status_code, fromstring(answer.content), answer


def text(answer: Element, name: str) -> str:
    found = answer.find(f".//{_SPACE}{name}")
    assert found is not None, name
    return found.text or ""


def session_in(answer: Element) -> dict[str, str]:
    return {
        "AccessKeyId": text(answer, "AccessKeyId"),
        "SecretAccessKey": text(answer, "SecretAccessKey"),
        "Token": text(answer, "SessionToken"),
    }


def test_a_session_reads_what_the_trust_allows_and_is_recorded(
    cast: Cast, trust: Trust, issuer: Issuer
) -> None:
    status, answer, _ = assume(issuer.sign())
    assert (status, answer.tag) == (200, f"{_SPACE}AssumeRoleWithWebIdentityResponse")
    assert text(answer, "SubjectFromWebIdentityToken") == "a-service"
    assert (text(answer, "Provider"), text(answer, "Audience")) == (trust.issuer, trust.audience)
    account = account_number(cast.production)
    assert text(answer, "Arn") == f"arn:aws:sts::{account}:assumed-role/ci/botocore-session-1"
    assert text(answer, "RequestId")
    token = ServiceToken.objects.get(trust_uuid=trust.uuid)
    assert token.expires_at is not None
    assert text(answer, "Expiration") == f"{token.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    body = orjson.dumps({"SecretId": "a"})
    read = send(signed(session_in(answer), "GetSecretValue", body), body)
    assert read.json()["SecretString"] == "s3cret"
    event = AuditEvent.objects.get(action=Action.TRUST_SIGN_IN)
    assert '"protocol":"aws"' in event.details
    assert '"session":"botocore-session-1"' in event.details


def test_a_session_ends_with_its_trust(cast: Cast, trust: Trust, issuer: Issuer) -> None:
    _, answer, _ = assume(issuer.sign(), RoleArn=f"arn:aws:iam::{account_number(cast.production)}:role/ci")
    service.change(actor=cast.principal(cast.alice), trust=trust, enabled=False)
    body = orjson.dumps({"SecretId": "a"})
    read = send(signed(session_in(answer), "GetSecretValue", body), body)
    assert kind_of(read) == "UnrecognizedClientException"


def test_a_session_is_as_short_as_it_is_asked_for(trust: Trust, issuer: Issuer) -> None:
    before = timezone.now()
    assert assume(issuer.sign(), DurationSeconds="900")[0] == 200
    token = ServiceToken.objects.get(trust_uuid=trust.uuid)
    assert token.expires_at is not None
    assert timedelta(seconds=900) <= token.expires_at - before < timedelta(seconds=1800)
    status, answer, _ = assume(issuer.sign(), DurationSeconds="1801")
    assert (status, text(answer, "Code")) == (400, "ValidationError")
    assert "30 minutes" in text(answer, "Message")
    assert ServiceToken.objects.filter(trust_uuid=trust.uuid).count() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"RoleArn": ...}, {"RoleArn": "ci"}, {"RoleArn": "arn:aws:iam::1:role/ci"}, {"RoleArn": f"{_ROLE}/ci"},
        {"RoleSessionName": ...}, {"RoleSessionName": "x"}, {"RoleSessionName": "a b"},
        {"RoleSessionName": "x" * 65}, {"WebIdentityToken": ...}, {"WebIdentityToken": "x" * 20_001},
        {"DurationSeconds": "899"}, {"DurationSeconds": "43201"}, {"DurationSeconds": "-900"},
        {"DurationSeconds": "\u0661\u0660\u0660\u0660"}, {"DurationSeconds": ""}, {"Policy": "{}"},
        {"PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/x"}, {"ProviderId": "www.amazon.com"},
    ],
    ids=str,
)  # fmt: skip
def test_members_that_are_not_of_their_form_are_named(
    trust: Trust, issuer: Issuer, changes: dict[str, Any]
) -> None:
    status, answer, _ = assume(issuer.sign(), **changes)
    assert (status, text(answer, "Code"), text(answer, "Type")) == (400, "ValidationError", "Sender")
    assert next(iter(changes)).partition(".")[0] in text(answer, "Message")
    assert not ServiceToken.objects.filter(trust_uuid=trust.uuid).exists()


def test_each_refusal_has_its_code_and_is_counted(cast: Cast, trust: Trust, issuer: Issuer) -> None:
    now = int(timezone.now().timestamp())
    other = account_number(cast.development)
    jwt = issuer.sign()
    refused: dict[str, tuple[str, str, dict[str, Any]]] = {
        "jwt-malformed": ("InvalidIdentityToken", "x", {}),
        "jwt-signature": ("InvalidIdentityToken", f"{jwt[:-4]}AAAA", {}),
        "jwt-algorithm": ("InvalidIdentityToken", issuer.sign({"alg": "none"}), {}),
        "jwt-audience": ("InvalidIdentityToken", issuer.sign(aud=["https://keeper.test", "other"]), {}),
        # No key is looked for on behalf of another issuer.
        "jwt-unknown-key": ("InvalidIdentityToken", issuer.sign(iss="https://elsewhere.test"), {}),
        "jwt-not-yet-valid": ("InvalidIdentityToken", issuer.sign(nbf=now + 600), {}),
        "jwt-expired": ("ExpiredTokenException", issuer.sign(exp=now - 60), {}),
        "jwt-claim": ("AccessDenied", issuer.sign(sub="another"), {}),
        "trust-unknown": ("InvalidIdentityToken", jwt, {"RoleArn": f"{_ROLE}-absent"}),
    }
    found = {}
    for reason, (_, given, changes) in refused.items():
        status, answer, _ = assume(given, **changes)
        code = text(answer, "Code")
        assert status == (403 if code == "AccessDenied" else 400), reason
        assert RefusalCount.objects.filter(kind=reason).exists(), reason
        found[reason] = code
    assert found == {reason: code for reason, (code, _, _) in refused.items()}
    _, answer, _ = assume(jwt, RoleArn=f"arn:aws:iam::{other}:role/ci")
    assert text(answer, "Code") == "InvalidIdentityToken"
    assert not ServiceToken.objects.filter(trust_uuid=trust.uuid).exists()


def test_a_trust_that_is_off_looks_like_one_that_is_absent(cast: Cast, trust: Trust, issuer: Issuer) -> None:
    service.change(actor=cast.principal(cast.alice), trust=trust, enabled=False)
    off, absent = assume(issuer.sign())[1], assume(issuer.sign(), RoleArn=f"{_ROLE}-absent")[1]
    assert [text(off, name) for name in ("Code", "Message")] == [
        text(absent, name) for name in ("Code", "Message")
    ]


def test_a_token_that_is_for_one_use_is_refused_again(cast: Cast, issuer: Issuer) -> None:
    make_trust(cast, issuer, single_use=True)
    jwt = issuer.sign()
    assert [assume(jwt)[0], assume(jwt)[0]] == [200, 403]


def test_an_issuer_that_does_not_answer_is_not_the_fault_of_the_token(
    trust: Trust, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise KeysUnavailable("The issuer does not answer.", 60)

    monkeypatch.setattr("environments_app.trusts.sign_in.find_key", away)
    status, answer, response = assume(issuer.sign())
    assert (status, text(answer, "Code"), response["Retry-After"]) == (400, "IDPCommunicationError", "60")


def test_only_this_operation_is_answered_and_only_by_post(trust: Trust, issuer: Issuer) -> None:
    for changes, code in (
        ({"Action": ...}, "MissingAction"),
        ({"Action": "AssumeRole"}, "InvalidAction"),
        ({"Version": "2010-01-01"}, "InvalidAction"),
    ):
        status, answer, _ = assume(issuer.sign(), **changes)
        assert (status, text(answer, "Code")) == (400, code)
    shown = Client().get(f"{ADDRESS}/", {"Action": "AssumeRoleWithWebIdentity"})
    assert (shown.status_code, shown["Allow"]) == (405, "POST, OPTIONS")
    assert text(fromstring(shown.content), "Code") == "InvalidAction"
    status, answer, _ = assume(issuer.sign(), Comment="x" * 70_000)
    assert (status, text(answer, "Code")) == (413, "ValidationError")
