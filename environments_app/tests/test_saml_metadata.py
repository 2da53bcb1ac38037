import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from pytest_django import Settings

from audit_app.actions import Action
from audit_app.models import AuditEvent
from environments_app.errors import SamlUnavailable
from environments_app.integrity import access_rows
from environments_app.models import SamlProvider
from environments_app.saml.metadata import provider_metadata, refresh_metadata
from environments_app.tasks import refresh_saml_metadata

pytestmark = [pytest.mark.every_database, pytest.mark.django_db]

Events = Callable[..., list[AuditEvent]]


class Served(BaseHTTPRequestHandler):
    answer: ClassVar[tuple[int, bytes]] = (200, b"<first/>")
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
    Served.answer, Served.asked = (200, b"<first/>"), 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings.KEEPER_SAML_METADATA_FILE = ""
    settings.KEEPER_SAML_METADATA_URL = f"http://127.0.0.1:{server.server_port}/metadata"
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.1/32"]
    yield
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_is_fetched_once_and_kept(events: Events) -> None:
    assert [provider_metadata() for _ in range(3)] == ["<first/>"] * 3
    assert Served.asked == 1
    assert len(events(Action.SAML_METADATA_CHANGE)) == 1
    assert not list(access_rows())


def test_a_refresh_records_what_changed_only(events: Events) -> None:
    refresh_metadata()
    refresh_saml_metadata()
    assert len(events(Action.SAML_METADATA_CHANGE)) == 1
    Served.answer = (200, b"<second/>")
    refresh_saml_metadata()
    assert provider_metadata() == "<second/>"
    assert len(events(Action.SAML_METADATA_CHANGE)) == 2


def test_metadata_from_elsewhere_is_not_believed(sql: Callable[..., None]) -> None:
    provider_metadata()
    sql("UPDATE environments_app_samlprovider SET document = '<planted/>'")
    assert provider_metadata() == "<first/>"
    assert SamlProvider.objects.get().is_authentic()


@pytest.mark.parametrize("answer", [(500, b""), (302, b""), (200, b"x" * (1024 * 1024 + 1)), (200, b"\xff")])
def test_a_bad_answer_is_not_kept(answer: tuple[int, bytes]) -> None:
    Served.answer = answer
    with pytest.raises(SamlUnavailable):
        provider_metadata()
    assert not SamlProvider.objects.exists()


def test_while_the_provider_is_away_the_last_one_serves(sql: Callable[..., None]) -> None:
    provider_metadata()
    sql("UPDATE environments_app_samlprovider SET fetched_at = '2020-01-01 00:00:00'")
    Served.answer = (503, b"")
    assert provider_metadata() == "<first/>"
    refresh_saml_metadata()


def test_it_obeys_the_rule_for_connections(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    with pytest.raises(SamlUnavailable):
        provider_metadata()
    assert Served.asked == 0
