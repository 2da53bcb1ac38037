"""The identity provider's metadata: read from a file, or fetched by the outbound rule and kept."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import requests
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.network.outbound import session
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.errors import AnswerTooLarge, OutboundError
from environments_app.errors import SamlUnavailable
from environments_app.models import SamlProvider
from environments_app.saml.metadata_validity import described, require_valid

_MAX_BYTES: Final = 1024 * 1024
# The schedule refreshes it hourly; older metadata is fetched at a sign-in.
_STALE_AFTER: Final = timedelta(days=2)


def provider_metadata() -> str:
    """Return the metadata to believe now; the network is used only if there is none recently.

    Raises SamlUnavailable.
    """
    if settings.KEEPER_SAML_METADATA_FILE:
        return from_file(Path(settings.KEEPER_SAML_METADATA_FILE))
    rows = SamlProvider.objects.filter(url=settings.KEEPER_SAML_METADATA_URL)
    genuine = verified_rows(rows)
    if genuine and genuine[0].fetched_at > timezone.now() - _STALE_AFTER:
        return str(genuine[0].document)
    try:
        return refresh_metadata()
    except SamlUnavailable:
        if not genuine:
            raise
        return str(genuine[0].document)


def metadata_ends() -> datetime:
    """Read the metadata where it comes from, and return when it, or its last signing certificate, ends.

    Nothing is kept and no database is asked. Raises SamlUnavailable if the metadata cannot be had, is
    not valid any more, or names no certificate that can be read.
    """
    file = settings.KEEPER_SAML_METADATA_FILE
    document = from_file(Path(file)) if file else fetched(settings.KEEPER_SAML_METADATA_URL)
    require_valid(document)
    return described(document, provider=settings.KEEPER_SAML_IDP_ENTITY_ID).ends


def refresh_metadata() -> str:
    """Fetch the metadata, keep it, and record that it changed if it did.

    What is no metadata, or not valid any more, replaces nothing. Raises SamlUnavailable.
    """
    url = settings.KEEPER_SAML_METADATA_URL
    document = fetched(url)
    require_valid(document)
    with transaction.atomic():
        row = SamlProvider.objects.select_for_update().filter(url=url).first() or SamlProvider(url=url)
        changed = row.document != document or not row.is_authentic()
        row.document, row.fetched_at = document, timezone.now()
        row.save()
        if changed:
            record(
                actor=actors.system(),
                action=Action.SAML_METADATA_CHANGE,
                stream=streams.SYSTEM,
                object=AuditObject("identity-provider", uuid5(NAMESPACE_URL, url), url),
                details=row_digest_entry(row),
            )
    return document


def from_file(path: Path) -> str:
    """Return the metadata of a file. Raises SamlUnavailable."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SamlUnavailable("The file of the identity provider's metadata cannot be read.") from error


def fetched(url: str) -> str:
    """Return the metadata at an address, by the outbound rule. Raises SamlUnavailable."""
    try:
        with session(most=_MAX_BYTES) as http:
            response = http.get(url)
        response.raise_for_status()
    except AnswerTooLarge as error:
        raise SamlUnavailable("The identity provider's metadata is too large.") from error
    except (requests.RequestException, OutboundError, OSError) as error:
        raise SamlUnavailable("The identity provider's metadata cannot be fetched now.") from error
    if response.is_redirect:
        raise SamlUnavailable("The address of the metadata leads elsewhere; name the final one.")
    try:
        return str(response.content, "utf-8")
    except UnicodeDecodeError as error:
        raise SamlUnavailable("The identity provider's metadata is not UTF-8.") from error
