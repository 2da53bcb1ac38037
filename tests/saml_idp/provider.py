"""The identity provider: its keys and metadata, and answers of any shape, signed as asked."""

import base64
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from saml2.samlp import (
    authn_request_from_string,
    logout_request_from_string,
    logout_response_from_string,
)
from saml2.sigver import CryptoBackendXmlSec1, pre_signature_part
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

ISSUER = "https://idp.example.com/saml"
EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
ASSERTION_NODE = "urn:oasis:names:tc:SAML:2.0:assertion:Assertion"
_METHODS = "http://www.w3.org/2001/04/xmldsig-more#"
RESPONSE_NODE = "urn:oasis:names:tc:SAML:2.0:protocol:Response"
Change = Callable[[str], str]


def unchanged(text: str) -> str:
    return text


def at(seconds: int = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an answer says; None leaves the element or attribute out."""

    request_id: str | None
    acs: str
    audience: str | None
    name_id: str = "alice@example.com"
    name_id_format: str = EMAIL
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    issuer: str = ISSUER
    assertion_issuer: str | None = None
    destination: str | None = ""
    recipient: str | None = ""
    confirmed_request: str | None = ""
    conditions: bool = True
    issued: int = 0
    begins: int = -60
    ends: int = 300
    signed_in: int = 0
    session_index: str = "session-1"
    status: str = "urn:oasis:names:tc:SAML:2.0:status:Success"
    response_id: str = ""
    assertion_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Logout:
    """What a logout that begins at the provider says."""

    destination: str | None
    name_id: str = "alice@example.com"
    session_indexes: Sequence[str] = ("session-1",)
    issuer: str = ISSUER
    issued: int = 0
    ends: int = 300
    request_id: str = ""
    relay_state: str = "state of the provider"


class Provider:
    """Signs with a key of its own; `answer` is what an honest provider posts."""

    def __init__(
        self, directory: Path, *, issuer: str = ISSUER, address: str = "https://idp.example.com"
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.issuer, self.address = issuer, address
        self.key_file = directory / "idp.key"
        self.certificate = _make_key(self.key_file)
        self._crypto = CryptoBackendXmlSec1(shutil.which("xmlsec1") or "xmlsec1")

    def metadata(self) -> str:
        """Return the metadata, as Okta's looks."""
        return (
            f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{self.issuer}">'
            '<md:IDPSSODescriptor WantAuthnRequestsSigned="true"'
            ' protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
            '<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
            f"<ds:X509Certificate>{self.certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
            '<md:SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"'
            f' Location="{self.address}/slo"/>'
            f"<md:NameIDFormat>{EMAIL}</md:NameIDFormat>"
            '<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"'
            f' Location="{self.address}/sso"/>'
            "</md:IDPSSODescriptor></md:EntityDescriptor>"
        )

    def respond(
        self,
        answer: Answer,
        *,
        sign: Sequence[str] = ("assertion", "response"),
        before: Change = unchanged,
        between: Change = unchanged,
        after: Change = unchanged,
    ) -> str:
        """Return an answer; the changes are made before, between and after the two signatures."""
        answer = replace(
            answer,
            response_id=answer.response_id or f"r{uuid4().hex}",
            assertion_id=answer.assertion_id or f"a{uuid4().hex}",
        )
        parts = {
            "assertion": self._template(answer.assertion_id, 1) if "assertion" in sign else "",
            "response": self._template(answer.response_id, 2) if "response" in sign else "",
        }
        text = before(_response(answer, **parts))
        if "assertion" in sign:
            text = self._signed(text, ASSERTION_NODE, answer.assertion_id)
        text = between(text)
        if "response" in sign:
            text = self._signed(text, RESPONSE_NODE, answer.response_id)
        return after(text)

    def logout(self, asked: "Logout", *, bits: int = 256, before: Change = unchanged) -> str:
        """Return the query string of a logout; `before` changes the message before it is signed."""
        method, digest = f"{_METHODS}rsa-sha{bits}", getattr(hashes, f"SHA{bits}")()
        message = before(_logout(asked)).encode()
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = base64.b64encode(packer.compress(message) + packer.flush()).decode()
        signed = urlencode({"SAMLRequest": packed, "RelayState": asked.relay_state, "SigAlg": method})
        key = serialization.load_pem_private_key(self.key_file.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        signature = key.sign(signed.encode(), padding.PKCS1v15(), digest)
        return f"{signed}&{urlencode({'Signature': base64.b64encode(signature).decode()})}"

    def _template(self, identifier: str, number: int) -> str:
        return str(pre_signature_part(identifier, self.certificate, number, DIGEST_SHA256, SIG_RSA_SHA256))

    def _signed(self, text: str, node: str, identifier: str) -> str:
        signed: str = self._crypto.sign_statement(text, node, str(self.key_file), identifier)
        return signed.partition("?>")[2].strip() if signed.startswith("<?xml") else signed


def encoded(text: str) -> str:
    """Return an answer as the form posts it."""
    return base64.b64encode(text.encode()).decode()


@dataclass(frozen=True)
class Asked:
    """What Keeper asked for."""

    id: str
    acs: str
    issuer: str
    again: bool
    relay_state: str
    signed: bool


def read_request(url: str) -> Asked:
    """Return what the address that Keeper redirects to asks for."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    request = authn_request_from_string(inflated(query["SAMLRequest"]))
    return Asked(
        id=request.id,
        acs=request.assertion_consumer_service_url,
        issuer=request.issuer.text,
        again=request.force_authn == "true",
        relay_state=query.get("RelayState", ""),
        signed="Signature" in query,
    )


def read_logout(url: str) -> str:
    """Return the NameID whose session Keeper asks to end."""
    query = parse_qs(urlsplit(url).query)
    return str(logout_request_from_string(inflated(query["SAMLRequest"][0])).name_id.text)


def inflated(message: str) -> bytes:
    return zlib.decompress(base64.b64decode(message), -15)


def read_logout_response(url: str) -> tuple[str, str, str, bool]:
    """Return what Keeper answers a logout: the request it answers, status, relay state, and if it is signed."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    response = logout_response_from_string(inflated(query["SAMLResponse"]))
    status = str(response.status.status_code.value)
    return response.in_response_to, status, query.get("RelayState", ""), "Signature" in query


def _logout(asked: Logout) -> str:
    indexes = "".join(f"<samlp:SessionIndex>{index}</samlp:SessionIndex>" for index in asked.session_indexes)
    return (
        '<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"'
        ' xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"'
        f' ID="{asked.request_id or f"l{uuid4().hex}"}" Version="2.0" IssueInstant="{at(asked.issued)}"'
        f' NotOnOrAfter="{at(asked.ends)}"{_attribute("Destination", asked.destination)}>'
        f"<saml:Issuer>{asked.issuer}</saml:Issuer>"
        f'<saml:NameID Format="{EMAIL}">{asked.name_id}</saml:NameID>{indexes}</samlp:LogoutRequest>'
    )


def _response(answer: Answer, *, assertion: str, response: str) -> str:
    destination = _attribute("Destination", answer.acs if answer.destination == "" else answer.destination)
    return (
        '<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"'
        ' xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"'
        f' ID="{answer.response_id}" Version="2.0" IssueInstant="{at(answer.issued)}"{destination}'
        f"{_attribute('InResponseTo', answer.request_id)}>"
        f"<saml:Issuer>{answer.issuer}</saml:Issuer>{response}"
        f'<samlp:Status><samlp:StatusCode Value="{answer.status}"/></samlp:Status>'
        f"{_assertion(answer, assertion)}</samlp:Response>"
    )


def _assertion(answer: Answer, signature: str) -> str:
    recipient = _attribute("Recipient", answer.acs if answer.recipient == "" else answer.recipient)
    asked = answer.request_id if answer.confirmed_request == "" else answer.confirmed_request
    audience = (
        f"<saml:AudienceRestriction><saml:Audience>{answer.audience}</saml:Audience></saml:AudienceRestriction>"
        if answer.audience is not None
        else ""
    )
    conditions = (
        f'<saml:Conditions NotBefore="{at(answer.begins)}" NotOnOrAfter="{at(answer.ends)}">{audience}</saml:Conditions>'
        if answer.conditions
        else ""
    )
    return (
        f'<saml:Assertion ID="{answer.assertion_id}" Version="2.0" IssueInstant="{at(answer.issued)}">'
        f"<saml:Issuer>{answer.assertion_issuer or answer.issuer}</saml:Issuer>{signature}"
        f'<saml:Subject><saml:NameID Format="{answer.name_id_format}">{answer.name_id}</saml:NameID>'
        '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
        f'<saml:SubjectConfirmationData NotOnOrAfter="{at(answer.ends)}"{recipient}'
        f"{_attribute('InResponseTo', asked)}/></saml:SubjectConfirmation></saml:Subject>{conditions}"
        f'<saml:AuthnStatement AuthnInstant="{at(answer.signed_in)}" SessionIndex="{answer.session_index}">'
        "<saml:AuthnContext><saml:AuthnContextClassRef>"
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
        "</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>"
        f"{_attribute_statement(answer.attributes)}</saml:Assertion>"
    )


def _attribute_statement(attributes: Mapping[str, Sequence[str]]) -> str:
    if not attributes:
        return ""
    inner = "".join(
        f'<saml:Attribute Name="{name}" NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:unspecified">'
        + "".join(f"<saml:AttributeValue>{escape(value)}</saml:AttributeValue>" for value in values)
        + "</saml:Attribute>"
        for name, values in attributes.items()
    )
    return f"<saml:AttributeStatement>{inner}</saml:AttributeStatement>"


def _attribute(name: str, value: str | None) -> str:
    return "" if value is None else f' {name}="{value}"'


def _make_key(path: Path) -> str:
    """Write a key and return its certificate as base64 without lines."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
