"""Whether the identity provider's metadata is there, and how long its certificates are good for."""

from base64 import b64decode
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from django.conf import settings

from environments_app.errors import SamlRefused, SamlUnavailable
from environments_app.saml.document import SIGNATURE, read_tree, text_of
from environments_app.saml.metadata import fetched, from_file

_METADATA: Final = "{urn:oasis:names:tc:SAML:2.0:metadata}"


def certificates_end() -> datetime:
    """Read the metadata where it comes from, and return when the last signing certificate in it ends.

    Nothing is kept and no database is asked. Raises SamlUnavailable if the metadata cannot be had, or
    names no certificate that can be read.
    """
    file = settings.KEEPER_SAML_METADATA_FILE
    return _end(from_file(Path(file)) if file else fetched(settings.KEEPER_SAML_METADATA_URL))


def _end(document: str) -> datetime:
    try:
        root = read_tree(document.encode())
        found = [
            x509.load_der_x509_certificate(b64decode(text_of(each))).not_valid_after_utc
            for key in root.iter(f"{_METADATA}KeyDescriptor")
            if key.get("use") in {None, "signing"}
            for each in key.iter(f"{SIGNATURE}X509Certificate")
        ]
    except (SamlRefused, ValueError) as error:
        raise SamlUnavailable("The identity provider's metadata cannot be read.") from error
    if not found:
        raise SamlUnavailable("The identity provider's metadata names no signing certificate.")
    return max(found)
