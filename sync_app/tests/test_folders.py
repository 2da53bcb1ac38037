"""A system is a folder and a line: no other code of the product names one."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from sync_app.backends.registry import BACKENDS
from sync_app.rotators.registry import ROTATORS

ROOT = Path(__file__).resolve().parents[2]
APPS = ("environments_app", "secrets_app", "sync_app", "gateway_app", "operations_app", "keeper_project")
# Environment variables of two systems make targets of them; what Keeper generates has a form of its own; both
# folders of AWS sign in alike; an export into a Vault writes by its connection.
NAMED = {
    "sync_app/targets/default_targets.py",
    "sync_app/forms/rotation.py",
    "sync_app/rotators/aws_iam",
    "operations_app/export_all/vault.py",
    "sync_app/migrations",
}
REGISTRIES: dict[str, Mapping[str, type]] = {
    "sync_app/backends/registry.py": BACKENDS,
    "sync_app/rotators/registry.py": ROTATORS,
}


def product(folder: str) -> list[Path]:
    """Return the product's code outside a folder, the registries and what is named above."""
    files = [path for app in APPS for path in (ROOT / app).rglob("*.py")]
    inside = {path: path.relative_to(ROOT) for path in files}
    return [
        path
        for path, name in inside.items()
        if "tests" not in name.parts
        and not name.is_relative_to(folder)
        and not any(name.is_relative_to(each) for each in {*NAMED, *REGISTRIES})
    ]


@pytest.mark.parametrize("registry", REGISTRIES)
def test_no_code_outside_its_folder_names_a_system(registry: str) -> None:
    for kind, system in REGISTRIES[registry].items():
        package = system.__module__.rpartition(".")[0]
        folder = package.replace(".", "/")
        # A database that rotates has the name of an engine, which other code may mean.
        names = [re.escape(package) + r"\b"] + ([f'"{kind}"'] if "_" in kind else [])
        # A migration reads a system by the connection that a backend has.
        source = Path("sync_app/migration/sources", f"{Path(folder).name}.py")
        others = [path for path in product(folder) if not path.match(str(source))]
        found = [path for path in others if re.search("|".join(names), path.read_text("utf-8"))]
        assert not found, f"{kind} is named outside {folder}"
