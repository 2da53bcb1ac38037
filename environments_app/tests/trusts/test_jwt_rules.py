"""What a trust's rules make of tokens: good ones, and each bad input."""

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from environments_app.tests.trusts.issuer import Issuer, part
from environments_app.trusts.jwt.document import ALGORITHMS, MAX_BYTES, BadJwt, parse_jwt, read_key_set
from environments_app.trusts.jwt.rules import TrustRules, examine, first_failure

ISSUER = Issuer()
NOW = int(time.time())


def rules(**changes: Any) -> TrustRules:
    given: dict[str, Any] = {
        "issuer": ISSUER.url, "audience": "https://keeper.test", "algorithm": "RS256",
        "claims": {"sub": "a-service"}, "single_use": True,
    }  # fmt: skip
    return TrustRules(**(given | changes))


def failure(token: str, issuer: Issuer = ISSUER, **changes: Any) -> str:
    """Return why a token is refused, "" if it is not."""
    judged = rules(**changes)
    try:
        jwt = parse_jwt(token)
    except BadJwt as error:
        return error.reason
    key = read_key_set(issuer.jwks()).get((judged.algorithm, jwt.key_id))
    failed = first_failure(jwt, judged, key, now=time.time())
    return failed.reason if failed else ""


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSAKey.generate_key(2048), "RS256"),
        (RSAKey.generate_key(2048), "RS384"),
        (RSAKey.generate_key(2048), "RS512"),
        (RSAKey.generate_key(2048), "PS256"),
        (ECKey.generate_key("P-256"), "ES256"),
        (ECKey.generate_key("P-384"), "ES384"),
        (ECKey.generate_key("P-521"), "ES512"),
        (OKPKey.generate_key("Ed25519"), "EdDSA"),
    ],
    ids=ALGORITHMS,
)
def test_a_token_of_each_algorithm_is_accepted(key: Any, algorithm: str) -> None:
    issuer = Issuer(key=key, algorithm=algorithm)

    assert failure(issuer.sign(), issuer, algorithm=algorithm) == ""
    for other in {*ALGORITHMS} - {algorithm}:
        assert failure(issuer.sign(), issuer, algorithm=other) == "jwt-algorithm"


@pytest.mark.parametrize(
    ("stated", "signed"), [("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS512"), ("RS512", "RS256")]
)
def test_a_key_that_states_its_algorithm_is_for_no_other(stated: str, signed: str) -> None:
    key = RSAKey.generate_key(2048)
    token = Issuer(key=key, algorithm=signed).sign()

    assert failure(token, Issuer(key=key, algorithm=stated), algorithm=signed) == "jwt-unknown-key"
    missing = [
        check
        for check in examine(parse_jwt(token), rules(algorithm=signed), None, now=NOW)
        if not check.passed
    ]
    assert (missing[0].rule, missing[0].expected) == ("key", f"a key of the issuer for {signed}")
    # One that states none is for each of them, and the trust names the one.
    silent = json.loads(Issuer(key=key).jwks())["keys"][0]
    del silent["alg"]
    keys = read_key_set(json.dumps({"keys": [silent]}))
    assert {algorithm for algorithm, _ in keys} == {"RS256", "RS384", "RS512", "PS256"}


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "none", "RS1", "ES256K", "PS384", "PS512"])
def test_no_other_algorithm_can_be_had_by_a_header(algorithm: str) -> None:
    for wanted in ALGORITHMS:
        assert failure(ISSUER.sign({"alg": algorithm}), algorithm=wanted) == "jwt-algorithm"


@pytest.mark.parametrize(
    ("audience", "alone", "listed"),
    [
        ("https://keeper.test", True, True),
        (["https://keeper.test"], True, True),
        (["https://other.test", "https://keeper.test"], False, True),
        (["https://other.test"], False, False),
        ([], False, False),
        (["https://keeper.test", 1], False, False),
        (["https://keeper.test", None], False, False),
        (["https://keeper.test", ["https://other.test"]], False, False),
        ([["https://keeper.test"]], False, False),
        ({"https://keeper.test": 1}, False, False),
        ("https://other.test https://keeper.test", False, False),
        (["https://keeper.test/", "HTTPS://KEEPER.TEST"], False, False),
    ],
    ids=range(12),
)
def test_an_audience_among_others_counts_where_the_platform_lists_them(
    audience: Any, alone: bool, listed: bool
) -> None:
    token = ISSUER.sign(aud=audience)

    assert (failure(token) == "") == alone
    assert (failure(token, lists_audiences=True) == "") == listed


