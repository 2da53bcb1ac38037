"""Signature Version 4: AWS's own examples, and botocore's signer."""

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import quote, urlencode

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_app.aws.sigv4 import (
    IncompleteSignature,
    Request,
    is_signed_by,
    parse_authorization,
    signature,
    signing_key,
)

KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TIME = "20150830T123600Z"
SCOPE = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
BASE = {"host": "example.amazonaws.com", "x-amz-date": TIME}
FORM = "application/x-www-form-urlencoded"
STS = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflf"
    "KD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd"
    "8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3i"
    "SIlTJabIQwj2ICCR/oLxBA=="
)
# Of the documentation (the last) and of AWS's test suite of signatures, by the names that they have there.
EXAMPLES = {
    "get-vanilla": (
        Request("GET", "/", "", BASE, b""),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "post-vanilla": (
        Request("POST", "/", "", BASE, b""),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "get-header-value-trim": (
        Request("GET", "/", "", BASE | {"my-header1": " value1", "my-header2": ' "a   b   c"'}, b""),
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "get-vanilla-query-order-encoded": (
        Request("GET", "/", "Param-3=Value3&Param=Value2&%E1%88%B4=Value1", BASE, b""),
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    "get-utf8": (
        Request("GET", "/ሴ", "", BASE, b""),
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "post-sts-header-before": (
        Request("POST", "/", "", BASE | {"x-amz-security-token": STS}, b""),
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
    "post-x-www-form-urlencoded": (
        Request(
            "POST", "/", "",
            BASE | {
                "content-type": FORM, "content-length": "13",
                "x-amz-content-sha256": "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
            },
            b"Param1=value1",
        ),
        "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_aws(name: str) -> None:
    request, expected = EXAMPLES[name]
    signed = ";".join(sorted(request.headers))
    text = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={signed}, Signature={expected}"
    given = parse_authorization(text)
    assert signature(signing_key(KEY, given), request, given, time=TIME) == expected
    assert is_signed_by(signing_key(KEY, given), request, given, time=TIME)


def test_the_example_of_the_documentation() -> None:
    expected = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    text = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        f"SignedHeaders=content-type;host;x-amz-date, Signature={expected}"
    )
    headers = {"content-type": f"{FORM}; charset=utf-8", "host": "iam.amazonaws.com", "x-amz-date": TIME}
    request = Request("GET", "/", "Action=ListUsers&Version=2010-05-08", headers, b"")
    given = parse_authorization(text)
    assert is_signed_by(signing_key(KEY, given), request, given, time=TIME)


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@example(
    key="k", body=b"", path="/aws", token="t", header="", query={},
    at=datetime(2020, 1, 1), flipped=0,  # noqa: DTZ001 - as below
)  # fmt: skip
@example(
    key="k", body=b"\x00", path="/aws/", token="t", header="  a   b  ", query={"": "", "ä &": "=+/", "a": "~"},
    at=datetime(2040, 1, 1), flipped=7,  # noqa: DTZ001 - as below
)  # fmt: skip
@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60),
    body=st.binary(max_size=200),
    path=st.sampled_from(["/aws", "/aws/"]),
    token=TEXT,
    header=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    query=st.dictionaries(
        st.text("aB3-_.~ ä&=+/", max_size=8), st.text("aB3-_.~ ä&=+/", max_size=8), max_size=4
    ),
    at=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1)),  # noqa: DTZ001 - hypothesis wants naive ones
    flipped=st.integers(min_value=0, max_value=7),
)
def test_what_botocore_signs_is_accepted_and_what_differs_is_not(
    key: str,
    body: bytes,
    path: str,
    token: str,
    header: str,
    query: dict[str, str],
    at: datetime,
    flipped: int,
) -> None:
    words = urlencode(sorted(query.items()), quote_via=quote)
    address = f"https://keeper.example:8443{path}" + (f"?{words}" if words else "")
    request = AWSRequest("POST", address, data=body, headers={"X-Amz-Meta": header, "Content-Type": "a/b"})
    with patch("botocore.auth.get_current_datetime", lambda: at.replace(tzinfo=UTC)):
        SigV4Auth(Credentials("ASIAEXAMPLE", key, token), "secretsmanager", "eu-west-1").add_auth(request)
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    headers["host"] = "keeper.example:8443"
    sent = Request("POST", path, words, headers, body)
    text, time = headers.pop("authorization"), headers["x-amz-date"]
    given_signature = parse_authorization(text)
    own = signing_key(key, given_signature)
    assert is_signed_by(own, sent, given_signature, time=time)
    others = (
        sent._replace(method="GET"),
        sent._replace(path=f"{path}/"),
        sent._replace(query=f"{words}&x=1"),
        sent._replace(body=body + b" "),
        sent._replace(headers=headers | {"host": "keeper.example"}),
        sent._replace(headers=headers | {"x-amz-security-token": f"{token}."}),
    )
    for other in others:
        assert not is_signed_by(own, other, given_signature, time=time)
    assert not is_signed_by(signing_key(f"{key}x", given_signature), sent, given_signature, time=time)
    digit = f"{int(given_signature.signature[flipped], 16) ^ 1:x}"
    wrong = given_signature.signature[:flipped] + digit + given_signature.signature[flipped + 1 :]
    assert not is_signed_by(
        signing_key(key, given_signature), sent, given_signature._replace(signature=wrong), time=time
    )


GOOD = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host;x-amz-date, Signature={'a' * 64}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ("AWS4-HMAC-SHA256", "Bearer"),
        ("Credential=", "Credentials="),
        ("Signature=", "Signatur="),
        ("SignedHeaders=", "Headers="),
        ("host;x-amz-date", ""),
        ("host;x-amz-date", "x-amz-date;host"),
        ("host;x-amz-date", "host;host"),
        ("host;x-amz-date", "Host;x-amz-date"),
        ("host;x-amz-date", ";".join(f"a{number:03}" for number in range(65))),
        ("/aws4_request", "/aws4"),
        ("/us-east-1", ""),
        ("/us-east-1", "/us east"),
        ("AKIDEXAMPLE", ""),
        ("a" * 64, "a" * 63),
        ("a" * 64, "A" * 64),
    ],
)
def test_a_header_that_is_not_of_its_form_is_refused(old: str, new: str) -> None:
    assert parse_authorization(GOOD).key_id == "AKIDEXAMPLE"
    assert old in GOOD
    with pytest.raises(IncompleteSignature):
        parse_authorization(GOOD.replace(old, new))
