"""The validity of the identity provider's metadata and of its certificates."""

from base64 import b64decode
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from cryptography import x509
from django.conf import settings
from django.utils import timezone

from environments_app.errors import SamlRefused, SamlUnavailable
from environments_app.saml.protocol.xml_document import SIGNATURE, read_tree, text_of

_METADATA: Final = "{urn:oasis:names:tc:SAML:2.0:metadata}"
_ENTITY: Final = f"{_METADATA}EntityDescriptor"


class Described(NamedTuple):
    """When the last signing certificate expires, and the metadata itself (None: not stated)."""

    certificates_end: datetime
    valid_until: datetime | None

    @property
    def ends(self) -> datetime:
        return min(self.certificates_end, self.valid_until or self.certificates_end)


@lru_cache(maxsize=4)
def described(document: str, *, provider: str = "") -> Described:
    """Return the validity of metadata; `provider` selects one of several entities.

    Raises SamlUnavailable if it cannot be read, or names no certificate that can: then it is probably an
    error page.
    """
    try:
        root = read_tree(document.encode())
        found = [
            x509.load_der_x509_certificate(b64decode(text_of(each))).not_valid_after_utc
            for key in root.iter(f"{_METADATA}KeyDescriptor")
            if key.get("use") in {None, "signing"}
            for each in key.iter(f"{SIGNATURE}X509Certificate")
        ]
        ends = _valid_until(root, provider)
    except (SamlRefused, ValueError) as error:
        raise SamlUnavailable("The identity provider's metadata cannot be read.") from error
    if not found:
        raise SamlUnavailable("The identity provider's metadata names no signing certificate.")
    return Described(certificates_end=max(found), valid_until=ends)


def require_valid(document: str) -> None:
    """Refuse metadata whose own time is over, whenever it was loaded. Raises SamlUnavailable."""
    ends = described(document, provider=settings.KEEPER_SAML_IDP_ENTITY_ID).valid_until
    if ends is not None and ends <= timezone.now():
        raise SamlUnavailable(
            f"The identity provider's metadata was valid until {ends:%Y-%m-%d %H:%M} UTC: it has to publish "
            "new metadata, or its file has to be replaced."
        )


def _valid_until(root: Element, provider: str) -> datetime | None:
    """Return the earliest `validUntil` (SAML 2.0 metadata, 2.3.1); raises ValueError if one is no time."""
    entities = [each for each in root.iter(_ENTITY) if provider in {"", each.get("entityID")}]
    holders = [root, *entities, *(role for each in entities for role in each)]
    moments = [
        datetime.fromisoformat(each.attrib["validUntil"]) for each in holders if "validUntil" in each.attrib
    ]
    # SAML's times are in UTC (core, 1.3.3).
    return min((each if each.tzinfo else each.replace(tzinfo=UTC) for each in moments), default=None)
