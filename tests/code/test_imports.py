"""Imports run one way: keeper_project, sync_app, secrets_app, environments_app, audit_app, core."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = [
    "core",
    "audit_app",
    "environments_app",
    "secrets_app",
    "sync_app",
    "gateway_app",
    "operations_app",
    "keeper_project",
]


def imported(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_the_contract_holds(tmp_path: Path) -> None:
    program = (
        "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--cache-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " kept, 0 broken" in done.stdout


@pytest.mark.parametrize("app", LAYERS)
def test_no_module_imports_upward(app: str) -> None:
    """Tests included, which the contract's tool reads as well, and names given as text."""
    above = LAYERS[LAYERS.index(app) + 1 :]
    for path in (ROOT / app).rglob("*.py"):
        for module in imported(path):
            assert module.split(".")[0] not in above, f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("app", LAYERS)
def test_no_module_hides_an_import(app: str) -> None:
    for path in (ROOT / app).rglob("*.py"):
        if "migrations" in path.parts:  # there models of the past are looked up so
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            hidden = isinstance(node, ast.Attribute) and node.attr == "get_model"
            assert not hidden, f"{path.relative_to(ROOT)} looks a model up by its name"


def test_the_envelope_knows_neither_django_nor_keeper() -> None:
    for path in (ROOT / "secrets_app" / "envelope").rglob("*.py"):
        foreign = {module for module in imported(path) if module.split(".")[0] in {"django", *LAYERS}}
        assert all(module.startswith(("secrets_app.envelope", "secrets_app.errors")) for module in foreign), (
            path
        )
    # The errors it raises stand on nothing but Python.
    stands_on = {*imported(ROOT / "secrets_app" / "errors.py"), *imported(ROOT / "core" / "errors.py")}
    assert {module.split(".")[0] for module in stands_on - {"core.errors"}} <= sys.stdlib_module_names
