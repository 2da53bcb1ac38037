"""docs/internals/packages.md says of every package what its docstring says; what is named as slow exists."""

from pathlib import Path

import pytest

from conftest import SLOW_FOLDERS
from tools.packages_page import APPS, PAGE, packages, page, sentence

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_lists_each_package() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make docs"


@pytest.mark.parametrize("app", APPS)
def test_each_package_says_what_it_holds(app: str) -> None:
    assert [package for package in packages(app) if not sentence(package)] == []


def test_what_is_named_as_slow_is_there() -> None:
    assert [folder for folder in SLOW_FOLDERS if not (ROOT / folder).is_dir()] == []
