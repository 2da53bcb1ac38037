"""The identity provider's metadata: fetched or read from a file, with its keys, addresses and validity.

A fetch follows the outbound rule, and its result is stored.
"""

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5
from xml.etree.ElementTree import Element, tostring

import requests
from cryptography import x509
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.errors import AnswerTooLarge, OutboundError
from core.network.outbound import certificate_problem, session
from environments_app.errors import SignOnRefused, SignOnUnavailable
from environments_app.models import SamlProvider
from environments_app.saml.protocol.xml_document import SIGNATURE, read_tree, text_of

_METADATA: Final = "{urn:oasis:names:tc:SAML:2.0:metadata}"
_ENTITY: Final = f"{_METADATA}EntityDescriptor"
_ROLE: Final = f"{_METADATA}IDPSSODescriptor"
_KEY: Final = f"{_METADATA}KeyDescriptor"


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

    Raises SignOnUnavailable if it cannot be read, or names no certificate that can: then it is probably an
    error page.
    """
    try:
        root = read_tree(document.encode())
        entity = _provider(root, provider)
        certificate_ends = [
            x509.load_der_x509_certificate(b64decode(text_of(certificate))).not_valid_after_utc
            for key in entity.iterfind(f"{_ROLE}/{_KEY}")
            if _signs(key)
            for certificate in key.iter(f"{SIGNATURE}X509Certificate")
        ]
        ends = _valid_until(root, entity)
    except (SignOnRefused, ValueError) as error:
        raise SignOnUnavailable("The identity provider's metadata cannot be read.") from error
    if not certificate_ends:
        raise SignOnUnavailable("The identity provider's metadata names no signing certificate.")
    return Described(certificates_end=max(certificate_ends), valid_until=ends)


@lru_cache(maxsize=4)
def only_provider(document: str, *, provider: str = "") -> str:
    """Return the metadata of the one identity provider, in that role and with its signing keys alone.

    Metadata may describe a federation, and an entity in several roles. A key of another entity or role must
    not sign assertions. Raises SignOnUnavailable if there is none, or several and `provider` selects none.
    """
    try:
        entity = _provider(read_tree(document.encode()), provider)
    except (SignOnRefused, ValueError) as error:
        raise SignOnUnavailable("The identity provider's metadata cannot be read.") from error
    for child in [each for each in entity if each.tag != _ROLE]:
        entity.remove(child)
    for role in entity:
        for key in [each for each in role if each.tag == _KEY and not _signs(each)]:
            role.remove(key)
    return tostring(entity, encoding="unicode")


def _provider(root: Element, entity_id: str) -> Element:
    """Return the only entity that is an identity provider, or the one of an id. Raises SignOnUnavailable."""
    providers = [entity for entity in root.iter(_ENTITY) if entity.find(_ROLE) is not None]
    if entity_id:
        providers = [entity for entity in providers if entity.get("entityID") == entity_id]
    if len(providers) == 1:
        return providers[0]
    if entity_id:
        raise SignOnUnavailable(
            f"The metadata names {len(providers)} identity providers of the id {entity_id}."
        )
    raise SignOnUnavailable(
        f"The metadata names {len(providers)} identity providers: set KEEPER_SAML_IDP_ENTITY_ID to the one "
        "that signs in here."
        if providers
        else "The identity provider's metadata cannot be read: it names no identity provider."
    )


def _signs(key: Element) -> bool:
    return key.get("use") in {None, "signing"}


def require_valid(document: str) -> None:
    """Refuse metadata whose own time is over, whenever it was loaded. Raises SignOnUnavailable."""
    ends = described(document, provider=settings.KEEPER_SAML_IDP_ENTITY_ID).valid_until
    if ends is not None and ends <= timezone.now():
        raise SignOnUnavailable(
            f"The identity provider's metadata was valid until {ends:%Y-%m-%d %H:%M} UTC: it has to publish "
            "new metadata, or its file has to be replaced."
        )


def _valid_until(root: Element, entity: Element) -> datetime | None:
    """Return the earliest `validUntil` (SAML 2.0 metadata, 2.3.1); raises ValueError if one is no time."""
    holders = [root, entity, *entity.iterfind(_ROLE)]
    moments = [
        datetime.fromisoformat(element.attrib["validUntil"])
        for element in holders
        if "validUntil" in element.attrib
    ]
    # SAML's times are in UTC (core, 1.3.3).
    return min(
        (element if element.tzinfo else element.replace(tzinfo=UTC) for element in moments), default=None
    )


_MAX_BYTES: Final = 1024 * 1024
# The schedule refreshes it hourly; older metadata is fetched at a sign-in.
_STALE_AFTER: Final = timedelta(days=2)


def provider_metadata() -> str:
    """Return the metadata to believe now; the network is used only if there is none recently.

    Raises SignOnUnavailable.
    """
    if settings.KEEPER_SAML_METADATA_FILE:
        return from_file(Path(settings.KEEPER_SAML_METADATA_FILE))
    rows = SamlProvider.objects.filter(url=settings.KEEPER_SAML_METADATA_URL)
    genuine = verified_rows(rows)
    if genuine and genuine[0].fetched_at > timezone.now() - _STALE_AFTER:
        return str(genuine[0].document)
    try:
        return refresh_metadata()
    except SignOnUnavailable:
        if not genuine:
            raise
        return str(genuine[0].document)


def metadata_ends() -> datetime:
    """Read the metadata where it comes from, and return when it, or its last signing certificate, ends.

    Nothing is kept and no database is asked. Raises SignOnUnavailable if the metadata cannot be had, is
    not valid any more, or names no certificate that can be read.
    """
    file = settings.KEEPER_SAML_METADATA_FILE
    document = from_file(Path(file)) if file else fetched(settings.KEEPER_SAML_METADATA_URL)
    require_valid(document)
    return described(document, provider=settings.KEEPER_SAML_IDP_ENTITY_ID).ends


def refresh_metadata() -> str:
    """Fetch the metadata, keep it, and record that it changed if it did.

    What is no metadata, or not valid any more, replaces nothing. Raises SignOnUnavailable.
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
    """Return the metadata of a file. Raises SignOnUnavailable."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SignOnUnavailable("The file of the identity provider's metadata cannot be read.") from error


def fetched(url: str) -> str:
    """Return the metadata at an address, by the outbound rule. Raises SignOnUnavailable."""
    try:
        with session(most=_MAX_BYTES) as http:
            response = http.get(url)
        response.raise_for_status()
    except AnswerTooLarge as error:
        raise SignOnUnavailable("The identity provider's metadata is too large.") from error
    except requests.exceptions.SSLError as error:
        problem = certificate_problem(url, error)
        raise SignOnUnavailable(f"{problem} With another one, give the metadata as a file.") from error
    except (requests.RequestException, OutboundError, OSError) as error:
        raise SignOnUnavailable("The identity provider's metadata cannot be fetched now.") from error
    if response.is_redirect:
        raise SignOnUnavailable("The address of the metadata leads elsewhere; name the final one.")
    try:
        return str(response.content, "utf-8")
    except UnicodeDecodeError as error:
        raise SignOnUnavailable("The identity provider's metadata is not UTF-8.") from error
