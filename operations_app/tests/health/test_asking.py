"""Each system is asked as it is used: what it answers is told in words of Keeper's own."""

import base64
import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from operations_app.health import probes
from operations_app.models import SystemState

PASSWORD = "mail-password-9271"
NOWHERE = "redis://127.0.0.1:9/0"
# Certificates end so many days from here, whatever midnight passes.
BEGAN = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _no_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for what answers as long as a busy machine takes; what is missing here is refused at once."""
    monkeypatch.setattr(probes, "_STEP_SECONDS", 60)


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


class MailServer(socketserver.StreamRequestHandler):
    """Takes sign-ins with PASSWORD; repeats in its answers what it was sent, as some do."""

    said: ClassVar[list[str]] = []
    noop: ClassVar[int] = 250

    def handle(self) -> None:
        self.wfile.write(b"220 mail.example\r\n")
        for line in iter(self.rfile.readline, b""):
            verb, _, rest = line.decode().strip().partition(" ")
            self.said.append(verb.upper())
            if verb.upper() == "EHLO":
                self.wfile.write(b"250-mail.example\r\n250 AUTH PLAIN\r\n")
            elif verb.upper() == "AUTH":
                given = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")[-1]
                answer = "235 welcome" if given == PASSWORD else f"535 {given} is wrong"
                self.wfile.write(f"{answer}\r\n".encode())
            elif verb.upper() == "NOOP":
                self.wfile.write(f"{self.noop} fine\r\n".encode())
            elif verb.upper() == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[None]:
    MailServer.said, MailServer.noop = [], 250
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailServer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        settings.EMAIL_BACKEND = "core.network.mail.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address[:2]
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "keeper", PASSWORD
        settings.EMAIL_USE_TLS = False
        yield
        server.shutdown()


def test_it_signs_in_at_the_mail_server_and_sends_nothing(mail_server: None) -> None:
    assert probes.mail().state == SystemState.OK
    assert MailServer.said == ["EHLO", "AUTH", "NOOP", "QUIT"]


def test_a_mail_server_that_refuses_is_told_of_without_what_it_says(
    mail_server: None, settings: Settings
) -> None:
    settings.EMAIL_HOST_PASSWORD = "another-password-3344"
    found = probes.mail()
    assert (found.state, found.detail) == (SystemState.UNHEALTHY, "username or password rejected")
    settings.EMAIL_HOST_PASSWORD, MailServer.noop = PASSWORD, 421
    assert probes.mail().detail == "answered 421 instead of 250"


def test_a_mail_server_without_the_tls_that_is_asked_for_fails(mail_server: None, settings: Settings) -> None:
    settings.EMAIL_USE_TLS = True
    assert probes.mail().state == SystemState.UNHEALTHY
    assert "AUTH" not in MailServer.said


def test_a_mail_server_that_is_gone_fails(mail_server: None, settings: Settings) -> None:
    settings.EMAIL_PORT = 9
    assert probes.mail().detail == "no answer (ConnectionRefusedError)"


def test_redis_is_asked_and_missed(settings: Settings) -> None:
    redis = os.environ.get("KEEPER_TEST_REDIS_URL")
    assert redis, "Redis is not there: run the tests with make test, or by python -m tests.servers -- pytest"
    settings.REDIS_URL = redis
    assert probes.redis().state == SystemState.OK
    settings.REDIS_URL = NOWHERE
    assert probes.redis().state == SystemState.UNHEALTHY


@pytest.mark.parametrize("ask", [probes.redis, probes.mail, probes.identity_provider])
def test_what_is_not_configured_is_off(settings: Settings, ask: Callable[[], probes.ProbeResult]) -> None:
    settings.REDIS_URL = settings.EMAIL_HOST = ""
    settings.KEEPER_SAML = False
    assert ask().state == SystemState.OFF


def test_the_identity_provider_is_asked_for_its_metadata(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "metadata").write_text(_metadata([90]))
    settings.KEEPER_SAML = True
    settings.KEEPER_SAML_METADATA_FILE = ""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        settings.KEEPER_SAML_METADATA_URL = f"http://127.0.0.1:{server.server_port}/metadata"
        settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.1/32"]
        assert probes.identity_provider().state == SystemState.OK
        settings.KEEPER_OUTBOUND_ALLOWED = []
        assert probes.identity_provider().state == SystemState.UNHEALTHY
        server.shutdown()
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.1/32"]
    assert probes.identity_provider().detail == "The identity provider's metadata cannot be fetched now."


@pytest.mark.parametrize(
    ("days", "state"),
    [([90], "ok"), ([10], "degraded"), ([-1], "degraded"), ([-1, 90], "ok"), ([], "unhealthy")],
)
def test_a_certificate_that_ends_soon_needs_attention(
    settings: Settings, tmp_path: Path, days: list[int], state: str
) -> None:
    file = tmp_path / "metadata.xml"
    file.write_text(_metadata(days))
    settings.KEEPER_SAML, settings.KEEPER_SAML_METADATA_FILE = True, str(file)
    found = probes.identity_provider()
    assert found.state == state
    if days:
        assert f"{BEGAN + timedelta(days=max(days)):%Y-%m-%d}" in found.detail


@pytest.mark.parametrize("text", ["", "<a>", "<!DOCTYPE a><a/>"])
def test_metadata_that_is_none_is_told_of(settings: Settings, tmp_path: Path, text: str) -> None:
    file = tmp_path / "metadata.xml"
    file.write_text(text)
    settings.KEEPER_SAML, settings.KEEPER_SAML_METADATA_FILE = True, str(file)
    assert probes.identity_provider().state == SystemState.UNHEALTHY


@pytest.mark.every_database
@pytest.mark.django_db
def test_the_database_answers() -> None:
    assert probes.database().state == SystemState.OK


_METADATA = "urn:oasis:names:tc:SAML:2.0:metadata"
_PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"


def _metadata(days: list[int]) -> str:
    keys = "".join(
        f'<KeyDescriptor use="signing"><X509Certificate xmlns="http://www.w3.org/2000/09/xmldsig#">'
        f"{_certificate(each)}</X509Certificate></KeyDescriptor>"
        for each in days
    )
    role = f'<IDPSSODescriptor protocolSupportEnumeration="{_PROTOCOL}">{keys}</IDPSSODescriptor>'
    return f'<EntityDescriptor xmlns="{_METADATA}" entityID="https://idp.test">{role}</EntityDescriptor>'


def _certificate(days: int) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.com")])
    ends = BEGAN + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=365))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()
