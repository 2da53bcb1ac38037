"""Writes `.env.example` and the tables of docs/configuration.md from the declarations of the settings.

`python -m tools.configuration_reference --write` writes both; without it, the command exits with 1 if one of
them differs.
"""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import keeper_project.settings  # noqa: F401 - declares the variables
from core.config.variables import GROUPS, Group, Variable

ROOT: Final = Path(__file__).resolve().parent.parent
BEGIN: Final = "<!-- variables: written by tools.configuration_reference -->"
END: Final = "<!-- end of variables -->"
_WIDTH: Final = 100
_HEAD: Final = """\
# Every environment variable of Keeper. Copy this file to .env and change what you need; a variable that is
# set in the environment of the process wins over .env. A line that is commented out shows the default. For
# every variable, NAME_FILE may name a file that holds the value. Values are read literally: quotes are
# optional, and $ has no meaning. This file is generated (make docs).
"""


def env_example() -> str:
    """Return the text of `.env.example`."""
    return "\n".join([_HEAD, *(_section(group) for group in GROUPS)])


def _section(group: Group) -> str:
    title = f"{group.title} (docs/{group.page})" if group.page else group.title
    rule = f"# --- {title} ".ljust(_WIDTH, "-")
    return "\n\n".join([rule, *(_lines(variable) for variable in group.variables)]) + "\n"


def _lines(variable: Variable) -> str:
    about = textwrap.fill(
        f"{variable.help} {_unit(variable)}{_unset(variable)}".strip(),
        _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    shown = variable.example or ("" if variable.unset else variable.default)
    return f"{about}\n# {variable.name}={shown}"


def _unit(variable: Variable) -> str:
    if variable.kind in {"seconds", "minutes", "hours", "days"}:
        return f"Unit: {variable.kind}. "
    return {"list": "Separated by commas. ", "JSON object": "A JSON object. "}.get(variable.kind, "")


def _unset(variable: Variable) -> str:
    return f"Default: {variable.unset}." if variable.unset else ""


def tables() -> str:
    """Return the tables of docs/configuration.md, one for each group."""
    return "\n\n".join([BEGIN, *(_table(group) for group in GROUPS), END])


def _table(group: Group) -> str:
    title = f"[{group.title}]({group.page})" if group.page else group.title
    head = f"### {title}\n\n| Variable | Type or unit | Default | Meaning |\n|---|---|---|---|\n"
    return head + "\n".join(_rows(group))


def _rows(group: Group) -> Iterator[str]:
    for variable in group.variables:
        default = variable.unset or (f"`{variable.default}`" if variable.default else "empty")
        yield f"| `{variable.name}` | {variable.kind} | {default} | {variable.help} |"


def outputs() -> dict[Path, str]:
    """Return what the files should hold."""
    page = ROOT / "docs" / "configuration.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return {ROOT / ".env.example": env_example(), page: before + tables() + after}


def main() -> int:
    """Write the files, or report which of them are out of date."""
    stale = {path: text for path, text in outputs().items() if path.read_text() != text}
    if "--write" in sys.argv[1:]:
        for path, text in stale.items():
            path.write_text(text)
        return 0
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is out of date. Run: make docs\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
