"""The search for banned phrases finds them in prose, and nowhere else."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tools.prose import Phrase, find, lower, problems, prose_files, read_phrases

ANEW = Phrase("anew", re.compile(r"\banew\b"), "again", 0)
PLACES = [
    ("app/module.py", '"""Reads it\nanew."""\n', 2),
    ("app/module.py", 'def read() -> None:\n    """Read it anew."""\n', 2),
    ("app/module.py", "x = 1  # read anew\n", 1),
    ("templates/page.html", "<p>\n  Read {% if x %}anew{% endif %}</p>", 2),
    ("docs/page.md", "Read\nit\nanew.", 3),
    (".env.example", "# Read anew.\nX=1", 1),
    ("CHANGELOG.md", "# Changelog\n## Unreleased\n- read anew\n", 3),
]
NO_PROSE = [
    ("app/module.py", 'def read() -> None:\n    run("read # anew")\n    anew = """anew"""\n'),
    ("app/module.py", '"""Calls `anew`."""\n'),
    ("templates/page.html", '<a class="anew" href="{% url "anew" %}">{{ anew }}</a><script>anew()</script>'),
    ("docs/page.md", "```\nanew\n```\n`anew` and [link](anew.md)"),
    (".env.example", "# KEEPER_X=anew\nX=anew"),
    ("CHANGELOG.md", "## Unreleased\n## 0.1.0\n- read anew\n"),
]


@pytest.mark.parametrize(("name", "text", "line"), PLACES)
def test_a_phrase_is_found_in_prose_with_its_line(name: str, text: str, line: int) -> None:
    (use,) = find(Path(name), text, [ANEW])
    assert str(use) == f'{name}:{line}: "anew". Instead: again'


@pytest.mark.parametrize(("name", "text"), NO_PROSE)
def test_code_is_no_prose(name: str, text: str) -> None:
    assert list(find(Path(name), text, [ANEW])) == []


PAGES = [
    ("templates/page.html", '<a data-confirm="Read it\nanew?">x</a>', 2),
    ("app/forms.py", 'help_text = "Read it anew."', 1),
    ("static/keeper/js/page.js", '// anew\nsay("Read anew.");', 2),
]
NOT_READ = [
    ("app/forms.py", '"""Reads it anew."""\nx = 1  # anew\n'),
    ("docs/page.md", "Read it anew."),
    ("static/keeper/js/page.js", "  // Read it anew.\n"),
]


@pytest.mark.parametrize(("name", "text", "line"), PAGES)
def test_a_phrase_of_the_pages_is_found_in_what_users_read(name: str, text: str, line: int) -> None:
    (use,) = find(Path(name), text, [replace(ANEW, pages=True)])
    assert use.line == line


@pytest.mark.parametrize(("name", "text"), NOT_READ)
def test_a_phrase_of_the_pages_may_be_used_elsewhere(name: str, text: str) -> None:
    assert list(find(Path(name), text, [replace(ANEW, pages=True)])) == []


@pytest.mark.parametrize("text", ["# read by\n# itself\n", '"""Read by\n    itself."""\n'])
def test_a_phrase_may_continue_on_the_next_line(text: str, tmp_path: Path) -> None:
    table = tmp_path / "prose.toml"
    table.write_text("[[phrase]]\nname = 'x'\npattern = 'by itself'\nsuggestion = 'alone'\nmaximum = 0\n")
    (use,) = find(Path("app/module.py"), text, read_phrases(table))
    assert (use.line, use.text) == (1, "by itself")


def test_a_count_above_the_maximum_shows_each_use_and_one_below_asks_for_the_lower_number() -> None:
    two = Phrase("anew", ANEW.pattern, "again", 2)
    uses = list(find(Path("docs/page.md"), "anew anew anew", [two]))
    assert len(problems(uses, [two])) == 4
    assert problems(uses[1:], [two]) == []
    (line,) = problems(uses[2:], [two])
    assert "1 uses are left. Lower its maximum from 2" in line


def test_a_maximum_only_falls(tmp_path: Path) -> None:
    table = tmp_path / "prose.toml"
    row = '[[phrase]]\nname = "{}"\npattern = "{}"\nsuggestion = "again"\nmaximum = 2\n'
    table.write_text(row.format("anew", "anew") + row.format("of late", "of late"))
    phrases = read_phrases(table)
    uses = list(find(Path("docs/page.md"), "anew; of late, of late, of late", phrases))
    lower(uses, phrases, table)
    assert [phrase.maximum for phrase in read_phrases(table)] == [1, 2]


def test_the_files_are_those_of_production() -> None:
    files = {str(path) for path in prose_files()}
    assert {"README.md", ".env.example", "audit_app/recording/__init__.py", "docs/architecture.md"} <= files
    assert not any("/tests/" in name or "/migrations/" in name for name in files)
