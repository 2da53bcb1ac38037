"""The content of an assertion that satisfies every rule of the Web Browser SSO profile.

SAML 2.0 profiles, 4.1.4: the rules that pysaml2 leaves open when the document leaves the element
out are all required here: destination, recipient, audience, conditions and their times.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.etree.ElementTree import Element

from environments_app.authentication.pending import SAML_REQUESTS
from environments_app.errors import SignOnRefused
from environments_app.saml.protocol.xml_document import ASSERTION, text_of

# By which a provider names a person as it does by SCIM: Okta's and others', then Entra's.
DIRECTORY_IDS: Final = ("externalId", "http://schemas.microsoft.com/identity/claims/objectidentifier")
_BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_TRANSIENT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
_MAX_NAME_ID: Final = 255
_MAX_VALUES: Final = 2000
_MAX_AGE_SECONDS: Final = 600


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The required values of a response: issuer, destination and audience."""

    issuer: str
    address: str
    audience: str
    skew: int
    # What Keeper reads of a person. Whatever else a provider sends is not kept, not even for a moment.
    attributes: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The identity provider's statement about a user; times in seconds since the epoch."""

    response_id: str
    assertion_id: str
    in_response_to: str
    issuer: str
    name_id: str
    name_id_format: str
    session_index: str
    signed_in_at: int
    session_ends_at: int | None
    attributes: dict[str, list[str]]


def read_statement(response: Element, assertion: Element, expected: Expected) -> Statement:
    """Check a response and its assertion against every rule and return their content.

    Its content is untrusted until the signatures are verified. Raises SignOnRefused.
    """
    now = int(time.time())
    _check_envelope(response, assertion, expected)
    request_id = _answered_request(response)
    for element in (response, assertion):
        _check_issued(element, now, expected.skew)
    name_id = _check_subject(assertion, request_id, expected, now)
    _check_conditions(assertion, expected, now)
    statement = _only(assertion, "AuthnStatement", "saml-structure")
    signed_in_at, ends = moment_of(statement.get("AuthnInstant")), statement.get("SessionNotOnOrAfter")
    if signed_in_at > now + expected.skew:
        # It would stay a fresh proof for as long as the provider's clock was ahead.
        raise SignOnRefused("saml-future", "You signed in at a time in the future: compare the clocks.")
    return Statement(
        response_id=response.get("ID", ""),
        assertion_id=assertion.get("ID", ""),
        in_response_to=request_id,
        issuer=expected.issuer,
        name_id=text_of(name_id),
        name_id_format=name_id.get("Format", ""),
        session_index=statement.get("SessionIndex", ""),
        signed_in_at=signed_in_at,
        session_ends_at=moment_of(ends) if ends else None,
        attributes=_attributes(assertion, expected.attributes),
    )


def _check_envelope(response: Element, assertion: Element, expected: Expected) -> None:
    if response.get("Version") != "2.0" or assertion.get("Version") != "2.0":
        raise SignOnRefused("saml-malformed", "The answer is of another version of SAML.")
    for element in (response, assertion):
        if text_of(element.find(f"{ASSERTION}Issuer")) != expected.issuer:
            raise SignOnRefused(
                "saml-issuer", "The answer comes from an identity provider that is not set up."
            )
    if response.get("Destination") != expected.address:
        raise SignOnRefused("saml-destination", "The answer was meant for another address.")


def _answered_request(response: Element) -> str:
    request_id = response.get("InResponseTo", "")
    if not request_id:
        raise SignOnRefused(
            "saml-unsolicited",
            "Keeper did not ask for this sign-in. Start here, not at the identity provider.",
        )
    if SAML_REQUESTS.issued_at(request_id) is None:
        raise SignOnRefused("saml-in-response-to", "The sign-in that this answers is over, or was not ours.")
    return request_id


