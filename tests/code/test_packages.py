"""docs/packages.md lists every package with what its docstring says; what is named as slow exists."""

import ast
from pathlib import Path

import pytest

from conftest import SLOWEST

ROOT = Path(__file__).resolve().parents[2]
APPS = ["core", "audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project"]
PAGE = (ROOT / "docs" / "packages.md").read_text(encoding="utf-8")


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


def test_what_is_named_as_slow_is_there() -> None:
    assert [file for file in SLOWEST if not (ROOT / file).is_file()] == []
    assert len(set(SLOWEST)) == len(SLOWEST)
