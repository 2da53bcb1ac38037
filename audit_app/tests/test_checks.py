import pytest
from auditlog.registry import auditlog
from pytest_django import Settings

from audit_app import checks
from audit_app.models import Checkpoint


def ids(found: list) -> list[str]:
    return [message.id for message in found]


def test_a_path_that_leads_nowhere_is_refused(settings: Settings) -> None:
    settings.KEEPER_REPORT_SECTIONS = []
    assert checks.wiring() == []
    settings.KEEPER_KEYRING = "audit_app.tests.keyring.Absent"
    settings.KEEPER_INTEGRITY_CHECKS = ["nowhere.at_all"]
    assert ids(checks.wiring()) == ["audit_app.E001", "audit_app.E001"]


def test_a_proxy_that_is_no_address_is_refused(settings: Settings) -> None:
    settings.KEEPER_TRUSTED_PROXIES = ["10.0.0.1", "192.168.0.0/16", "unix"]
    assert checks.trusted_proxies() == []
    settings.KEEPER_TRUSTED_PROXIES = ["proxy.example.com"]
    assert ids(checks.trusted_proxies()) == ["audit_app.E002"]


def test_an_allowed_network_that_is_none_is_refused(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["10.0.0.1", "192.168.0.0/16", "fd00::/8"]
    assert checks.outbound_networks() == []
    settings.KEEPER_OUTBOUND_ALLOWED = ["vault.example.com"]
    assert ids(checks.outbound_networks()) == ["audit_app.E004"]


def test_a_followed_model_with_open_sealed_columns_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditlog, "get_models", lambda: [Checkpoint])
    fields: dict[str, list[str]] = {"include_fields": [], "exclude_fields": []}
    monkeypatch.setattr(auditlog, "get_model_fields", lambda _model: fields)
    (found,) = checks.configuration_history()
    assert found.id == "audit_app.E003"
    assert "signature" in found.msg
    fields["exclude_fields"] = ["previous_digest", "digest", "signature"]
    assert checks.configuration_history() == []


@pytest.mark.parametrize(
    ("addresses", "found"),
    [
        (["file"], []),
        (["file:/var/lib/anchors"], []),
        (["file:relative"], ["audit_app.E005"]),
        (["file://host/path"], ["audit_app.E005"]),
        (["ftp://host"], ["audit_app.E005"]),
        ([], ["audit_app.W001"]),
    ],
)
def test_what_is_no_sink_is_refused(settings: Settings, addresses: list[str], found: list[str]) -> None:
    settings.KEEPER_AUDIT_SINKS = addresses
    assert ids(checks.sinks()) == found
