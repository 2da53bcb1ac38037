"""pysaml2's configuration, made of Keeper's settings and the identity provider's metadata."""

import shutil
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import saml2
from django.conf import settings
from django.http import HttpRequest
from saml2.config import SPConfig
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

from environments_app.errors import SamlUnavailable
from environments_app.saml.key_pair import key_pair
from environments_app.saml.metadata import provider_metadata
from environments_app.saml.metadata_validity import only_provider, require_valid
from environments_app.saml.protocol.assertion_rules import Expected

ACS_PATH: Final = "/saml/acs"
LOGOUT_PATH: Final = "/saml/logout"
METADATA_PATH: Final = "/saml/metadata"


def load(_request: HttpRequest | None = None) -> SPConfig:
    """Return the configuration as it is now (djangosaml2's SAML_CONFIG_LOADER).

    Raises SamlUnavailable.
    """
    document = provider_metadata()
    # Each time: what is loaded is kept, and its time may be over since.
    require_valid(document)
    document = only_provider(document, provider=settings.KEEPER_SAML_IDP_ENTITY_ID)
    return _loaded(document, settings.KEEPER_URL, settings.KEEPER_SAML_ENTITY_ID, *key_pair())


def provider_id(config: SPConfig) -> str:
    """Return the entity id of the identity provider. Raises SamlUnavailable unless there is one."""
    found = list(config.metadata.with_descriptor("idpsso"))
    if len(found) != 1:
        raise SamlUnavailable("The metadata does not name exactly one identity provider.")
    if saml2.BINDING_HTTP_REDIRECT not in config.metadata.service(
        found[0], "idpsso_descriptor", "single_sign_on_service"
    ):
        raise SamlUnavailable("The identity provider does not take requests by the redirect binding.")
    return str(found[0])


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
    named = (
        settings.KEEPER_SAML_USERNAME_ATTRIBUTE,
        settings.KEEPER_SAML_EMAIL_ATTRIBUTE,
        settings.KEEPER_SAML_NAME_ATTRIBUTE,
        settings.KEEPER_SAML_GROUPS_ATTRIBUTE,
    )
    return frozenset(filter(None, named))


def expected_logout(config: SPConfig) -> Expected:
    """Return the values that a logout request from the provider must have."""
    return replace(expected(config), address=settings.KEEPER_URL + LOGOUT_PATH)


def signing_certificates(config: SPConfig) -> list[str]:
    """Return the certificates by which the identity provider signs, as base64."""
    found = config.metadata.certs(provider_id(config), "idpsso", "signing")
    return [str(certificate) for _name, certificate in found]


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
        raise SamlUnavailable("The program xmlsec1 is not installed.")
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
        raise SamlUnavailable("The identity provider's metadata cannot be understood.") from error
    return config
