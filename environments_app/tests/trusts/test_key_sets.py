"""Which keys of a set are used."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from environments_app.tests.trusts.issuer import Issuer
from environments_app.trusts.jwt import document
from environments_app.trusts.jwt.document import (
    MAX_KEY_SET_BYTES,
    BadJson,
    BadKeySet,
    read_key_set,
    read_object,
)

PUBLIC = Issuer().public()


def of(*keys: Any, pasted: bool = False) -> list[tuple[str, str]]:
    return list(read_key_set(json.dumps({"keys": keys}), pasted=pasted))


def rsa(bits: int, exponent: int = 65_537) -> dict[str, str]:
    """Return a public key of a modulus of so many bits, which no library finds fault with."""
    numbers = {"n": 1 << bits - 1 | 1, "e": exponent}
    encoded = {
        name: urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
        for name, number in numbers.items()
    }
    return {"kty": "RSA", "kid": "x", **encoded}


def test_a_usable_key_is_found_by_algorithm_and_id() -> None:
    assert of(PUBLIC) == [("RS256", "one")]
    assert ("RS256", "x") in of(rsa(2048))
    assert ("RS256", "x") in of(rsa(8192))


@pytest.mark.parametrize(
    "other",
    [
        7,
        {},
        OctKey.generate_key(256).as_dict() | {"kid": "o", "alg": "RS256"},
        PUBLIC | {"kid": ""},
        PUBLIC | {"kid": 7},
        PUBLIC | {"kid": "x", "use": "enc"},
        PUBLIC | {"kid": "x", "alg": "RSA-OAEP"},
        PUBLIC | {"kid": "x", "alg": "ES256"},
        PUBLIC | {"kid": "x", "alg": None},
        PUBLIC | {"kid": "x", "alg": ["RS256"]},
        PUBLIC | {"kid": "x", "kty": ["RSA"]},
        PUBLIC | {"kid": "x", "n": "AQAB"},
        PUBLIC | {"kid": "x", "n": "A" * 2000},
        PUBLIC | {"kid": "x", "e": "A" * 100},
        PUBLIC | {"kid": "x", "n": 7},
        PUBLIC | {"kid": "x", "e": None},
        PUBLIC | {"kid": "x" * 1000},
        rsa(1024),
        rsa(2040),
        rsa(8200),
        # Each verification would take as long as the exponent is.
        rsa(2048, exponent=2**40 + 1),
        ECKey.generate_key("secp256k1").as_dict(private=False) | {"kid": "x"},
        ECKey.generate_key("P-384").as_dict(private=False) | {"kid": "x", "alg": "ES256"},
        ECKey.generate_key("P-256").as_dict(private=False) | {"kid": "x", "x": "!"},
    ],
)
def test_others_are_left_out(other: Any) -> None:
    assert of(PUBLIC, other) == [("RS256", "one")]


def test_two_keys_of_one_id_are_ambiguous() -> None:
    other = RSAKey.generate_key(2048).as_dict(private=False) | {"kid": "one"}

    with pytest.raises(BadKeySet):
        of(PUBLIC, other)


def test_a_private_key_is_not_used_and_not_taken() -> None:
    private = RSAKey.generate_key(2048).as_dict(private=True) | {"kid": "two"}

    assert of(PUBLIC, private) == [("RS256", "one")]
    with pytest.raises(BadKeySet, match="private"):
        of(PUBLIC, private, pasted=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": {}}',
        '{"keys": []}',
        '{"keys": [], "keys": []}',
        "x" * (MAX_KEY_SET_BYTES + 1),
    ],
)
def test_what_is_no_key_set_is_refused(text: str) -> None:
    with pytest.raises(BadKeySet):
        read_key_set(text)


def test_a_set_of_too_many_keys_is_refused() -> None:
    with pytest.raises(BadKeySet):
        of(*([PUBLIC] * 101))


def test_a_set_is_limited_to_the_last_key_and_byte() -> None:
    text = json.dumps({"keys": [PUBLIC]})
    assert read_key_set(text + " " * (MAX_KEY_SET_BYTES - len(text)))
    with pytest.raises(BadKeySet, match="too large"):
        read_key_set(text + " " * (MAX_KEY_SET_BYTES + 1 - len(text)))
    assert of(*[7] * (document._MAX_KEYS - 1), PUBLIC)
    with pytest.raises(BadKeySet, match="at most"):
        of(*[7] * document._MAX_KEYS, PUBLIC)


def test_json_is_read_strictly() -> None:
    assert read_object('{"a": {"b": [1]}}') == {"a": {"b": [1]}}
    names = {str(number): 1 for number in range(document._MAX_NAMES)}
    assert read_object(json.dumps(names)) == names
    for text in (
        json.dumps(names | {"more": 1}),
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": ["\\ud800"]}',
        '{"\\udfff": 1}',
        "[1]",
        "7",
        "{",
        b"\xff",
        "[" * 100_000,
        '{"a": ' + "[" * document._MAX_DEPTH + "]" * document._MAX_DEPTH + "}",
    ):
        with pytest.raises(BadJson):
            read_object(text)
