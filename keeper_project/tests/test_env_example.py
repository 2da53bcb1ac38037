"""`.env.example` names what settings.py reads, and nothing else, and works as it is."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LINE = re.compile(r"^# ?([A-Z][A-Z0-9_]*)=(.*)$")


def read_by_settings() -> set[str]:
    tree = ast.parse((ROOT / "keeper_project" / "settings.py").read_text())
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    return {
        ast.literal_eval(call.args[0])
        for call in calls
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "env"
    }


def examples() -> dict[str, str]:
    matches = map(LINE.match, (ROOT / ".env.example").read_text().splitlines())
    return {match[1]: match[2] for match in matches if match}


def test_it_names_every_variable_that_settings_read() -> None:
    assert read_by_settings() - examples().keys() == set()


def test_it_names_no_variable_that_nobody_reads() -> None:
    assert examples().keys() - read_by_settings() == set()


def test_it_explains_every_variable() -> None:
    paragraphs = (ROOT / ".env.example").read_text().split("\n\n")
    for paragraph in paragraphs:
        lines = paragraph.splitlines()
        names = [line for line in lines if LINE.match(line)]
        assert len(names) < len(lines), f"no word about {names}"


def test_docs_name_the_same_variables() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", text))
    assert examples().keys() - documented == set()


def test_nothing_else_reads_the_environment() -> None:
    """A variable that a module reads for itself is in no list, and no check sees it."""
    allowed = {
        "celery.py",
        "wsgi.py",
        "cli.py",
        "checks.py",
        "run.py",
        "env.py",
        "settings.py",
        "listen_address.py",
    }
    for package in ("audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project"):
        for path in (ROOT / package).rglob("*.py"):
            if "tests" not in path.parts and path.name not in allowed:
                assert not re.search(r"os\.environ|getenv", path.read_text()), path


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
