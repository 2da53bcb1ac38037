"""New key pairs by the name of their algorithm, and certificates and requests made with them.

One place makes keys for SSH and certificates alike. A certificate is self-signed with its key; a request
goes to someone else to sign.
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secrets_app.errors import InvalidOption
from secrets_app.types.generators.options import Generated, Generator, Option
from secrets_app.types.registry import SecretType

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_ALGORITHMS: dict[str, Callable[[], PrivateKey]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa-3072": lambda: rsa.generate_private_key(public_exponent=65537, key_size=3072),
    "rsa-4096": lambda: rsa.generate_private_key(public_exponent=65537, key_size=4096),
}


def algorithm_option(default: str) -> Option:
    """Return the option that chooses the algorithm."""
    return Option(
        name="algorithm", label="Algorithm", kind="choice", default=default, choices=tuple(_ALGORITHMS)
    )


def new_key(algorithm: str) -> PrivateKey:
    """Return a new private key; the randomness is OpenSSL's, seeded by the kernel."""
    return _ALGORITHMS[algorithm]()


def make(*, algorithm: str, comment: str) -> Generated:
    """Return a new key; `comment` ends the public line (as the name of the key in authorized_keys)."""
    key = new_key(algorithm)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return Generated(private.decode(), SecretType.SSH_KEY, f"{public.decode()} {comment}".rstrip())


SSH_KEY = Generator(
    kind="ssh_key",
    label="SSH key",
    secret_type=SecretType.SSH_KEY,
    make=make,
    options=(
        algorithm_option("ed25519"),
        Option(
            name="comment",
            label="Comment",
            kind="text",
            default="",
            maximum=255,
            help="Added to the end of the public key.",
        ),
    ),
)


# A label of RFC 1035, with the underscore that service names have; the first one may be a wildcard.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_MAX_DNS_LENGTH = 253
# Clocks of other machines may be a little behind.
_CLOCK_TOLERANCE = timedelta(minutes=5)


def make_certificate(*, common_name: str, sans: list[str], days: int, algorithm: str) -> Generated:
    """Return a self-signed end-entity certificate and its private key (PKCS#8) in one PEM text.

    The certificate alone is `public`. Raises InvalidOption for a bad name.
    """
    key = new_key(algorithm)
    subject, alternative = _subject(common_name), _alternative_names(common_name, sans)
    start = datetime.now(UTC) - _CLOCK_TOLERANCE
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(alternative, critical=False)
        .sign(key, _signature_hash(key))
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return Generated(pem + _pkcs8(key), SecretType.CERTIFICATE, pem)


def make_request(*, common_name: str, sans: list[str], algorithm: str) -> Generated:
    """Return a private key (PKCS#8) whose `public` is a certificate signing request (PKCS#10) for it.

    Raises InvalidOption for a bad name.
    """
    key = new_key(algorithm)
    request = (
        x509.CertificateSigningRequestBuilder(_subject(common_name))
        .add_extension(_alternative_names(common_name, sans), critical=False)
        .sign(key, _signature_hash(key))
    )
    return Generated(_pkcs8(key), SecretType.TEXT, request.public_bytes(serialization.Encoding.PEM).decode())


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_names(common_name: str, sans: list[str]) -> x509.SubjectAlternativeName:
    # Clients look at the alternative names only (RFC 9525), so the common name is one when none are given.
    if sans:
        return x509.SubjectAlternativeName([_general_name(name, "sans") for name in dict.fromkeys(sans)])
    return x509.SubjectAlternativeName([_general_name(common_name, "common_name")])


def _general_name(name: str, field: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass  # a DNS name, then
    if len(name) > _MAX_DNS_LENGTH or _DNS_NAME.fullmatch(name) is None:
        raise InvalidOption(
            field, "Give DNS names (international ones as xn--…) or IP addresses as alternative names."
        )
    return x509.DNSName(name)


def _signature_hash(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _pkcs8(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


_NAMES = (
    Option(
        name="common_name",
        label="Common name",
        kind="text",
        default="localhost",
        minimum=1,
        maximum=64,
        help="For example, db.example.com",
    ),
    Option(
        name="sans",
        label="Subject alternative names",
        kind="list",
        default=[],
        maximum=100,
        help="DNS names and IP addresses. Defaults to the common name.",
    ),
)

CERTIFICATE = Generator(
    kind="certificate",
    label="Self-signed certificate",
    secret_type=SecretType.CERTIFICATE,
    make=make_certificate,
    options=(
        *_NAMES,
        Option(name="days", label="Days valid", kind="integer", default=365, minimum=1, maximum=3650),
        algorithm_option("ecdsa-p256"),
    ),
)
CSR = Generator(
    kind="csr",
    label="Private key with certificate request",
    secret_type=SecretType.TEXT,
    make=make_request,
    options=(*_NAMES, algorithm_option("ecdsa-p256")),
)
