"""Every management command has a test module, help that says what it does, and a form for programs."""

import argparse
from pathlib import Path

import pytest
from django.core.management import load_command_class

# A server, and what asks a person or prepares a database alone.
FOR_PEOPLE = {"run", "init_db", "reset_db", "createsuperuser", "changepassword"}
ROOT = Path(__file__).resolve().parents[2]
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
COMMANDS = [
    (path.parts[-4], path.stem)
    for app in APPS
    for path in sorted((ROOT / app / "management" / "commands").glob("*.py"))
    if path.stem != "__init__"
]


def test_there_are_commands() -> None:
    assert {name for _, name in COMMANDS} >= {"run", "init_db", "reset_db", "issue_token", "verify_audit"}


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_it_has_a_test_module(app: str, name: str) -> None:
    own = list((ROOT / app / "tests").rglob(f"test_{name}*.py"))
    beside = (ROOT / app / "tests" / "management").rglob("test_*.py")
    assert own or any(f'"{name}"' in each.read_text() for each in beside), f"{app}/tests/test_{name}.py"


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_it_has_help(app: str, name: str) -> None:
    assert load_command_class(app, name).help


@pytest.mark.parametrize(("app", "name"), [each for each in COMMANDS if each[1] not in FOR_PEOPLE])
def test_programs_read_what_it_found(app: str, name: str) -> None:
    command = load_command_class(app, name)
    parser = command.create_parser("keeper", name)
    taken = "--format" in parser._option_string_actions
    acts = {
        act: "--format" in options._option_string_actions
        for each in parser._actions
        if isinstance(each, argparse._SubParsersAction)
        for act, options in each.choices.items()
    }
    assert taken or (acts and all(acts.values())), acts
