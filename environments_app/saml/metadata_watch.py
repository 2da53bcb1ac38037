"""Whether the identity provider's metadata is there, and how long it is good for."""

from datetime import datetime
from pathlib import Path

from django.conf import settings

from environments_app.saml.metadata import fetched, from_file
from environments_app.saml.metadata_validity import described, require_valid


def metadata_ends() -> datetime:
    """Read the metadata where it comes from, and return when it, or its last signing certificate, ends.

    Nothing is kept and no database is asked. Raises SamlUnavailable if the metadata cannot be had, is
    not valid any more, or names no certificate that can be read.
    """
    file = settings.KEEPER_SAML_METADATA_FILE
    document = from_file(Path(file)) if file else fetched(settings.KEEPER_SAML_METADATA_URL)
    require_valid(document)
    return described(document, provider=settings.KEEPER_SAML_IDP_ENTITY_ID).ends
