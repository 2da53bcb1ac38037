"""docs/internals/packages.md lists every package with the first sentence of its docstring.

`python -m tools.packages_page` writes the page; `tests/code/test_packages.py` holds the two together.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "internals" / "packages.md"
# From the highest to the lowest, each with the question that it answers.
APPS: Final = {
    "keeper_project": "How is it put together?",
    "operations_app": "What do operators look at?",
    "gateway_app": "What do clients of other protocols speak, and what is answered before Django?",
    "sync_app": "How do secrets reach other systems?",
    "secrets_app": "What is kept?",
    "environments_app": "Who may do what, and where?",
    "audit_app": "What happened?",
    "core": "What does every app stand on?",
}
_OPENING: Final = """# Packages

`make docs` writes this page from the docstrings. Imports run from the first app to the last. Inside an app they
run one way as well: `make lint` holds the layers of each app (`[tool.importlinter]` in
[pyproject.toml](../../pyproject.toml)), finds circles between siblings, keeps pages, API and admin apart, and keeps
Django out of the pure packages. A root holds only Django's own modules (`apps`, `urls`, `tasks`, `checks`, `admin`),
`errors`, `interfaces`, and what all packages of the app share. Tests mirror the modules: `APP/tests/PACKAGE/test_MODULE.py`.
"""


def packages(app: str) -> Iterator[Path]:
    """Yield the packages of an app whose code is the product's."""
    for init in sorted((ROOT / app).rglob("__init__.py")):
        inside = init.parent.relative_to(ROOT / app)
        if inside.parts and not {"tests", "migrations", "management"} & set(inside.parts):
            yield init.parent


def sentence(package: Path) -> str:
    """Return the first sentence of a package's docstring."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def page() -> str:
    """Return the page."""
    parts = [_OPENING]
    for app, question in APPS.items():
        rows = [
            f"| `{each.relative_to(ROOT / app).as_posix()}/` | {sentence(each)} |" for each in packages(app)
        ]
        parts.append("\n".join([f"## {app}: {question}\n", "| package | holds |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
