"""Every folder of modules is a package, which setuptools then finds, and the requirements files hold what it asks for."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
APPS = [
    "core",
    "audit_app",
    "environments_app",
    "secrets_app",
    "sync_app",
    "gateway_app",
    "operations_app",
    "keeper_project",
]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~ ]", requirement)[0].lower() for requirement in requirements}


def pinned(file: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ \\]+)", (ROOT / file).read_text(), re.MULTILINE))


def test_every_folder_of_modules_is_a_package() -> None:
    """Setuptools passes over a folder without __init__.py, and what lies in it would not be shipped."""
    assert PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] == [f"{app}*" for app in APPS]
    folders = {path.parent for app in APPS for path in (ROOT / app).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_the_embedded_requirements_need_no_compiler() -> None:
    embedded = pinned("requirements-embedded.txt")
    assert names(PROJECT["project"]["dependencies"]) <= embedded.keys()
    assert not embedded.keys() & {"mysqlclient", "psycopg", "psycopg2", "xmlsec"}


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("requirements.txt", ["production"]),
        ("requirements-otel.txt", ["production", "otel"]),
        ("requirements-dev.txt", ["production", "otel", "dev"]),
    ],
)
def test_the_requirements_hold_what_is_asked_for(file: str, extras: list[str]) -> None:
    for extra in extras:
        assert names(PROJECT["project"]["optional-dependencies"][extra]) <= pinned(file).keys()


def test_all_requirements_agree() -> None:
    embedded, production, otel, dev = map(
        pinned,
        ("requirements-embedded.txt", "requirements.txt", "requirements-otel.txt", "requirements-dev.txt"),
    )
    assert embedded.items() <= production.items() <= otel.items() <= dev.items()


def test_the_demonstration_needs_no_compiler_and_no_other_versions() -> None:
    demo = pinned("requirements-demo.txt")
    assert names(PROJECT["project"]["optional-dependencies"]["demo"]) <= demo.keys()
    assert (
        pinned("requirements-embedded.txt").items() <= demo.items() <= pinned("requirements-dev.txt").items()
    )
    assert not demo.keys() & {"mysqlclient", "psycopg", "psycopg2", "xmlsec"}


def test_every_requirement_has_a_hash() -> None:
    for file in (
        "requirements-embedded.txt",
        "requirements.txt",
        "requirements-otel.txt",
        "requirements-demo.txt",
        "requirements-dev.txt",
    ):
        blocks = re.split(r"^(?=[a-z0-9])", (ROOT / file).read_text(), flags=re.MULTILINE)[1:]
        assert blocks
        for block in blocks:
            assert "--hash=sha256:" in block, block


def test_the_image_runs_by_number_without_what_installs_packages() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    (user,) = re.findall(r"^USER (.*)$", stages[-1], flags=re.MULTILINE)
    assert user.isdecimal()
    assert int(user) > 0
    assert f"--uid {user} " in stages[-1]
    for stage in stages:
        assert re.search(r"pip uninstall --yes .*\bsetuptools\b.*\bpip\b", stage)
        assert stage.index("WORKDIR ") < stage.index("COPY ")