def _check_issued(element: Element, now: int, skew: int) -> None:
    issued = moment_of(element.get("IssueInstant"))
    if issued > now + skew:
        raise SignOnRefused("saml-future", "The answer is dated in the future: compare the clocks.")
    if issued < now - _MAX_AGE_SECONDS - skew:
        raise SignOnRefused("saml-expired", "The answer is too old.")


def _check_subject(assertion: Element, request_id: str, expected: Expected, now: int) -> Element:
    """Check who may present the assertion, and return the name of whom it is about."""
    subject = _only(assertion, "Subject", "saml-structure")
    name_id = _only(subject, "NameID", "saml-name-id")
    name = text_of(name_id)
    if not name or name != name.strip() or not name.isprintable() or len(name) > _MAX_NAME_ID:
        raise SignOnRefused(
            "saml-name-id", "The identity provider names nobody in a way that Keeper can keep."
        )
    if name_id.get("Format") == _TRANSIENT:
        raise SignOnRefused(
            "saml-name-id", "The identity provider must send a lasting name, not a transient one."
        )
    confirmation = _only(subject, "SubjectConfirmation", "saml-structure")
    data = _only(confirmation, "SubjectConfirmationData", "saml-structure")
    if confirmation.get("Method") != _BEARER:
        raise SignOnRefused(
            "saml-structure", "The answer is to be confirmed in a way that Keeper does not know."
        )
    if data.get("Recipient") != expected.address:
        raise SignOnRefused("saml-recipient", "The answer was meant for another recipient.")
    if data.get("InResponseTo") != request_id:
        raise SignOnRefused("saml-in-response-to", "The assertion answers another request than the response.")
    if data.get("NotBefore") is not None:
        _check_begun(data, now, expected.skew)
    _check_not_over(data, now, expected.skew)
    return name_id


def _check_conditions(assertion: Element, expected: Expected, now: int) -> None:
    conditions = _only(assertion, "Conditions", "saml-conditions")
    known_tags = {f"{ASSERTION}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction")}
    if any(child.tag not in known_tags for child in conditions):
        raise SignOnRefused("saml-conditions", "The answer sets a condition that Keeper does not know.")
    _check_begun(conditions, now, expected.skew)
    _check_not_over(conditions, now, expected.skew)
    restrictions = conditions.findall(f"{ASSERTION}AudienceRestriction")
    audiences = [
        {text_of(element) for element in one.findall(f"{ASSERTION}Audience")} for one in restrictions
    ]
    if not audiences or any(expected.audience not in audience for audience in audiences):
        raise SignOnRefused("saml-audience", "The answer was meant for another application.")


def _check_begun(element: Element, now: int, skew: int) -> None:
    if moment_of(element.get("NotBefore")) > now + skew:
        raise SignOnRefused("saml-future", "The answer is not valid yet: compare the clocks.")


def _check_not_over(element: Element, now: int, skew: int) -> None:
    if moment_of(element.get("NotOnOrAfter")) <= now - skew:
        raise SignOnRefused("saml-expired", "The answer is no longer valid. Sign in again.")


def _attributes(assertion: Element, names: frozenset[str]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    total = 0
    for attribute in assertion.iter(f"{ASSERTION}Attribute"):
        # As it is: a group is another one with blanks around it.
        values = [text_of(value) for value in attribute.findall(f"{ASSERTION}AttributeValue")]
        total += len(values)
        name = attribute.get("Name", "")
        if name in names:
            texts.setdefault(name, []).extend(value for value in values if value)
    if total > _MAX_VALUES:
        raise SignOnRefused("saml-oversize", "The identity provider sends more groups than Keeper reads.")
    return texts


def _only(parent: Element, name: str, reason: str) -> Element:
    elements = parent.findall(f"{ASSERTION}{name}")
    if len(elements) != 1:
        raise SignOnRefused(reason, f"The answer does not hold exactly one {name}.")
    return elements[0]


def moment_of(text: str | None) -> int:
    """Return an xs:dateTime as seconds since the epoch; SAML's times are in UTC (core, 1.3.3)."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError as error:
        raise SignOnRefused("saml-times", "The answer lacks a time that it must name.") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
