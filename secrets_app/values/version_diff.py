"""How two values differ: field by field where they have fields, else line by line."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Beyond this the comparison of lines, which takes quadratic time at worst, is left out.
_MAX_LINES: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Part:
    """A field, or a line, and its state; the texts have no repr and are None where there is none."""

    name: str
    change: str
    old: str | None = field(default=None, repr=False)
    new: str | None = field(default=None, repr=False)


def field_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[Part]:
    """Return every field of two values with `added`, `removed`, `changed` or `same`, the old order first."""
    names = [*old, *(name for name in new if name not in old)]
    return [
        Part(name=name, change=_change(old.get(name), new.get(name)), old=old.get(name), new=new.get(name))
        for name in names
    ]


def line_changes(old: str, new: str) -> list[Part]:
    """Return the lines of two values in their order, as `added`, `removed` or `same`."""
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) > _MAX_LINES:
        return [Part(name="", change="removed", old=old), Part(name="", change="added", new=new)]
    parts = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for tag, low, high, begin, end in matcher.get_opcodes():
        if tag == "equal":
            parts += [Part(name="", change="same", old=line, new=line) for line in before[low:high]]
            continue
        parts += [Part(name="", change="removed", old=line) for line in before[low:high]]
        parts += [Part(name="", change="added", new=line) for line in after[begin:end]]
    return parts


def _change(old: str | None, new: str | None) -> str:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    return "same" if old == new else "changed"
