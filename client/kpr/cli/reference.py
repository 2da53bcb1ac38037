"""The reference of the commands, written from the parser: the table of docs/kpr.md.

`python -m kpr.cli.reference FILE` rewrites the part of a page between its two marks.
"""

import sys
from argparse import Action, ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kpr.cli.parser import build

BEGIN = "<!-- reference: written by `make client` -->"
END = "<!-- end of the reference -->"
_EVERYWHERE = frozenset({"help", "server", "format", "debug"})


def markdown() -> str:
    """Return the reference: a section for each command."""
    sections = [_common(), *(_section(name, parser) for name, parser in commands().items())]
    return "\n\n".join(sections)


def commands() -> dict[str, Any]:
    """Return the parser of each command, by its name."""
    for action in build()._actions:  # noqa: SLF001 - argparse has no other way to its options
        if isinstance(action.choices, dict):
            return dict(action.choices)
    return {}


def options_of(verb: str) -> list[Action]:
    """Return the options and arguments of a command, without --help."""
    return [each for each in commands()[verb]._actions if each.dest != "help"]  # noqa: SLF001 - as above


def rewritten(page: str) -> str:
    """Return a page with the present reference between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{markdown()}\n\n{END}{after}"


def _common() -> str:
    some = next(iter(commands().values()))
    rows = "\n".join(_rows(some, only=_EVERYWHERE - {"help", "format"}))
    text = "| `--format text\\|json` | the form of the output; errors too |"
    return f"Every command takes:\n\n| | |\n|---|---|\n{rows}\n{text}"


def _section(name: str, parser: ArgumentParser) -> str:
    usage = parser.format_usage().removeprefix("usage: ").strip() if name == "run" else f"kpr {name}"
    rows = "\n".join(_rows(parser))
    table = f"\n\n| | |\n|---|---|\n{rows}" if rows else ""
    return f"### `{usage}`\n\n{parser.description}{table}"


def _rows(parser: ArgumentParser, *, only: frozenset[str] = frozenset()) -> Iterator[str]:
    for action in parser._actions:  # noqa: SLF001 - as above
        if (action.dest in only) if only else _is_own(action):
            yield f"| `{spelled(action)}` | {action.help} |"


def _is_own(action: Action) -> bool:
    """Return whether an option is of this command alone; formats are if text is none of them."""
    own_formats = action.dest == "format" and "text" not in (action.choices or ())
    return own_formats or action.dest not in _EVERYWHERE


def spelled(action: Action) -> str:
    """Return an option as a table shows it."""
    if not action.option_strings:
        return action.dest.upper()
    value = "\\|".join(action.choices) if action.choices else str(action.metavar or "")
    takes_value = action.nargs != 0
    return ", ".join(action.option_strings) + (f" {value}" if takes_value else "")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
