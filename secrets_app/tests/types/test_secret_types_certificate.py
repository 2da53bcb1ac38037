"""Certificates, compared with what OpenSSL itself says where it is installed."""

import ipaddress
import subprocess
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import NameOID

from secrets_app.tests.refusals import refuse
from secrets_app.tests.types.test_secret_types_ssh_key import armor, pem
from secrets_app.types.registry import SecretType, inspect

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


END = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)


@cache
def certificate(
    *names: str, common_name: str = "db.example.com", issuer: str = "Example CA", end: datetime = END
) -> str:
    builder = unsigned(common_name, issuer, end)
    if names:
        general: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        general.append(x509.IPAddress(ipaddress.ip_address("10.0.0.1")))
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return signed(builder)


def unsigned(
    common_name: str = "db.example.com", issuer: str = "Example CA", end: datetime = END, key: Any = KEY
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(0xABCDEF)
        .not_valid_before(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        .not_valid_after(end)
    )


def signed(builder: x509.CertificateBuilder) -> str:
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_it_derives_the_facts_of_the_leaf() -> None:
    facts = inspect(SecretType.CERTIFICATE, certificate("db.example.com", "*.example.org"))
    assert len(str(facts.pop("fingerprint_sha256"))) == 64
    assert facts == {
        "subject": "CN=db.example.com",
        "issuer": "CN=Example CA",
        "serial": "abcdef",
        "not_before": "2026-01-02T03:04:05Z",
        "not_after": "2027-01-02T03:04:05Z",
        "sans": ["db.example.com", "*.example.org", "10.0.0.1"],
        "san_count": 3,
        "self_issued": False,
        "chain_length": 1,
        "key_algorithm": "ECDSA",
        "key_bits": 256,
        "has_private_key": False,
    }


def test_it_agrees_with_openssl() -> None:
    text = certificate("a.example")
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-serial"],
        input=text,
        check=True,
        capture_output=True,
        text=True,
    )
    fingerprint, serial = (line.partition("=")[2] for line in shown.stdout.splitlines())
    facts = inspect(SecretType.CERTIFICATE, text)
    assert facts["fingerprint_sha256"] == fingerprint.replace(":", "").lower()
    assert facts["serial"] == serial.lower()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("encoding", ["PKCS8", "PEM"])
def test_it_takes_the_key_of_the_leaf_before_or_after(encoding: str, before: bool) -> None:
    key, chain = pem(KEY, encoding), certificate() + certificate(common_name="Example CA")
    facts = inspect(SecretType.CERTIFICATE, key + chain if before else chain + key)
    assert facts["has_private_key"] is True
    assert facts["chain_length"] == 2
    assert facts["subject"] == "CN=db.example.com"
    assert "encrypted" not in facts


@pytest.mark.parametrize("encoding", ["PKCS8", "PEM"])
def test_it_takes_an_encrypted_key_unseen(encoding: str) -> None:
    facts = inspect(SecretType.CERTIFICATE, certificate() + pem(OTHER_KEY, encoding, b"abc"))
    assert (facts["has_private_key"], facts["encrypted"]) == (True, True)


def test_it_takes_text_around_the_blocks_and_windows_line_ends() -> None:
    text = "subject=/CN=x\n" + certificate() + "issuer=/CN=y\n"
    assert inspect(SecretType.CERTIFICATE, text) == inspect(SecretType.CERTIFICATE, certificate())
    crlf = certificate().replace("\n", "\r\n")
    assert inspect(SecretType.CERTIFICATE, crlf) == inspect(SecretType.CERTIFICATE, certificate())


def test_it_says_that_a_certificate_is_self_issued() -> None:
    assert inspect(SecretType.CERTIFICATE, certificate(issuer="db.example.com"))["self_issued"] is True


def test_it_lists_a_hundred_alternative_names_and_counts_all() -> None:
    facts = inspect(SecretType.CERTIFICATE, certificate(*(f"n{number}.example" for number in range(150))))
    assert isinstance(facts["sans"], list)
    assert (len(facts["sans"]), facts["san_count"]) == (100, 151)


CERTIFICATE = certificate()


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("hunter2", "no PEM certificate"),
        (pem(KEY), "no PEM certificate"),
        (CERTIFICATE[:200], "no end line"),
        (CERTIFICATE.replace("MII", "hunter2!", 1), "not valid Base64"),
        (CERTIFICATE.replace("M", "N", 1), "Certificate 1 of the chain"),
        (CERTIFICATE + armor("CERTIFICATE", b"hunter2"), "Certificate 2 of the chain"),
        (CERTIFICATE + pem(OTHER_KEY), "does not belong to the first"),
        (CERTIFICATE + pem(KEY) + pem(KEY), "more than one private key"),
        (CERTIFICATE + armor("PRIVATE KEY", b"hunter2"), "unsupported kind"),
        (CERTIFICATE + armor("EC PRIVATE KEY", b"hunter2"), "cannot be read"),
        (CERTIFICATE + armor("CERTIFICATE REQUEST", b"hunter2"), "other than certificates"),
        (CERTIFICATE + armor("OPENSSH PRIVATE KEY", b"hunter2"), "other than certificates"),
        ("-----BEGIN CERTIFICATE-----\n" * 2_300, "no end line"),
        ("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n", "not valid Base64"),
    ],
)
def test_it_refuses_what_is_not_a_chain_with_its_key(value: str, hint: str) -> None:
    refuse(SecretType.CERTIFICATE, value, hint)


def test_it_refuses_an_extension_that_is_none_when_the_value_is_written() -> None:
    names = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"hunter2")
    refuse(SecretType.CERTIFICATE, signed(unsigned().add_extension(names, critical=False)), "Certificate 1")


def test_a_private_key_belongs_to_no_certificate_of_another_kind_of_key() -> None:
    text = signed(unsigned(key=x25519.X25519PrivateKey.generate()))
    assert "key_algorithm" not in inspect(SecretType.CERTIFICATE, text)
    refuse(SecretType.CERTIFICATE, text + pem(KEY), "does not belong to the first")