@pytest.mark.parametrize(
    ("end", "accepted"),
    [("\n", True), ("\r\n", True), ("\n\n", False), (" ", False), ("\r", True), ("\t", False)],
)
def test_the_line_feed_of_a_file_is_no_part_of_a_token(end: str, accepted: bool) -> None:
    assert (failure(ISSUER.sign() + end) == "") == accepted
    assert failure("\n" + ISSUER.sign()) == "jwt-malformed"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://other.test"}, "jwt-issuer"),
        ({"iss": ISSUER.url + "/"}, "jwt-issuer"),
        ({"iss": [ISSUER.url]}, "jwt-issuer"),
        ({"iss": ...}, "jwt-issuer"),
        ({"aud": "https://other.test"}, "jwt-audience"),
        ({"aud": ["https://keeper.test", "https://other.test"]}, "jwt-audience"),
        ({"aud": ["https://other.test"]}, "jwt-audience"),
        ({"aud": []}, "jwt-audience"),
        ({"aud": ...}, "jwt-audience"),
        ({"exp": NOW - 31}, "jwt-expired"),
        ({"exp": ...}, "jwt-expired"),
        ({"exp": "soon"}, "jwt-expired"),
        ({"exp": True}, "jwt-expired"),
        ({"exp": 1e300}, "jwt-expired"),
        ({"exp": 10**400}, "jwt-expired"),
        ({"exp": 253402300799}, "jwt-expired"),
        ({"iat": 10**400}, "jwt-not-yet-valid"),
        ({"iat": -(10**400)}, "jwt-not-yet-valid"),
        ({"nbf": 10**400}, "jwt-not-yet-valid"),
        ({"iat": NOW + 3600}, "jwt-not-yet-valid"),
        ({"iat": ...}, "jwt-not-yet-valid"),
        ({"nbf": NOW + 3600}, "jwt-not-yet-valid"),
        ({"nbf": None}, "jwt-not-yet-valid"),
        ({"iat": NOW - 3700}, "jwt-too-old"),
        ({"sub": ...}, "jwt-subject"),
        ({"sub": ""}, "jwt-subject"),
        ({"sub": {"a-service": 1}}, "jwt-subject"),
        ({"sub": "another"}, "jwt-claim"),
        ({"jti": ...}, "jwt-no-id"),
        ({"jti": 7}, "jwt-no-id"),
        ({"jti": "i" * 201}, "jwt-no-id"),
    ],
)
def test_wrong_claims_are_refused(changes: dict[str, Any], reason: str) -> None:
    assert failure(ISSUER.sign(**changes)) == reason


def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())

    assert failure(ISSUER.sign(exp=now - 5)) == ""
    assert failure(ISSUER.sign(iat=now + 5, nbf=now + 5)) == ""


def test_an_audience_may_be_a_list_of_one() -> None:
    assert failure(ISSUER.sign(aud=["https://keeper.test"])) == ""


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "none"}, "jwt-algorithm"),
        ({"alg": "HS256"}, "jwt-algorithm"),
        ({"alg": "RS512"}, "jwt-algorithm"),
        ({"alg": ...}, "jwt-algorithm"),
        ({"kid": ...}, "jwt-no-kid"),
        ({"kid": 7}, "jwt-no-kid"),
        ({"kid": "other"}, "jwt-unknown-key"),
        ({"crit": ["exp"]}, "jwt-header"),
        ({"b64": False}, "jwt-header"),
        ({"cty": "JWT"}, "jwt-header"),
        ({"typ": "logout+jwt"}, "jwt-header"),
    ],
)
def test_wrong_headers_are_refused(header: dict[str, Any], reason: str) -> None:
    claims = json.dumps(ISSUER.claims()).encode()
    whole = {"alg": "RS256", "kid": "one"} | header
    token = ISSUER.forge({name: value for name, value in whole.items() if value is not ...}, claims)

    assert failure(token) == reason


