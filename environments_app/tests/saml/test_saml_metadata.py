import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.rows import access_rows
from environments_app.errors import SignOnUnavailable
from environments_app.models import SamlProvider
from environments_app.saml.metadata import only_provider, provider_metadata, refresh_metadata
from environments_app.tasks import refresh_saml_metadata
from environments_app.tests.trusts.issuer import with_own_certificate

pytestmark = [pytest.mark.every_database_weekly, pytest.mark.django_db]

Events = Callable[..., list[AuditEvent]]


def certificate() -> str:
    """Return a certificate as metadata holds it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.com")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=90))
    return b64encode(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)).decode()


CERTIFICATE = certificate()


def entity(name: str, until: str = "", *, role_until: str = "") -> str:
    valid, role = (f' validUntil="{text}"' if text else "" for text in (until, role_until))
    return (
        f'<EntityDescriptor entityID="{name}"{valid}><IDPSSODescriptor{role}><KeyDescriptor use="signing">'
        f'<X509Certificate xmlns="http://www.w3.org/2000/09/xmldsig#">{CERTIFICATE}</X509Certificate>'
        "</KeyDescriptor></IDPSSODescriptor></EntityDescriptor>"
    )


def metadata(*entities: str, until: str = "") -> bytes:
    valid = f' validUntil="{until}"' if until else ""
    return (
        f'<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata"{valid}>'
        f"{''.join(entities)}</EntitiesDescriptor>"
    ).encode()


FIRST, SECOND = metadata(entity("first")), metadata(entity("second"))
PAST, LATER = "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


class Served(BaseHTTPRequestHandler):
    answer: ClassVar[tuple[int, bytes]] = (200, FIRST)
    asked: ClassVar[int] = 0

    def do_GET(self) -> None:
        Served.asked += 1
        status, body = self.answer
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _served(settings: Settings) -> Iterator[None]:
    Served.answer, Served.asked = (200, FIRST), 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    settings.KEEPER_SAML_METADATA_FILE = ""
    settings.KEEPER_SAML_METADATA_URL = f"http://127.0.0.1:{server.server_port}/metadata"
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.1/32"]
    yield
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_is_fetched_once_and_kept(events: Events) -> None:
    assert [provider_metadata() for _ in range(3)] == [FIRST.decode()] * 3
    assert Served.asked == 1
    assert len(events(Action.SAML_METADATA_CHANGE)) == 1
    assert not list(access_rows())


def test_a_refresh_records_what_changed_only(events: Events) -> None:
    refresh_metadata()
    refresh_saml_metadata()
    assert len(events(Action.SAML_METADATA_CHANGE)) == 1
    Served.answer = (200, SECOND)
    refresh_saml_metadata()
    assert provider_metadata() == SECOND.decode()
    assert len(events(Action.SAML_METADATA_CHANGE)) == 2


def test_metadata_from_elsewhere_is_not_believed(sql: Callable[..., None]) -> None:
    provider_metadata()
    sql("UPDATE environments_app_samlprovider SET document = '<planted/>'")
    assert provider_metadata() == FIRST.decode()
    assert SamlProvider.objects.get().is_authentic()


@pytest.mark.parametrize("answer", [(500, b""), (302, b""), (200, b"x" * (1024 * 1024 + 1)), (200, b"\xff")])
def test_a_bad_answer_is_not_kept(answer: tuple[int, bytes]) -> None:
    Served.answer = answer
    with pytest.raises(SignOnUnavailable):
        provider_metadata()
    assert not SamlProvider.objects.exists()


def test_a_certificate_that_is_not_trusted_is_named_with_what_to_do(
    settings: Settings, tmp_path: Path
) -> None:
    named = r"certificate of 127\.0\.0\.1: .*issuer certificate\. .*public authorities\. .*as a file"
    with with_own_certificate(tmp_path) as address:
        settings.KEEPER_SAML_METADATA_URL = f"{address}/metadata"
        with pytest.raises(SignOnUnavailable, match=named):
            provider_metadata()


def test_while_the_provider_is_away_the_last_one_serves(sql: Callable[..., None]) -> None:
    provider_metadata()
    sql("UPDATE environments_app_samlprovider SET fetched_at = '2020-01-01 00:00:00'")
    Served.answer = (503, b"")
    assert provider_metadata() == FIRST.decode()
    refresh_saml_metadata()


def test_it_obeys_the_rule_for_connections(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    with pytest.raises(SignOnUnavailable):
        provider_metadata()
    assert Served.asked == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html><body>We are back soon</body></html>",
        b"<first/>",
        metadata(),
        metadata(entity("first"), until=PAST),
        # Which of them signs in here is for the operator to choose.
        metadata(entity("first"), entity("second")),
    ],
)
def test_what_is_no_metadata_or_not_valid_replaces_none_that_is(answer: bytes, events: Events) -> None:
    provider_metadata()
    Served.answer = (200, answer)
    with pytest.raises(SignOnUnavailable):
        refresh_metadata()
    refresh_saml_metadata()
    assert provider_metadata() == FIRST.decode()
    assert len(events(Action.SAML_METADATA_CHANGE)) == 1


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        (metadata(entity("idp"), until=LATER), True),
        (metadata(entity("idp", until=LATER)), True),
        (metadata(entity("idp", until=PAST)), False),
        (metadata(entity("idp", role_until=PAST)), False),
        (metadata(entity("idp", until=PAST.removesuffix("Z"))), False),
        (metadata(entity("idp"), until="soon"), False),
        # Another provider's time is its own.
        (metadata(entity("idp"), entity("other", until=PAST)), True),
    ],
)
def test_metadata_holds_as_long_as_it_says(settings: Settings, document: bytes, *, valid: bool) -> None:
    settings.KEEPER_SAML_IDP_ENTITY_ID = "idp"
    Served.answer = (200, document)
    if valid:
        assert refresh_metadata() == document.decode()
        return
    with pytest.raises(SignOnUnavailable):
        refresh_metadata()


def test_what_another_entity_or_role_signs_by_is_left_out(settings: Settings) -> None:
    role = "<{0}><KeyDescriptor use='signing'><By_{0}/></KeyDescriptor></{0}>"
    others = role.format("SPSSODescriptor") + role.format("AttributeAuthorityDescriptor")
    provider = (
        entity("idp")
        .replace(
            "<KeyDescriptor", "<KeyDescriptor use='encryption'><Encrypts/></KeyDescriptor><KeyDescriptor", 1
        )
        .replace("</EntityDescriptor>", f"{others}</EntityDescriptor>")
    )
    document = metadata(provider, entity("other")).decode()
    left = only_provider(document, provider="idp")
    assert CERTIFICATE in left
    for foreign in ("By_", ":Encrypts", '"other"', "SPSSODescriptor", "EntitiesDescriptor"):
        assert foreign not in left
    for wanted in ("", "none"):
        with pytest.raises(SignOnUnavailable, match=r"names [02] identity providers"):
            only_provider(document, provider=wanted)
    # A service provider beside it leaves no choice.
    alone = metadata(entity("idp"), entity("sp").replace("IDPSSO", "SPSSO")).decode()
    assert 'entityID="idp"' in only_provider(alone)
