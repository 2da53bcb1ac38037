"""`kpr man`: the manual page, made from the parser and the exit codes (man(7))."""

import sys
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator

from kpr import __version__
from kpr.cli.reference import commands, options_of, spelled
from kpr.errors import EXIT_MEANINGS

_FILES = {
    ".kpr.toml": "the project: server, environment, prefix, names that must exist",
    "~/.config/kpr/credentials.json": "the servers, and tokens that are not in the keyring",
    "~/.cache/kpr": "encrypted offline copies, and keyed fingerprints",
}
_VARIABLES = {
    "KPR_SERVER": "the address of Keeper",
    "KPR_ENVIRONMENT": "the environment",
    "KPR_PREFIX": "the prefix of names",
    "KPR_TOKEN, KPR_TOKEN_FILE": "a token, or the file that holds it; only with KPR_SERVER or --server",
    "KPR_TRUST": "the trust by which a pipeline signs in; with KPR_JWT or KPR_JWT_FILE, or on GitHub",
    "KPR_CA_FILE": "a private certificate authority",
    "KPR_AGENT_SAFE": "1: kpr run masks as with --agent-safe, and no other command prints values",
    "KPR_OFFLINE_HOURS": "how old an offline copy may be; 0: none is kept",
}


def manual(_: Namespace) -> int:
    """Print the manual page."""
    sys.stdout.write("\n".join(_lines()) + "\n")
    return 0


def _lines() -> Iterator[str]:
    yield f'.TH KPR 1 "" "kpr {__version__}" "Keeper"'
    yield ".SH NAME\nkpr \\- run programs with their secrets of Keeper"
    yield ".SH SYNOPSIS\n.B kpr\n.I command\n[options]\n.br"
    yield ".B kpr run\n[options] \\-\\-\n.I command\n[arguments]"
    yield ".SH COMMANDS"
    for verb, parser in commands().items():
        yield from _section(verb, parser)
    yield from _table("ENVIRONMENT", _VARIABLES)
    yield from _table("FILES", _FILES)
    yield from _table("EXIT STATUS", {str(int(code)): text for code, text in EXIT_MEANINGS.items()})
    yield "Every other exit status of kpr run is the command's."


def _section(verb: str, parser: ArgumentParser) -> Iterator[str]:
    yield f".SS kpr {verb}\n{_text(parser.description or '')}"
    for action in options_of(verb):
        yield f".TP\n.B {_text(_name(action))}\n{_text(action.help or '')}"


def _name(action: Action) -> str:
    return spelled(action).replace("\\|", "|")


def _table(title: str, rows: dict[str, str]) -> Iterator[str]:
    yield f".SH {title}"
    for name, text in rows.items():
        yield f".TP\n.B {_text(name)}\n{_text(text)}"


def _text(text: str) -> str:
    """Return a text in which roff takes nothing for its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
