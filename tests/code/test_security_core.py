"""The security core stays as small as one person reviews in an hour, and each module of it has its tests."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "internals" / "security-core.md"
MOST_LINES: Final = 3_000
ROW: Final = re.compile(r"^\| \[([\w/]+\.py)\]\(\.\./\.\./([\w/]+\.py)\) \| (.+) \| (.+) \|$", re.MULTILINE)


def rows() -> list[tuple[str, ...]]:
    return ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_the_core_has_at_most_three_thousand_lines() -> None:
    modules = [module for module, *_ in rows()]
    assert len(modules) == len(set(modules)) == 13
    lines = {module: len((ROOT / module).read_text(encoding="utf-8").splitlines()) for module in modules}
    assert sum(lines.values()) <= MOST_LINES, lines


def test_each_module_has_tests() -> None:
    for module, link, _, held_by in rows():
        tests = re.findall(r"\]\(\.\./\.\./([\w/]+\.py)\)", held_by)
        assert module == link
        assert tests, module
        assert all((ROOT / test).is_file() and "/test_" in test for test in tests), tests
