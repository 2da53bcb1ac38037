"""A dotted name or a path in backticks, in code and documents, leads to something that exists."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = "core|audit_app|environments_app|secrets_app|sync_app|gateway_app|operations_app|keeper_project|tests|tools|benchmarks"
NAME = re.compile(rf"`((?:{APPS})(?:/[\w/]+\.py|(?:\.[a-z_]\w*)+(?:\.\w+)*))`")


def exists(name: str) -> bool:
    """Whether a path is there, or a module with the name that follows it."""
    if "/" in name or (ROOT / name.replace(".", "/")).is_dir():
        return (ROOT / name).is_file() or "/" not in name
    module, _, attribute = name.rpartition(".")
    path = ROOT / module.replace(".", "/")
    if (ROOT / name.replace(".", "/")).with_suffix(".py").is_file():
        return True
    files = [path.with_suffix(".py"), path / "__init__.py"]
    return any(re.search(rf"\b{attribute}\b", file.read_text()) for file in files if file.is_file())


def test_each_name_in_backticks_exists() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [
        ROOT / file for file in listed.stdout.split() if file != "CHANGELOG.md" and "/migrations/" not in file
    ]
    missing = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in NAME.findall(file.read_text(encoding="utf-8"))
        if not exists(name)
    }
    assert missing == set()
