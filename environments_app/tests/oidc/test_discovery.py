"""What is taken of a discovery document, over HTTP on the loopback address."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from core.config.sizes import WEB_THREADS
from environments_app.errors import SignOnUnavailable
from environments_app.oidc.discovery import AT_ONCE, discovered, limit_waiting
from environments_app.tests.trusts.issuer import with_own_certificate
from tests.oidc_issuer.server import Issuer, serving


@pytest.fixture
def issuer(settings: Settings) -> Iterator[Issuer]:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    with serving() as issuer:
        yield issuer


def test_what_keeper_uses_is_kept_and_nothing_else(issuer: Issuer) -> None:
    issuer.document_changes = {
        "registration_endpoint": f"{issuer.base}/register",
        "claims_supported": ["sub"],
    }
    kept = discovered(issuer.base)
    assert "token_endpoint" in kept
    assert "registration_endpoint" not in kept


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("another issuer", {"issuer": "https://evil.example"}),
    ("no token endpoint", {"token_endpoint": None}),
    ("http elsewhere", {"token_endpoint": "http://id.example/token"}),
    ("an address inside", {"jwks_uri": "https://169.254.169.254/keys"}),
    ("a file", {"jwks_uri": "file:///etc/passwd"}),
    ("a user in the address", {"authorization_endpoint": "https://a@id.example/a"}),
    ("an address that is a list", {"userinfo_endpoint": ["https://id.example"]}),
    ("an endless address", {"end_session_endpoint": "https://id.example/" + "a" * 600}),
]


@pytest.mark.parametrize("changes", [changes for _, changes in REFUSED], ids=[what for what, _ in REFUSED])
def test_a_document_that_leads_elsewhere_is_refused(issuer: Issuer, changes: dict[str, Any]) -> None:
    issuer.document_changes = changes
    with pytest.raises(SignOnUnavailable):
        discovered(issuer.base)


def test_an_issuer_that_does_not_answer_or_answers_without_end_is_refused(issuer: Issuer) -> None:
    issuer.document_changes = {"filler": "x" * 100_000}
    with pytest.raises(SignOnUnavailable, match="too large"):
        discovered(issuer.base)
    with pytest.raises(SignOnUnavailable, match="404"):
        discovered(f"{issuer.base}/nothing")
    with pytest.raises(SignOnUnavailable, match="reached"):
        discovered("http://127.0.0.1:1")


def test_few_wait_for_a_provider_and_never_all_threads_for_providers(issuer: Issuer) -> None:
    with ExitStack() as waiting:
        for _ in range(AT_ONCE):
            waiting.enter_context(limit_waiting(issuer.base))
        with pytest.raises(SignOnUnavailable, match="Try again in some seconds"):
            discovered(issuer.base)
        assert issuer.asked == []
        for number in range(WEB_THREADS - 1 - AT_ONCE):
            waiting.enter_context(limit_waiting(f"https://{number}.example"))
        with pytest.raises(SignOnUnavailable), limit_waiting("https://another.example"):
            pass
    assert discovered(issuer.base)


def test_a_place_is_given_back_whatever_happens(issuer: Issuer) -> None:
    for _ in range(AT_ONCE + WEB_THREADS):
        with pytest.raises(SignOnUnavailable, match="404"):
            discovered(f"{issuer.base}/nothing")


def test_a_certificate_that_is_not_trusted_is_named_as_the_cause(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    untrusted = pytest.raises(SignOnUnavailable, match=r"certificate of 127\.0\.0\.1: .*issuer certificate")
    with with_own_certificate(tmp_path) as address, untrusted:
        discovered(f"{address}/realms/x")
    [line] = caplog.messages
    assert "127.0.0.1" in line
    assert "issuer certificate" in line
    assert "realms" not in line
