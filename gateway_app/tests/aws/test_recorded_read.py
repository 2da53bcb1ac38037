"""The read engine answers GetSecretValue as the general path does, which stays the judge of all else."""

import io
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.test import Client

from audit_app.models import AuditEvent
from core.http.requests import Answer
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.service import revoke
from gateway_app.aws.lane import read
from gateway_app.aws.views import MAX_BODY
from gateway_app.lanes import Lanes
from gateway_app.tests.aws.conftest import ADDRESS, Signed, session_of, signed, token
from gateway_app.tests.engine.inline import Inline
from secrets_app.models import SecretVersion
from secrets_app.tests.kept import change, keep
from tests.api.test_recorded_read import EVENT, FrontedClient

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
# What names the request, and what caches are told of cookies, which a signed read does not look at.
OWN = {"X-Request-ID", "x-amzn-RequestId", "Vary"}
Both = Callable[..., tuple[Any, bool]]


class Fronted(FrontedClient):
    """Hands bodies over as the threads of the server do."""

    def request(self, **request: Any) -> Any:
        request["wsgi.input"] = io.BytesIO(request["wsgi.input"].read())
        return super().request(**request)


@pytest.fixture
def both() -> Both:
    """Ask in front of Django and Django alone; return the equal answer and whether the engine gave it."""

    def ask(given: Signed, body: bytes) -> tuple[Any, bool]:
        front, taken = Lanes(Inline(), [read]), []

        def in_front(environ: dict[str, Any]) -> Answer | None:
            answer = front(environ)
            taken.append(answer is not None)
            return answer

        hot = _told(Fronted(in_front, {}), given, body)
        assert hot == _told(Client(raise_request_exception=False), given, body)
        return hot, taken[0]

    return ask


def _told(client: Client, given: Signed, body: bytes) -> Any:
    # A violation is reported once a minute, a refusal counted: each path begins afresh.
    cache.clear()
    last = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    headers = {"Host": "testserver", **{name: given[name] for name in given if name != "Content-Type"}}
    response = client.post("/aws", body, content_type=given["Content-Type"], headers=headers)
    events = AuditEvent.objects.filter(id__gt=last).order_by("id").values_list(*EVENT)
    shown = {name: value for name, value in response.items() if name not in OWN}
    return response.status_code, orjson.loads(response.content), shown, list(events)


def asking(session: dict[str, str], **members: Any) -> tuple[Signed, bytes]:
    body = orjson.dumps(members)
    return signed(session, "GetSecretValue", body), body


def test_the_current_value_of_a_name_is_answered_in_front(cast: Cast, both: Both) -> None:
    change(cast, keep(cast, "app/text", value="old"), value='ü "new"')
    for role, prefix in (("reader", ""), ("editor", "app"), ("manager", "app/text")):
        session = session_of(token(cast, role, prefix=prefix))
        (status, body, headers, events), in_front = both(*asking(session, SecretId="app/text"))
        assert (status, in_front, len(events)) == (200, True, 1)
        assert (body["SecretString"], body["VersionStages"]) == ('ü "new"', ["AWSCURRENT"])
        assert headers["Content-Type"] == "application/x-amz-json-1.1"
        assert orjson.loads(events[0][-1]) == {"number": 2, "protocol": "aws"}


def test_what_is_not_plain_or_not_granted_is_left_to_the_general_path(cast: Cast, both: Both) -> None:
    secret = keep(cast, "app/text", value="s3cret")
    change(cast, secret, value="new")
    keep(cast, "first", environment=cast.production)
    session = session_of(token(cast))
    (_, shown, *_), _ = both(*asking(session, SecretId="app/text"))
    for members, status in (
        ({"SecretId": "absent"}, 400),
        ({"SecretId": shown["ARN"]}, 200),
        ({"SecretId": "app/text", "VersionStage": "AWSPREVIOUS"}, 200),
        ({"SecretId": "app/text", "VersionId": shown["VersionId"]}, 200),
        ({"SecretId": ["app/text"]}, 400),
        ({}, 400),
    ):
        (found, *_), in_front = both(*asking(session, **members))
        assert (found, in_front) == (status, False), members
    for other in (token(cast, "viewer"), token(cast, prefix="other")):
        (found, *_), in_front = both(*asking(session_of(other), SecretId="app/text"))
        assert (found, in_front) == (400, False)


def test_a_body_that_the_protocol_does_not_take_is_left_to_the_general_path(cast: Cast, both: Both) -> None:
    keep(cast, "a", value="s3cret")
    session, large = session_of(token(cast)), b'{"SecretId": "a"' + b" " * MAX_BODY + b"}"
    for headers, body, status in (
        (signed(session, "GetSecretValue", large), large, 413),
        (
            signed(session, "GetSecretValue", b'{"SecretId": "a"}', media_type="text/plain"),
            b'{"SecretId": "a"}',
            400,
        ),
    ):
        (found, answer, *_), in_front = both(headers, body)
        assert (found, in_front, "s3cret" in str(answer)) == (status, False, False)


def test_what_is_not_signed_is_left_to_the_general_path(cast: Cast, both: Both) -> None:
    keep(cast, "a", value="s3cret")
    own = token(cast)
    session = session_of(own)
    given, body = asking(session, SecretId="a")
    assert both(given, body)[1]
    wrong = (
        (given | {"Authorization": given["Authorization"][:-4] + "0000"}, body),
        (given | {"X-Amz-Security-Token": given["X-Amz-Security-Token"][:-4]}, body),
        (given | {"X-Amz-Date": "20200101T000000Z"}, body),
        (given, body.replace(b"a", b"b")),
        (signed(session, "GetSecretValue", body, address=ADDRESS.replace("testserver", "other")), body),
        (signed(session, "GetSecretValue", body, service="sts"), body),
    )
    for headers, sent in wrong:
        (status, answer, _, events), in_front = both(headers, sent)
        assert (status, in_front, events) == (400, False, []), answer
    revoke(actor=cast.principal(cast.alice), token=ServiceToken.objects.get(public_id=own[4:26]))
    (status, answer, _, _), in_front = both(given, body)
    assert (status, in_front, answer["__type"]) == (400, False, "UnrecognizedClientException")


def test_a_value_that_does_not_open_is_answered_in_the_protocols_form(
    cast: Cast, both: Both, sql: Callable[..., None]
) -> None:
    keep(cast, "a", value="of a")
    other = keep(cast, "b", value="of b")
    foreign = SecretVersion.objects.get(secret__name="a").value.envelope
    sql("UPDATE secrets_app_secretversion SET value = %s WHERE secret_id = %s", foreign, other.pk)
    (status, body, _, _), in_front = both(*asking(session_of(token(cast)), SecretId="b"))
    assert (status, in_front, body["__type"]) == (400, False, "DecryptionFailure")
    assert "of a" not in str(body)
