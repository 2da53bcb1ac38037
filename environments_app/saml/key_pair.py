"""Keeper's own key for SAML: it signs requests, and the identity provider knows its certificate."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.utils import timezone

_BITS: Final = 3072
_YEARS: Final = 10


def key_pair() -> tuple[str, str]:
    """Return the paths of key and certificate, made on first use where the settings name none."""
    key, certificate = Path(settings.KEEPER_SAML_KEY_FILE), Path(settings.KEEPER_SAML_CERTIFICATE_FILE)
    if not key.exists() and not certificate.exists() and key.parent == Path(settings.KEEPER_DATA_DIR):
        _make(key, certificate)
    return str(key), str(certificate)


def _make(key_path: Path, certificate_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if not _place(key_path, pem):
        # Another process was first; it writes the certificate as well.
        return
    certificate = _self_signed(key)
    _place(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Keeper")])
    now = timezone.now()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .sign(key, hashes.SHA256())
    )


def _place(path: Path, content: bytes) -> bool:
    """Write a file whole, with mode 0600; False if there is one already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True
