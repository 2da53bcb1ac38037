"""pysaml2's configuration from Keeper's settings and the provider's metadata, and Keeper's own SAML key.

Keeper's key signs requests, and the identity provider knows its certificate.
"""

import os
import shutil
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import saml2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from saml2.config import SPConfig
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

from environments_app.errors import SignOnUnavailable
from environments_app.saml.metadata import only_provider, provider_metadata, require_valid
from environments_app.saml.protocol.assertion_rules import DIRECTORY_IDS, Expected

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


ACS_PATH: Final = "/saml/acs"
LOGOUT_PATH: Final = "/saml/logout"
METADATA_PATH: Final = "/saml/metadata"


def load(_request: HttpRequest | None = None) -> SPConfig:
    """Return the configuration as it is now (djangosaml2's SAML_CONFIG_LOADER).

    Raises SignOnUnavailable.
    """
    document = provider_metadata()
    # Each time: what is loaded is kept, and its time may be over since.
    require_valid(document)
    document = only_provider(document, provider=settings.KEEPER_SAML_IDP_ENTITY_ID)
    return _loaded(document, settings.KEEPER_URL, settings.KEEPER_SAML_ENTITY_ID, *key_pair())


def provider_id(config: SPConfig) -> str:
    """Return the entity id of the identity provider. Raises SignOnUnavailable unless there is one."""
    providers = list(config.metadata.with_descriptor("idpsso"))
    if len(providers) != 1:
        raise SignOnUnavailable("The metadata does not name exactly one identity provider.")
    if saml2.BINDING_HTTP_REDIRECT not in config.metadata.service(
        providers[0], "idpsso_descriptor", "single_sign_on_service"
    ):
        raise SignOnUnavailable("The identity provider does not take requests by the redirect binding.")
    return str(providers[0])


def expected(config: SPConfig) -> Expected:
    """Return the values that a response for this installation must have."""
    return Expected(
        issuer=provider_id(config),
        address=settings.KEEPER_URL + ACS_PATH,
        audience=config.entityid,
        skew=settings.KEEPER_SAML_CLOCK_SKEW_SECONDS,
        attributes=_attributes(),
    )


def _attributes() -> frozenset[str]:
    """Return the names of the attributes that are read of a person."""
    names = (
        settings.KEEPER_SAML_USERNAME_ATTRIBUTE,
        settings.KEEPER_SAML_EMAIL_ATTRIBUTE,
        settings.KEEPER_SAML_NAME_ATTRIBUTE,
        settings.KEEPER_SAML_GROUPS_ATTRIBUTE,
        *DIRECTORY_IDS,
    )
    return frozenset(filter(None, names))


def expected_logout(config: SPConfig) -> Expected:
    """Return the values that a logout request from the provider must have."""
    return replace(expected(config), address=settings.KEEPER_URL + LOGOUT_PATH)


def signing_certificates(config: SPConfig) -> list[str]:
    """Return the certificates by which the identity provider signs, as base64."""
    certificates = config.metadata.certs(provider_id(config), "idpsso", "signing")
    return [str(certificate) for _name, certificate in certificates]


def service_provider() -> dict[str, Any]:
    """Return pysaml2's configuration for Keeper, without files and metadata; a system check reads it."""
    public = settings.KEEPER_URL
    return {
        "entityid": settings.KEEPER_SAML_ENTITY_ID or public + METADATA_PATH,
        "accepted_time_diff": settings.KEEPER_SAML_CLOCK_SKEW_SECONDS,
        "allow_unknown_attributes": True,
        "only_use_keys_in_metadata": True,
        "delete_tmpfiles": True,
        "service": {
            "sp": {
                "name": "Keeper",
                "endpoints": {
                    "assertion_consumer_service": [(public + ACS_PATH, saml2.BINDING_HTTP_POST)],
                    "single_logout_service": [(public + LOGOUT_PATH, saml2.BINDING_HTTP_REDIRECT)],
                },
                "allow_unsolicited": False,
                "authn_requests_signed": True,
                "logout_requests_signed": True,
                "want_response_signed": True,
                "want_assertions_signed": True,
                "signing_algorithm": SIG_RSA_SHA256,
                "digest_algorithm": DIGEST_SHA256,
            }
        },
    }


@lru_cache(maxsize=2)
def _loaded(document: str, _public: str, _entity_id: str, key: str, certificate: str) -> SPConfig:
    # Parsing metadata and reading keys takes a while; the arguments are what it depends on.
    program = shutil.which("xmlsec1")
    if program is None:
        raise SignOnUnavailable("The program xmlsec1 is not installed.")
    config = SPConfig()
    try:
        config.load(
            {
                **service_provider(),
                "xmlsec_binary": program,
                "key_file": key,
                "cert_file": certificate,
                "metadata": {"inline": [document]},
            }
        )
    except (saml2.SAMLError, OSError, ValueError, KeyError, AttributeError) as error:
        raise SignOnUnavailable("The identity provider's metadata cannot be understood.") from error
    return config
