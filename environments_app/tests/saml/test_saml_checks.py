from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from environments_app import checks
from environments_app.saml import configuration
from environments_app.saml.configuration import key_pair


@pytest.fixture(autouse=True)
def _saml(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_SAML = True
    settings.KEEPER_URL = "https://keeper.example.com"
    settings.KEEPER_SAML_METADATA_URL = "https://idp.example.com/metadata"
    settings.KEEPER_SAML_METADATA_FILE = ""


def said() -> str:
    return " ".join(str(error) for error in [*checks.requirements(), *checks.strictness()])


def test_a_sound_setup_passes() -> None:
    assert said() == ""


def test_without_saml_nothing_is_needed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.KEEPER_SAML = False
    settings.KEEPER_URL = ""
    monkeypatch.setattr(checks, "find_spec", lambda _name: None)
    assert said() == ""


def test_it_says_what_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.KEEPER_URL = ""
    settings.KEEPER_SAML_METADATA_FILE = "/nowhere/metadata.xml"
    monkeypatch.setattr(checks, "find_spec", lambda _name: None)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    for part in ("requirements.txt", "apt-get install xmlsec1", "KEEPER_URL", "names no file"):
        assert part in said()
    assert {error.id for error in checks.requirements()} == {"environments_app.E003"}


def test_several_providers_need_a_choice(settings: Settings, tmp_path: Path) -> None:
    one = '<EntityDescriptor entityID="{}"><IDPSSODescriptor/></EntityDescriptor>'
    file = tmp_path / "metadata.xml"
    file.write_text(
        f'<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata">{one.format("a")}{one.format("b")}'
        "</EntitiesDescriptor>"
    )
    settings.KEEPER_SAML_METADATA_FILE = str(file)
    settings.KEEPER_SAML_METADATA_URL = ""
    assert "names 2 identity providers: set KEEPER_SAML_IDP_ENTITY_ID" in said()
    settings.KEEPER_SAML_IDP_ENTITY_ID = "b"
    assert said() == ""
    settings.KEEPER_SAML_IDP_ENTITY_ID = "c"
    assert "names 0 identity providers of the id c" in said()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEEPER_SAML_METADATA_URL", "http://idp.example.com/metadata"),
        ("KEEPER_URL", "http://keeper.example.com"),
        ("KEEPER_SAML_CLOCK_SKEW_SECONDS", 301),
        ("KEEPER_SAML_CLOCK_SKEW_SECONDS", -1),
    ],
)
def test_it_refuses_weak_settings(settings: Settings, name: str, value: Any) -> None:
    setattr(settings, name, value)
    assert [error.id for error in checks.strictness()] == ["environments_app.E004"]


@pytest.mark.parametrize("name", ["want_response_signed", "want_assertions_signed", "allow_unsolicited"])
def test_it_refuses_lax_options_of_pysaml2(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    options = configuration.service_provider()
    options["service"]["sp"][name] = not options["service"]["sp"][name]
    monkeypatch.setattr(configuration, "service_provider", lambda: options)
    assert [error.id for error in checks.strictness()] == ["environments_app.E004"]
    options["only_use_keys_in_metadata"] = False
    assert len(checks.strictness()) == 2


def test_the_key_is_made_once_and_for_us_alone(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path
    settings.KEEPER_SAML_KEY_FILE = str(tmp_path / "saml.key")
    settings.KEEPER_SAML_CERTIFICATE_FILE = str(tmp_path / "saml.crt")
    key, certificate = key_pair()
    assert Path(key).stat().st_mode & 0o777 == 0o600
    before = Path(key).read_bytes(), Path(certificate).read_bytes()
    assert key_pair() == (key, certificate)
    assert (Path(key).read_bytes(), Path(certificate).read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saml.crt", "saml.key"]


def test_no_key_is_made_where_the_settings_name_one(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    settings.KEEPER_SAML_KEY_FILE = str(tmp_path / "own.key")
    settings.KEEPER_SAML_CERTIFICATE_FILE = str(tmp_path / "own.crt")
    key_pair()
    assert not (tmp_path / "own.key").exists()
