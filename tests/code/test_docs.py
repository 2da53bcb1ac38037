"""What the documents name is there: links, commands, options, variables."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.management import get_commands, load_command_class

from keeper_project.runtime.cli import translate
from keeper_project.startup import OWN_RENAMED, RENAMED

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_LINK: Final = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
_COMMAND: Final = re.compile(r"(?<![\w./-])keeper ((?:[a-z][a-z0-9_-]+)(?: [a-z][a-z-]+)?)([^`\n|]*)")
_VARIABLE: Final = re.compile(r"`((?:KEEPER|KMS|AWS|VAULT|OKTA|EMAIL|SESSION)_[A-Z_]+)[`=]")
# Words after "keeper" that are no command: names of containers and programs.
_PROSE: Final = frozenset({"keeper"})
# Read by Compose; a stage of AWS Secrets Manager.
_OTHERS: Final = frozenset(
    {"KEEPER_HOST", "KEEPER_CERTIFICATES", "KEEPER_PENDING", "VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_TOKEN"}
    | {"BAO_ADDR", "BAO_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_SECRETSMANAGER_ENDPOINT"}
    | {"AWS_CONTAINER_AUTHORIZATION_TOKEN"}
)


def _in_code(text: str) -> Iterator[str]:
    """Yield the blocks and the spans of code."""
    yield from re.findall(r"^```(?:bash|sh)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`([^`\n]+)`", text)


def test_every_link_leads_somewhere() -> None:
    broken = {
        str(document.relative_to(ROOT)): found
        for document in DOCUMENTS
        if (found := [*_broken_links(document)])
    }
    assert broken == {}
    assert len(DOCUMENTS) > 20


def _broken_links(document: Path) -> Iterator[str]:
    for target, anchor in _LINK.findall(document.read_text()):
        path = (document.parent / target).resolve() if target else document
        if not path.exists():
            yield target
        elif anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
            if anchor not in slugs:
                yield f"{target}#{anchor}"


def test_every_command_is_one_and_takes_the_options_that_are_shown() -> None:
    commands, found = get_commands(), 0
    for document in DOCUMENTS:
        for code in _in_code(document.read_text()):
            for words, rest in _COMMAND.findall(code):
                name = translate(words.split())[0]
                if name in _PROSE:
                    continue
                assert name in commands, f"{document.name}: keeper {words}"
                options = set(re.findall(r"(--[a-z][a-z-]+)", rest.partition("#")[0]))
                parser = load_command_class(str(commands[name]), name).create_parser("keeper", name)
                assert options <= _options(parser), f"{document.name}: keeper {words}{rest}"
                found += 1
    assert found > 50


def _options(parser: object) -> set[str]:
    """Return the options of a command and of its subcommands."""
    found: set[str] = set()
    for action in parser._actions:  # type: ignore[attr-defined]
        found |= set(action.option_strings)
        if isinstance(action.choices, dict):
            for inner in action.choices.values():
                found |= _options(inner)
    return found


def test_every_variable_is_read() -> None:
    known = set(dir(settings)) | set(
        re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )
    for document in DOCUMENTS:
        named = set(_VARIABLE.findall(document.read_text()))
        assert named <= known | _OTHERS | RENAMED.keys() | OWN_RENAMED.keys(), (document.name, named - known)
