"""Reads dotenv files: NAME=value lines, taken literally; nothing is substituted and nothing runs.

After an optional `export`, a name and `=` follow: text between single quotes, all of it literal; text
between double quotes, in which a backslash escapes another, " $ or a backtick, and n, r or t; or plain text
to the end of the line or to a `#` after a blank. Quoted text may span lines. Keeper's exports are read back
unchanged.
"""

import re
from typing import Final

from secrets_app.importing.formats.entries import Entry, unreadable

_NAME: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([^\s=#'\"]+)[ \t]*=[ \t]*")
_SKIPPED: Final = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")
_SINGLE: Final = re.compile(r"'([^']*)'")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_COMMENT: Final = re.compile(r"(?:^|[ \t])#.*")
_ESCAPE: Final = re.compile(r'\\([\\"$`nrt])')
_MEANT: Final = {"n": "\n", "r": "\r", "t": "\t"}


def parse_dotenv(text: str) -> list[Entry]:
    """Return the entries of a dotenv file. Raises InvalidInput if a quote is not closed."""
    entries = []
    at = 0
    line = 1
    while at < len(text):
        entry, end = _next(text, at, line)
        if entry:
            entries.append(entry)
        line += text.count("\n", at, end)
        at = end
    return entries


def _next(text: str, at: int, line: int) -> tuple[Entry | None, int]:
    skipped = _SKIPPED.match(text, at)
    if skipped:
        return None, skipped.end()
    named = _NAME.match(text, at)
    if named is None:
        return Entry(place=line, name="", fault="The line is not NAME=value."), _end_of_line(text, at)
    value, end = _value(text, named.end(), line)
    rest = _SKIPPED.match(text, end)
    if rest is None:
        fault = "Something follows the closing quote: quote the whole value, or nothing of it."
        return Entry(place=line, name=named[1], fault=fault), _end_of_line(text, end)
    return Entry(place=line, name=named[1], value=value), rest.end()


def _value(text: str, at: int, line: int) -> tuple[str, int]:
    if text[at : at + 1] not in {"'", '"'}:
        newline = text.find("\n", at)
        end = len(text) if newline < 0 else newline
        return _COMMENT.sub("", text[at:end]).rstrip(), end
    quoted = (_SINGLE if text[at] == "'" else _DOUBLE).match(text, at)
    if quoted is None:
        raise unreadable(f"The quote that line {line} opens is never closed.")
    if text[at] == "'":
        return quoted[1], quoted.end()
    return _ESCAPE.sub(lambda match: _MEANT.get(match[1], match[1]), quoted[1]), quoted.end()


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1
