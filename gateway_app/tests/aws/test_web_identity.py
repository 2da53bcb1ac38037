"""STS: who gets a session by a trust, for how long, whose session it is, and how a refusal is worded."""

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode
from xml.etree.ElementTree import Element

import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
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
from environments_app.tokens.service import issue, revoke
from environments_app.trusts import service
from gateway_app.aws.names import account_number
from gateway_app.tests.aws.conftest import kind_of, send, session_of, signed, token
from secrets_app.errors import KeyUnavailable
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
    _, again, _ = assume(jwt)
    assert (text(again, "Code"), "used" in text(again, "Message")) == ("AccessDenied", True)


def test_a_subject_is_written_as_xml_can_hold_it(cast: Cast, issuer: Issuer) -> None:
    make_trust(cast, issuer, claims={"sub": "a-service*", "azp": "x"})
    _, answer, _ = assume(issuer.sign(azp="x", sub="a-service\x07b\n<c>"))
    assert text(answer, "SubjectFromWebIdentityToken") == "a-serviceb<c>"


def test_what_is_not_the_fault_of_the_client_is_told_as_of_the_receiver(
    trust: Trust, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_: Any) -> None:
        raise KeyUnavailable("KMS gives no answer", permanent=False)

    assert text(assume("x")[1], "Type") == "Sender"
    monkeypatch.setattr("gateway_app.aws.sts.sign_in", away)
    status, answer, _ = assume(issuer.sign())
    assert (status, text(answer, "Code"), text(answer, "Type")) == (503, "ServiceUnavailable", "Receiver")


def test_an_issuer_that_does_not_answer_is_not_the_fault_of_the_token(
    trust: Trust, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise KeysUnavailable("The issuer does not answer.", 60)

    monkeypatch.setattr("environments_app.trusts.sign_in.find_key", away)
    status, answer, response = assume(issuer.sign())
    assert (status, text(answer, "Code"), response["Retry-After"]) == (400, "IDPCommunicationError", "60")


def whose(session: dict[str, str] | None, *, service: str = "sts", **changes: str) -> Answer:
    """Ask whose session it is, as botocore does; `changes` replace headers after they were signed."""
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    request = AWSRequest("POST", f"http://testserver{ADDRESS}", data=body)
    request.headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    if session:
        credentials = Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["Token"])
        SigV4Auth(credentials, service, "eu-central-1").add_auth(request)
    headers = {name: str(value) for name, value in request.headers.items()}
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    answer = send(headers, body, address=f"http://testserver{ADDRESS}")
    return answer.status_code, fromstring(answer.content), answer


def test_a_session_is_named_by_its_token_and_nothing_is_recorded(
    cast: Cast, trust: Trust, issuer: Issuer
) -> None:
    _, signed_in, _ = assume(issuer.sign())
    for session, environment in (
        (session_in(signed_in), cast.production),
        (session_of(token(cast, "viewer")), cast.development),
    ):
        before = AuditEvent.objects.count()
        status, answer, _ = whose(session)
        account = account_number(environment)
        stored = ServiceToken.objects.get(environment=environment)
        assert (status, answer.tag, text(answer, "Account")) == (
            200, f"{_SPACE}GetCallerIdentityResponse", account,
        )  # fmt: skip
        assert text(answer, "Arn") == f"arn:aws:sts::{account}:assumed-role/{stored.name}/{stored.uuid}"
        assert text(answer, "UserId") == f"{stored.uuid}:{stored.name}"
        assert AuditEvent.objects.count() == before


def test_a_name_that_no_arn_can_hold_is_written_without_its_other_characters(cast: Cast) -> None:
    actor = cast.principal(cast.alice)
    _, own = issue(actor=actor, environment=cast.development, role="reader", name="a: b/\u00fc_1")
    _, answer, _ = whose(session_of(own))
    assert text(answer, "Arn").split(":")[5].split("/")[1] == "a--b--_1"


def test_who_does_not_prove_a_session_is_refused_by_the_codes_of_sts(cast: Cast) -> None:
    session = session_of(token(cast))
    old, cut = {"X_Amz_Date": "20200101T000000Z"}, {"X_Amz_Security_Token": session["Token"][:-4]}
    for code, reason, found in (
        ("MissingAuthenticationToken", "no-credentials", whose(None)),
        ("IncompleteSignature", "malformed-signature", whose(session, X_Amz_Date="now")),
        ("SignatureDoesNotMatch", "bad-signature", whose(session, service="secretsmanager")),
        ("SignatureDoesNotMatch", "bad-signature", whose(session, **old)),
        ("InvalidClientTokenId", "forged-session", whose(session, **cut)),
    ):
        status, answer, _ = found
        assert (status, text(answer, "Code")) == (400 if code == "IncompleteSignature" else 403, code)
        assert RefusalCount.objects.filter(kind=reason).exists(), reason
    revoke(actor=cast.principal(cast.alice), token=ServiceToken.objects.get())
    status, answer, _ = whose(session)
    assert (status, text(answer, "Code")) == (403, "InvalidClientTokenId")


def test_only_these_operations_are_answered_and_only_by_post(trust: Trust, issuer: Issuer) -> None:
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
