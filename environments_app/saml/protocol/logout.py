"""A logout that begins at the identity provider: read strictly, verified, and answered.

By the redirect binding, whose signature covers the address as it was sent (SAML 2.0 bindings, 3.4.4.1)
and not the message. No cookie is needed: the message names whose sessions are to end, and they may be
those of other browsers.
"""

import base64
import binascii
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from environments_app.errors import SignOnRefused
from environments_app.saml.protocol.assertion_rules import Expected, moment_of
from environments_app.saml.protocol.xml_document import (
    ASSERTION,
    MAX_ENCODED,
    PROTOCOL,
    SIGNATURE,
    read_tree,
    text_of,
)

MAX_AGE_SECONDS: Final = 300
_MAX_MESSAGE: Final = 64 * 1024
_MAX_INDEXES: Final = 100
_SIGNED: Final = ("SAMLRequest", "RelayState", "SigAlg")
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_ALGORITHM: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_UNVERIFIED: Final = "The signature of the identity provider could not be verified."
_MALFORMED: Final = "The message of the identity provider is not well-formed."


@dataclass(frozen=True, kw_only=True)
class LogoutRequest:
    """Whose sessions are to end; no `session_indexes` means all of them."""

    id: str
    issuer: str
    name_id: str
    session_indexes: tuple[str, ...]
    relay_state: str


def read_logout(query: str, *, expected: Expected, certificates: Sequence[str]) -> LogoutRequest:
    """Return what a signed address asks for; `query` is the query string exactly as it was sent.

    `certificates` are those of the provider, as base64. Raises SignOnRefused.
    """
    parameters = _parameters(query)
    _verify(parameters, certificates)
    root = read_tree(_inflated(unquote_plus(parameters["SAMLRequest"])))
    return _request(root, expected, unquote_plus(parameters.get("RelayState", "")))


def _parameters(query: str) -> dict[str, str]:
    """Return the raw parameters, each present once: of two it would be unknown which was signed."""
    if len(query) > MAX_ENCODED:
        raise SignOnRefused("saml-oversize", "The message of the identity provider is too large.")
    pairs = [part.partition("=") for part in query.split("&") if part]
    parameters = {name: value for name, _, value in pairs}
    if len(parameters) != len(pairs) or "SAMLRequest" not in parameters or "SAMLResponse" in parameters:
        raise SignOnRefused("saml-malformed", _MALFORMED)
    return parameters


def _verify(parameters: Mapping[str, str], certificates: Sequence[str]) -> None:
    """Check the signature over the parameters as they were sent. Raises SignOnRefused."""
    if not parameters.get("Signature") or not parameters.get("SigAlg"):
        raise SignOnRefused("saml-unsigned", "A logout must be signed by the identity provider.")
    signed = "&".join(f"{name}={parameters[name]}" for name in _SIGNED if name in parameters).encode()
    kind, _, bits = unquote_plus(parameters["SigAlg"]).removeprefix(_ALGORITHM).partition("-sha")
    if unquote_plus(parameters["SigAlg"]) != f"{_ALGORITHM}{kind}-sha{bits}" or bits not in _HASHES:
        raise SignOnRefused("saml-signature", _UNVERIFIED)
    signature = _from_base64(unquote_plus(parameters["Signature"]))
    if not any(_signed_by(text, kind, _HASHES[bits], signature, signed) for text in certificates):
        raise SignOnRefused("saml-signature", _UNVERIFIED)


def _signed_by(
    certificate: str, kind: str, algorithm: hashes.HashAlgorithm, signature: bytes, signed: bytes
) -> bool:
    key = x509.load_der_x509_certificate(_from_base64(certificate)).public_key()
    try:
        if kind == "rsa" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif kind == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignOnRefused("saml-malformed", _MALFORMED) from error


def _inflated(message: str) -> bytes:
    unpacker = zlib.decompressobj(-15)
    try:
        document = unpacker.decompress(_from_base64(message), _MAX_MESSAGE)
    except zlib.error as error:
        raise SignOnRefused("saml-malformed", _MALFORMED) from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise SignOnRefused("saml-oversize", "The message of the identity provider is too large.")
    return document


def _request(root: Element, expected: Expected, relay_state: str) -> LogoutRequest:
    if root.tag != f"{PROTOCOL}LogoutRequest" or root.get("Version") != "2.0" or not root.get("ID"):
        raise SignOnRefused("saml-malformed", _MALFORMED)
    if any(element.tag.startswith(SIGNATURE) for element in root.iter()):
        raise SignOnRefused("saml-structure", "The address is signed, and not the message in it.")
    if text_of(root.find(f"{ASSERTION}Issuer")) != expected.issuer:
        raise SignOnRefused("saml-issuer", "The logout comes from an identity provider that is not set up.")
    if root.get("Destination") != expected.address:
        raise SignOnRefused("saml-destination", "The logout was meant for another address.")
    _check_times(root, expected.skew)
    names = root.findall(f"{ASSERTION}NameID")
    indexes = [text_of(index) for index in root.findall(f"{PROTOCOL}SessionIndex")]
    if len(names) != 1 or not text_of(names[0]) or not all(indexes) or len(indexes) > _MAX_INDEXES:
        raise SignOnRefused("saml-structure", "The logout does not say whose sessions are to end.")
    return LogoutRequest(
        id=root.get("ID", ""),
        issuer=expected.issuer,
        name_id=text_of(names[0]),
        session_indexes=tuple(indexes),
        relay_state=relay_state,
    )


def _check_times(root: Element, skew: int) -> None:
    now, issued = int(time.time()), moment_of(root.get("IssueInstant"))
    if issued > now + skew:
        raise SignOnRefused("saml-future", "The logout is dated in the future: compare the clocks.")
    over = root.get("NotOnOrAfter")
    if issued < now - MAX_AGE_SECONDS - skew or (over is not None and moment_of(over) <= now - skew):
        raise SignOnRefused("saml-expired", "The logout is too old.")
