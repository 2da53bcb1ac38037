"""`.env.example` and the reference list what the settings declare, and work as they are."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from core.config.variables import GROUPS, SOURCES
from tools.configuration_reference import outputs

ROOT = Path(__file__).resolve().parent.parent.parent
LINE = re.compile(r"^# ?([A-Z][A-Z0-9_]*)=(.*)$")


def examples() -> dict[str, str]:
    matches = map(LINE.match, (ROOT / ".env.example").read_text().splitlines())
    return {match[1]: match[2] for match in matches if match}


def test_the_reference_is_what_the_settings_declare() -> None:
    """`make docs` writes it."""
    stale = [path.name for path, text in outputs().items() if path.read_text() != text]
    assert stale == []


def test_every_variable_that_settings_read_is_declared() -> None:
    declared = [variable.name for group in GROUPS for variable in group.variables]
    assert len(declared) == len(set(declared)) > 100
    assert SOURCES.keys() == set(declared) == examples().keys()
    for path in (ROOT / "keeper_project" / "settings").glob("*.py"):
        assert not re.search(r"os\.environ|getenv", path.read_text()), path.name


def test_every_variable_has_a_sentence_of_help() -> None:
    for group in GROUPS:
        for variable in group.variables:
            assert variable.help.endswith((".", ")")), variable.name
            assert len(variable.help.split()) > 1, variable.name


def test_nothing_else_reads_the_environment() -> None:
    """A variable that a module reads for itself is in no list, and no check sees it."""
    allowed = {
        "celery.py",
        "wsgi.py",
        "cli.py",
        "checks.py",
        "run.py",
        "server.py",
        "variables.py",
        "startup.py",
    }
    for package in (
        "core",
        "audit_app",
        "environments_app",
        "secrets_app",
        "sync_app",
        "gateway_app",
        "operations_app",
        "keeper_project",
    ):
        for path in (ROOT / package).rglob("*.py"):
            if "tests" not in path.parts and path.name not in allowed:
                assert not _reads_environment(ast.parse(path.read_text())), path


def _reads_environment(tree: ast.Module) -> bool:
    """Return whether code does, and not a text, such as an example for programs."""
    names = {"environ", "getenv"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.ImportFrom) and names & {each.name for each in node.names})
        for node in ast.walk(tree)
    )


def test_its_examples_are_what_settings_take(tmp_path: Path) -> None:
    """Every example uncommented, as people do, gives settings that load."""
    given = {name: value for name, value in examples().items() if value}
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= given | {"KEEPER_DATA_DIR": str(tmp_path)}
    program = (
        "from keeper_project import settings as s; print(s.DEBUG, s.KMS_DEK_CACHE_TTL, s.ALLOWED_HOSTS[2])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "300", "[::1]"]
