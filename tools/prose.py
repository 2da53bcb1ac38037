"""Searches prose for banned phrases: docstrings, comments, templates, documents and .env.example.

Run by `make lint`. Prints file, line, phrase and suggestion, and exits with 1. A phrase that is still in use
has a maximum in tools/prose.toml, which may only fall: a count above it fails, and so does one below it,
until the number is lowered (`python -m tools.prose --lower`).

A phrase of the pages (`pages = true`) is searched only in what users read: whole templates, attributes and
arguments of tags included, the scripts of the pages, and the strings of Python files that are no docstrings.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TABLE: Final = ROOT / "tools" / "prose.toml"
_GAP: Final = (
    r"(?:[ \t]+|[ \t]*\n[ \t]*(?:#[ \t]*)?)"  # a phrase may continue on the next line, of a comment too
)
# Strings come first, so that a # inside one starts no comment.
_PYTHON: Final = re.compile(
    r'(?P<docstring>^[ \t]*r?"""(?:[^"\\]|\\.|"(?!""))*""")'
    r'|"""(?:[^"\\]|\\.|"(?!""))*"""'
    r"|'''(?:[^'\\]|\\.|'(?!''))*'''"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'(?:[^'\\\n]|\\.)*'"
    r"|(?P<comment>#[^\n]*(?:\n[ \t]*#[^\n]*)*)",
    re.MULTILINE | re.DOTALL,
)
_MARKUP: Final = re.compile(
    r"<(script|style|code|pre)\b.*?</\1>|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", re.DOTALL | re.IGNORECASE
)
_CODE: Final = re.compile(r"^```.*?^```|^    [^\n]*|`[^`\n]+`|\]\([^)]*\)", re.MULTILINE | re.DOTALL)
_QUOTED: Final = re.compile(r"`[^`\n]+`")


@dataclass(frozen=True)
class Phrase:
    """A banned phrase: its pattern, what to write instead, and how many uses are still accepted."""

    name: str
    pattern: re.Pattern[str]
    suggestion: str
    maximum: int
    pages: bool = False


@dataclass(frozen=True)
class Use:
    """One use of a banned phrase."""

    phrase: Phrase
    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.text}". Instead: {self.phrase.suggestion}'


def read_phrases(table: Path = TABLE) -> list[Phrase]:
    """Return the phrases of the table."""
    return [
        Phrase(
            name=row["name"],
            pattern=re.compile(row["pattern"].replace(" ", _GAP)),
            suggestion=row["suggestion"],
            maximum=row["maximum"],
            pages=row.get("pages", False),
        )
        for row in tomllib.loads(table.read_text(encoding="utf-8"))["phrase"]
    ]


def prose_files(root: Path = ROOT) -> list[Path]:
    """Return the files with prose that Git knows, relative to the root; tests and migrations are left out."""
    listed = subprocess.run(
        [
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.py",
            "*.html",
            "*.txt",
            "*.js",
            "*.md",
            ".env.example",
        ],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return [Path(name) for name in listed if _has_prose(Path(name)) and (root / name).exists()]


def _has_prose(path: Path) -> bool:
    if path.suffix == ".js":
        return path.parts[0] == "static"
    if {"tests", "migrations", "benchmarks", "static"} & set(path.parts):
        return False
    if path.suffix in {".html", ".txt"}:
        return "templates" in path.parts
    return path.name not in {"conftest.py", "licences.md"}


def prose(path: Path, text: str) -> str:
    """Return the prose of a file, each word on the line where it is in the file."""
    if path.suffix == ".py":
        return _only(text, _python_prose(text))
    if path.suffix in {".html", ".txt"}:
        return _MARKUP.sub(_blank, text)
    if path.name == ".env.example":
        return _only(
            text, [match.span() for match in re.finditer(r"^# (?![A-Z0-9_]+=).*$", text, re.MULTILINE)]
        )
    if path.name == "CHANGELOG.md":  # released sections are history
        text = re.split(r"^## (?!\[?Unreleased)", text, maxsplit=1, flags=re.MULTILINE)[0]
    return _CODE.sub(_blank, text)


def page_text(path: Path, text: str) -> str:
    """Return what users read of a file: templates and scripts as they are, and the strings of Python."""
    if path.suffix == ".py":
        strings = (match for match in _PYTHON.finditer(text) if not (match["docstring"] or match["comment"]))
        return _only(text, [match.span() for match in strings])
    if path.suffix == ".js":
        return re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
    return text if "templates" in path.parts else ""


def _python_prose(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _PYTHON.finditer(text) if match["docstring"] or match["comment"]]


def _only(text: str, spans: Iterable[tuple[int, int]]) -> str:
    parts, end = [], 0
    for start, stop in spans:
        parts += ["\n" * text.count("\n", end, start), _QUOTED.sub(_blank, text[start:stop])]
        end = stop
    return "".join(parts)


def _blank(match: re.Match[str]) -> str:
    # No space: the words before and after it form no phrase.
    return "\N{MIDDLE DOT}" + "\n" * match[0].count("\n")


def find(path: Path, text: str, phrases: list[Phrase]) -> Iterator[Use]:
    """Yield the uses of banned phrases in the text of one file."""
    cleaned = "" if path.suffix == ".js" else prose(path, text).lower()
    shown = page_text(path, text).lower()
    for phrase in phrases:
        searched = shown if phrase.pages else cleaned
        for match in phrase.pattern.finditer(searched):
            line = searched.count("\n", 0, match.start()) + 1
            yield Use(phrase, path, line, " ".join(match[0].replace("#", " ").split()))


def problems(uses: list[Use], phrases: list[Phrase]) -> list[str]:
    """Return a line for each use above a maximum, and one for each maximum that can be lowered."""
    lines = []
    for phrase in phrases:
        own = [use for use in uses if use.phrase is phrase]
        if len(own) > phrase.maximum:
            lines += [str(use) for use in own]
            if phrase.maximum:
                lines.append(f'"{phrase.name}": {len(own)} uses, and at most {phrase.maximum} are accepted.')
        elif len(own) < phrase.maximum:
            lines.append(
                f'"{phrase.name}": {len(own)} uses are left. Lower its maximum from {phrase.maximum} in '
                "tools/prose.toml: python -m tools.prose --lower"
            )
    return lines


def lower(uses: list[Use], phrases: list[Phrase], table: Path = TABLE) -> None:
    """Write each maximum that is above the count of uses down to that count. Never raises one."""
    text = table.read_text(encoding="utf-8")
    for phrase in phrases:
        count = sum(use.phrase is phrase for use in uses)
        if count < phrase.maximum:
            row = re.compile(rf'(name = "{re.escape(phrase.name)}"\n(?:.*\n)*?maximum = )\d+')
            text = row.sub(rf"\g<1>{count}", text, count=1)
    table.write_text(text, encoding="utf-8")


def main() -> int:
    """Search all prose; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lower", action="store_true", help="lower each maximum to the uses that are left")
    parser.add_argument("--counts", action="store_true", help="print the uses of each phrase")
    parser.add_argument("--list", metavar="PHRASE", help="print all uses of one phrase")
    options = parser.parse_args()
    phrases = read_phrases()
    uses = [
        use
        for path in prose_files()
        for use in find(path, (ROOT / path).read_text(encoding="utf-8"), phrases)
    ]
    if options.lower:
        lower(uses, phrases)
        return 0
    if options.counts:
        lines = [f"{sum(use.phrase.name == each.name for use in uses):5} {each.name}" for each in phrases]
    elif options.list:
        lines = [str(use) for use in uses if use.phrase.name == options.list]
    else:
        lines = problems(uses, phrases)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 1 if lines and not (options.counts or options.list) else 0


if __name__ == "__main__":
    sys.exit(main())
