"""Reads a posted response strictly: one document, one assertion, two signatures, each in its place.

Signature wrapping (Somorovsky et al., 2012: XSW1 to XSW8) needs a second assertion or response
somewhere in the document, or a signature that refers to another element than the one it is in.
Neither passes here, before any signature is checked. What is read is believed only once pysaml2
has verified both signatures over these very bytes.
"""

import base64
import binascii
from collections import Counter
from typing import Final
from xml.etree.ElementTree import Element, ParseError, fromstring  # DTDs are refused before it parses
from xml.parsers import expat

from environments_app.errors import SignOnRefused

MAX_ENCODED: Final = 256 * 1024
PROTOCOL: Final = "{urn:oasis:names:tc:SAML:2.0:protocol}"
ASSERTION: Final = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SIGNATURE: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_MAX_DEPTH: Final = 40
_MAX_ELEMENTS: Final = 20_000
_TRANSFORMS: Final = {
    "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
}
_CANONICAL: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
# RFC 9231; nothing with SHA-1, and no HMAC, whose key would be the public certificate.
SIGNATURE_METHODS: Final = {
    *(f"http://www.w3.org/2001/04/xmldsig-more#rsa-sha{bits}" for bits in (256, 384, 512)),
    *(f"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha{bits}" for bits in (256, 384, 512)),
}
DIGEST_METHODS: Final = {
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
}
_MALFORMED: Final = "The answer of the identity provider is not well-formed."


class _Foreign(Exception):
    """The document holds what no SAML message needs."""


def decoded(encoded: str) -> bytes:
    """Return the bytes of a base64 form field. Raises SignOnRefused if it is too long or no base64."""
    if len(encoded) > MAX_ENCODED:
        raise SignOnRefused("saml-oversize", "The answer of the identity provider is too large.")
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignOnRefused("saml-malformed", _MALFORMED) from error


def read_tree(document: bytes) -> Element:
    """Return the root of an XML document without DTD, comments, instructions, or another encoding.

    Raises SignOnRefused.
    """
    try:
        _scan(document)
        # What makes XML parsers dangerous (DTDs) was refused above.
        root = fromstring(document)  # noqa: S314 - see above
    except (_Foreign, expat.ExpatError, ParseError, ValueError, LookupError) as error:
        raise SignOnRefused("saml-malformed", _MALFORMED) from error
    return root


def read_response(document: bytes) -> tuple[Element, Element]:
    """Return the response and its only assertion. Raises SignOnRefused for any other structure."""
    root = read_tree(document)
    if root.tag != f"{PROTOCOL}Response":
        raise SignOnRefused("saml-malformed", _MALFORMED)
    if any(element.tag.startswith(f"{ASSERTION}Encrypted") for element in root.iter()):
        raise SignOnRefused("saml-encrypted", "Keeper does not read encrypted assertions: switch that off.")
    _check_status(root)
    assertions = root.findall(f"{ASSERTION}Assertion")
    everywhere = [element for element in root.iter() if element.tag == f"{ASSERTION}Assertion"]
    responses = [element for element in root.iter() if element.tag == f"{PROTOCOL}Response"]
    if len(assertions) != 1 or len(everywhere) != 1 or len(responses) != 1:
        raise SignOnRefused("saml-structure", "The answer does not hold exactly one assertion.")
    _check_ids(root)
    _check_signatures(root, assertions[0])
    return root, assertions[0]


def text_of(element: Element | None) -> str:
    """Return the text of an element that holds nothing but text; empty if there is none."""
    if element is None or len(element):
        return ""
    return element.text or ""


def _check_status(root: Element) -> None:
    code = root.find(f"{PROTOCOL}Status/{PROTOCOL}StatusCode")
    if code is None or code.get("Value") != "urn:oasis:names:tc:SAML:2.0:status:Success":
        raise SignOnRefused("saml-status", "The identity provider did not sign you in.")


def _check_ids(root: Element) -> None:
    """Refuse ids that are used twice, under any spelling of the attribute."""
    names = {"id", "assertionid", "responseid", "{http://www.w3.org/xml/1998/namespace}id"}
    ids = Counter(
        value for element in root.iter() for name, value in element.attrib.items() if name.lower() in names
    )
    if any(count > 1 for count in ids.values()):
        raise SignOnRefused("saml-structure", "The answer uses an id twice.")


def _check_signatures(root: Element, assertion: Element) -> None:
    """Demand one signature in the response and one in the assertion, each over what it is in."""
    for element in (root, assertion):
        signatures = element.findall(f"{SIGNATURE}Signature")
        if not signatures:
            raise SignOnRefused("saml-unsigned", "The response and the assertion must both be signed.")
        if len(signatures) != 1 or not _is_plain(signatures[0], element.get("ID", "")):
            raise SignOnRefused(
                "saml-signature", "The answer's signature is not of a form that Keeper accepts."
            )
    if sum(element.tag == f"{SIGNATURE}Signature" for element in root.iter()) != 2:  # noqa: PLR2004 - these two
        raise SignOnRefused("saml-structure", "The answer holds more signatures than it may.")


def _is_plain(signature: Element, signed_id: str) -> bool:
    """Return whether a signature is enveloped, covers the element of this id, and nothing else."""
    children = {child.tag for child in signature}
    info = signature.find(f"{SIGNATURE}SignedInfo")
    if info is None or not children <= {
        f"{SIGNATURE}{name}" for name in ("SignedInfo", "SignatureValue", "KeyInfo")
    }:
        return False
    references = info.findall(f"{SIGNATURE}Reference")
    if len(references) != 1 or not signed_id or references[0].get("URI") != f"#{signed_id}":
        return False
    transforms = [transform.get("Algorithm") for transform in references[0].iter(f"{SIGNATURE}Transform")]
    return (
        _names_one_of(info, "CanonicalizationMethod", {_CANONICAL})
        and _names_one_of(info, "SignatureMethod", SIGNATURE_METHODS)
        and _names_one_of(info, "DigestMethod", DIGEST_METHODS)
        and set(transforms) <= _TRANSFORMS
        and len(transforms) == len(set(transforms))
    )


def _names_one_of(info: Element, name: str, allowed: set[str]) -> bool:
    algorithms = [element.get("Algorithm", "") for element in info.iter(f"{SIGNATURE}{name}")]
    return len(algorithms) == 1 and algorithms[0] in allowed


def _scan(document: bytes) -> None:
    """Pass over the document once, stopping at what no SAML message needs."""
    document.decode("utf-8")
    parser = expat.ParserCreate()
    depth = elements = 0

    def foreign(*_arguments: object) -> None:
        raise _Foreign

    def declared(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            raise _Foreign

    def opened(_name: str, _attributes: object) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > _MAX_DEPTH or elements > _MAX_ELEMENTS:
            raise _Foreign

    def closed(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.XmlDeclHandler = declared
    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.StartDoctypeDeclHandler = parser.CommentHandler = parser.ProcessingInstructionHandler = foreign
    parser.StartCdataSectionHandler = foreign
    parser.Parse(document, True)
