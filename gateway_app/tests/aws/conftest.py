"""Sessions of tokens, and requests that botocore signs."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from django.test import Client

from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue

ADDRESS = "http://testserver/aws"
TARGET = "X-Amz-Target"
Signed = dict[str, str]
Ask = Callable[..., Any]


def token(cast: Cast, role: str = "reader", **options: Any) -> str:
    _, text = issue(
        actor=cast.principal(cast.alice),
        environment=options.pop("environment", cast.development),
        role=role,
        name=f"aws-{role}",
        **options,
    )
    return text


def session_of(token: str, **headers: str) -> dict[str, str]:
    """Return the credentials that the endpoint of containers answers."""
    answer = Client().get("/aws/credentials", headers={"Authorization": token, **headers})
    assert answer.status_code == 200, answer.content
    found: dict[str, str] = answer.json()
    return found


def signed(
    session: dict[str, str],
    operation: str,
    body: bytes,
    *,
    address: str = ADDRESS,
    service: str = "secretsmanager",
    region: str = "eu-central-1",
    media_type: str = "application/x-amz-json-1.1",
    target: str = "secretsmanager.",
) -> Signed:
    """Return the headers of a request that botocore signs."""
    request = AWSRequest("POST", address, data=body)
    request.headers["Content-Type"] = media_type
    request.headers[TARGET] = f"{target}{operation}"
    credentials = Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["Token"])
    SigV4Auth(credentials, service, region).add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}


def send(headers: Signed, body: bytes, *, address: str = ADDRESS) -> Any:
    """Send a request with these headers as they are."""
    parts = urlsplit(address)
    given = {"Host": parts.netloc}
    given |= {name: value for name, value in headers.items() if name.lower() != "content-type"}
    answer: Any = Client().generic(
        "POST",
        f"{parts.path}?{parts.query}" if parts.query else parts.path,
        body,
        content_type=headers.get("Content-Type", ""),
        headers=given,
    )
    # Django's client takes other media types for no JSON.
    answer.json = lambda: orjson.loads(answer.content)
    return answer


@pytest.fixture
def ask(cast: Cast) -> Ask:
    """Ask an operation, signed by botocore for a session of a reader of `development`, or of `token`."""
    own = token(cast)

    def call(operation: str, *, token: str = own, **members: Any) -> Any:
        body = orjson.dumps(members)
        return send(signed(session_of(token), operation, body), body)

    return call


def kind_of(answer: Any) -> str:
    """Return the type of an error."""
    return str(answer.json().get("__type", ""))
