"""docs/packages.md lists every package with what its docstring says, and no folder grows without bound."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from conftest import SLOWEST

ROOT = Path(__file__).resolve().parents[2]
APPS = ["audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project"]
PAGE = (ROOT / "docs" / "packages.md").read_text(encoding="utf-8")
MOST_MODULES = 12


def packages(app: str) -> list[Path]:
    return [
        init.parent
        for init in sorted((ROOT / app).rglob("__init__.py"))
        if not {"tests", "migrations", "management"} & set(init.relative_to(ROOT / app).parts)
        and init.parent != ROOT / app
    ]


@pytest.mark.parametrize("app", APPS)
def test_the_page_lists_each_package(app: str) -> None:
    missing = []
    for package in packages(app):
        docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
        first = " ".join(docstring.split("\n\n")[0].split())
        line = f"| `{package.relative_to(ROOT / app).as_posix()}/` | {first} |"
        if not first or line not in PAGE:
            missing.append(line)
    assert missing == []


def test_no_folder_holds_more_modules_than_a_reader_can() -> None:
    """Django demands one folder for all migrations of an app, and one for all its commands."""
    modules = Counter(
        folder.relative_to(ROOT).as_posix()
        for top in [*APPS, "benchmarks", "client", "deploy", "docs", "tests", "tools"]
        for path in (ROOT / top).rglob("*.py")
        if path.stem != "__init__" and (folder := path.parent).name not in {"migrations", "commands"}
    )
    assert {folder: count for folder, count in modules.items() if count > MOST_MODULES} == {}


def test_what_is_named_as_slow_is_there() -> None:
    assert [file for file in SLOWEST if not (ROOT / file).is_file()] == []
    assert len(set(SLOWEST)) == len(SLOWEST)
