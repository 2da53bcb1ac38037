"""docs/extending.md names what is there, and leaves out nothing that a new class must have."""

import importlib
import re
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings

from secrets_app.keys.providers.base import KeyProvider
from secrets_app.types.registry import INSPECTORS, SecretType
from sync_app.backends.base import Backend
from sync_app.rotators.base import Rotator

ROOT: Final = Path(__file__).resolve().parents[2]
TEXT: Final = (ROOT / "docs" / "extending.md").read_text()
_APPS: Final = (
    "core|audit_app|environments_app|secrets_app|sync_app|gateway_app|operations_app|keeper_project|tests"
)
SECTIONS: Final = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
BASES: Final = {"A backend of the sync": Backend, "A rotator": Rotator, "A key provider": KeyProvider}


def test_every_path_is_there() -> None:
    paths = re.findall(rf"`((?:{_APPS})/[\w./]*)`", TEXT)
    assert len(paths) > 10
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_every_dotted_name_is_there() -> None:
    names = re.findall(rf"`((?:{_APPS})\.[\w.]+)`", TEXT)
    assert len(names) > 15
    for name in names:
        _import(name)


def test_every_setting_is_there() -> None:
    named = set(re.findall(r"`(KEEPER_[A-Z_]+|KEY_[A-Z_]+)`", TEXT))
    assert named
    assert not [name for name in named if not hasattr(settings, name)]


@pytest.mark.parametrize("section", BASES)
def test_every_method_of_the_base_class_is_told_of(section: str) -> None:
    words = set(re.findall(r"`([a-z_]+)`", SECTIONS[section]))
    missing = BASES[section].__abstractmethods__ - words
    assert not missing


def test_a_type_is_in_every_registry_that_the_page_names() -> None:
    icons = importlib.import_module("core.ui.labels").TYPE_ICONS
    assert set(INSPECTORS) == set(SecretType) == set(icons)


def test_every_decision_is_listed_with_its_title() -> None:
    listed = (ROOT / "docs" / "internals" / "architecture.md").read_text()
    for record in (ROOT / "docs" / "internals" / "adr").glob("*.md"):
        title = record.read_text().splitlines()[0].removeprefix("# ")
        number, _, words = title.partition(". ")
        assert f"[{number}. {words}](adr/{record.name})" in listed, record.name


def _import(name: str) -> object:
    """Return a module, or what a module holds. Raises ImportError or AttributeError."""
    module, _, last = name.rpartition(".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return getattr(importlib.import_module(module), last)
