"""`--agent-safe`: refuses what would show an assistant the values, as far as a command line shows it.

It hinders accidents. A program that wants to pass a value on can.
"""

import os
import re
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import PurePath

from kpr.errors import UsageError

_VARIABLE = "KPR_AGENT_SAFE"
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "ash"})
# With options alone they print every variable.
_PRINTERS = frozenset({"export", "declare", "typeset"})
_ENVIRON = re.compile(r"/proc/[^/\s]+/(task/[^/\s]+/)?environ\b")
# The whole environment of an interpreter, and not one variable of it.
_WHOLE = re.compile(
    r"\bos\.environ(?!\s*(\[|\.(get|setdefault|pop)\b))|\bprocess\.env(?![\w.\[])|%ENV\b|\bENV\.(to_h|each|inspect)\b"
)
_OPTION = re.compile(r"[-+].*|\w+=.*", re.DOTALL)


def is_agent_safe(options: Namespace) -> bool:
    """Return whether the option or the variable KPR_AGENT_SAFE asks for it."""
    return bool(getattr(options, "agent_safe", False)) or os.environ.get(_VARIABLE, "") not in {"", "0"}


def refuse_values(options: Namespace) -> None:
    """Refuse a command of kpr that prints values. Raises UsageError."""
    prints = (
        options.verb in {"get", "export"}
        or (options.verb == "template" and not options.output)
        or (options.verb == "generate" and options.reveal)
    )
    if prints and is_agent_safe(options):
        raise UsageError(f"{_VARIABLE} is set: kpr {options.verb} prints no values. Use kpr run.")


def refuse_dump(command: Sequence[str]) -> None:
    """Refuse a command that would print all variables, as far as its words show it. Raises UsageError."""
    if _is_dump(list(command)):
        raise UsageError("--agent-safe: this command prints all variables. Name what you need instead.")


def _is_dump(words: list[str]) -> bool:
    if any(_ENVIRON.search(word) or _WHOLE.search(word) for word in words):
        return True
    name, rest = PurePath(words[0]).name, words[1:]
    if name == "env":
        inner = [place for place, word in enumerate(rest) if not _OPTION.fullmatch(word)]
        return not inner or _is_dump(rest[inner[0] :])
    if name == "printenv" or name in _PRINTERS:
        return all(word.startswith("-") for word in rest)
    if name == "set":
        return not rest
    if name in _SHELLS:
        return any(_is_dump(each) for word in rest for each in _commands(word) if word not in {"-c", name})
    return False


def _commands(script: str) -> list[list[str]]:
    """Return the simple commands of a script of a shell, without what leads to them."""
    try:
        lexer = shlex.shlex(script, posix=True, punctuation_chars=";|&()<>\n`")
        lexer.whitespace, lexer.whitespace_split = " \t\r", True
        words = list(lexer)
    except ValueError:
        words = script.split()
    found: list[list[str]] = [[]]
    for word in words:
        if set(word) <= set(";|&()<>\n`${}"):
            found.append([])
        else:
            found[-1].append(word)
    return [each for each in found if each]
