"""Variables of the first description are understood, or named along with what to set instead."""

import pytest

from core.config.variables import SOURCES
from keeper_project.startup import OWN_RENAMED, RENAMED, okta_metadata_url, unread


@pytest.mark.parametrize("name", sorted(RENAMED))
def test_it_names_a_variable_that_is_not_read(name: str) -> None:
    assert dict(unread({name: "x"})) == {name: RENAMED[name]}


@pytest.mark.parametrize("value", ["production", ""])
def test_it_accepts_production(value: str) -> None:
    assert list(unread({"FLASK_ENV": value})) == []


def test_it_names_debug_for_development() -> None:
    assert "DEBUG=true" in dict(unread({"FLASK_ENV": "development"}))["FLASK_ENV"]


def test_it_never_repeats_a_value() -> None:
    assert "hunter2" not in repr(list(unread(dict.fromkeys([*RENAMED, "FLASK_ENV"], "hunter2"))))


def test_it_advises_only_variables_that_settings_read() -> None:
    read = set(SOURCES)
    advised = {"DEBUG", "DATABASE_URL", "SESSION_COOKIE_AGE", "KEEPER_LOG_LEVEL", "KEEPER_LOG_FILE"}
    for name in advised:
        assert any(
            name in advice for advice in [*RENAMED.values(), *dict(unread({"FLASK_ENV": "x"})).values()]
        )
    assert advised <= read
    assert not RENAMED.keys() & read
    assert set(OWN_RENAMED.values()) <= read
    assert not OWN_RENAMED.keys() & read


def test_vault_is_named_by_address_and_token_together() -> None:
    both = {"VAULT_URL": "https://vault.example:8200", "VAULT_TOKEN": "x", "VAULT_MOUNT_POINT": "secret"}
    assert not list(unread(both))
    for name in ("VAULT_URL", "VAULT_TOKEN"):
        assert [said for said, _ in unread({name: "x"})] == [name]


def test_okta_is_found_by_its_two_names_together() -> None:
    found = okta_metadata_url(issuer="https://your-org.okta.com/", app="exk1")
    assert found == "https://your-org.okta.com/app/exk1/sso/saml/metadata"
    assert okta_metadata_url(issuer="https://your-org.okta.com", app="") == ""
    both = {"OKTA_ISSUER": "https://your-org.okta.com", "OKTA_CLIENT_ID": "exk1"}
    assert not list(unread(both))
    for name, value in both.items():
        assert [said for said, _ in unread({name: value})] == [name]
