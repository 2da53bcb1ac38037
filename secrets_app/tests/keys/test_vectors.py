"""The published vectors: what was sealed once opens for ever."""

import hmac
import json
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from secrets_app.envelope import open_envelope
from secrets_app.tests.keys.vectors import PATH, context_of, data_key_of, envelope_of

VECTORS: list[dict[str, Any]] = json.loads(PATH.read_text(encoding="utf-8"))["vectors"]

every_vector = pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])


@every_vector
def test_it_seals_to_the_published_bytes(case: dict[str, Any]) -> None:
    assert envelope_of(case).hex() == case["envelope"]


@every_vector
def test_it_opens_the_published_bytes(case: dict[str, Any]) -> None:
    opened = open_envelope(
        bytes.fromhex(case["envelope"]), data_key_for=lambda _id: data_key_of(case), context=context_of(case)
    )
    assert opened.hex() == case["plaintext"]


@every_vector
def test_another_reading_of_the_design_opens_them(case: dict[str, Any]) -> None:
    envelope = bytes.fromhex(case["envelope"])
    key_id, salt = UUID(case["data_key_id"]).bytes, bytes.fromhex(case["salt"])
    expand = HKDFExpand(algorithm=SHA512(), length=64, info=b"keeper/v1\x01" + key_id + salt)
    okm = expand.derive(bytes.fromhex(case["data_key"]))
    parts = [
        UUID(case["deployment"]).bytes,
        case["label"].encode(),
        UUID(case["row"]).bytes,
        UUID(case["environment"]).bytes,
        *(bytes.fromhex(part) for part in case["parent"]),
    ]
    header = b"KPR\x01\x01" + key_id + salt + okm[32:] + bytes.fromhex(case["nonce"])
    aad = header + b"".join(len(part).to_bytes(2, "big") + part for part in parts)

    assert hmac.compare_digest(envelope[:97], header)
    assert AESGCM(okm[:32]).decrypt(header[85:], envelope[97:], aad).hex() == case["plaintext"]