def test_a_header_that_can_be_read_in_two_ways_is_refused() -> None:
    _, claims, _ = ISSUER.sign().split(".")
    for header in (
        b'{"alg": "RS256", "kid": "one", "alg": "none"}',
        b'{"alg": "RS256", "kid": "two", "kid": "one"}',
    ):
        signing = f"{part(header)}.{claims}"
        signature = jws.JWSRegistry.algorithms["RS256"].sign(signing.encode(), ISSUER.key)
        assert failure(f"{signing}.{part(signature)}") == "jwt-duplicate-claim"


def test_a_key_in_the_header_is_not_used() -> None:
    stranger = Issuer(key=RSAKey.generate_key(2048))
    token = stranger.sign({"jwk": stranger.public(), "jku": "https://evil.test/keys"})

    assert failure(token) == "jwt-signature"


def test_an_unsigned_or_symmetric_token_is_refused() -> None:
    claims = part(json.dumps(ISSUER.claims()).encode())

    assert failure(f"{part(b'{}')}.{claims}.") == "jwt-malformed"
    assert (
        failure(f"{part(json.dumps({'alg': 'none', 'kid': 'one'}).encode())}.{claims}.AA") == "jwt-algorithm"
    )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"sub": "a-service", "sub": "b"}', "jwt-duplicate-claim"),
        (b'{"x": {"sub": 1, "sub": 2}}', "jwt-duplicate-claim"),
        (b'{"exp": NaN}', "jwt-malformed"),
        (b"[" * 3000, "jwt-malformed"),
        (b'{"x":' * 12 + b"1" + b"}" * 12, "jwt-malformed"),
        (b"[]", "jwt-malformed"),
        (b"\xff", "jwt-malformed"),
        (b"", "jwt-malformed"),
    ],
)
def test_ambiguous_claims_are_refused(payload: bytes, reason: str) -> None:
    assert failure(ISSUER.sign_payload(payload)) == reason


def test_oversized_encrypted_and_nested_tokens_are_refused() -> None:
    inner = ISSUER.sign()

    assert failure(ISSUER.sign(filler="x" * MAX_BYTES)) == "jwt-too-large"
    assert failure(f"{inner}.{inner}.AA"[: MAX_BYTES - 1]) == "jwt-malformed"
    assert failure(ISSUER.sign_payload(inner.encode())) == "jwt-malformed"


def test_two_spellings_of_one_token_are_not_accepted() -> None:
    header, claims, signature = ISSUER.sign().split(".")

    assert failure(f"{header}=.{claims}.{signature}") == "jwt-malformed"
    assert failure(f" {header}.{claims}.{signature}") == "jwt-malformed"
    # 342 characters of base64url end with two unused bits.
    last = signature[:-1] + chr(ord(signature[-1]) + 1)
    assert failure(f"{header}.{claims}.{last}") in {"jwt-malformed", "jwt-signature"}


def test_a_refused_value_is_refused() -> None:
    token = ISSUER.sign(event_name="pull_request_target")

    assert failure(token, refused={"event_name": "pull_request_target"}) == "jwt-claim"
    assert failure(token) == ""


def test_all_rules_are_reported() -> None:
    checks = list(examine(parse_jwt(ISSUER.sign(sub="another", aud="else")), rules(), None, now=time.time()))

    assert {check.rule for check in checks if not check.passed} == {"key", "signature", "aud", "sub"}


@example(b"\x00", 0)
@example(b"\xff" * 200, 10**6)
@example(b'{"alg":"none"}', 0)
@given(st.binary(min_size=1, max_size=200), st.integers(0, 10**6))
def test_no_changed_token_is_accepted(junk: bytes, place: int) -> None:
    token = ISSUER.sign()
    start = place % len(token)
    changed = token[:start] + part(junk) + token[start + 1 :]

    assert changed == token or failure(changed)


@example("")
@example("..")
@example("e30.e30.")
@example("\x00.\ud800.é")
@given(st.text(max_size=300))
def test_any_text_is_judged(text: str) -> None:
    assert failure(text)
