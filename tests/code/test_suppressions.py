"""What a checker was told to pass over has its reason beside it, or in the line above."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_SUPPRESSION = re.compile(r"#\s*(?:type: ignore\[[a-z, -]+\]|noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*)")
# Tests and benchmarks tell apart what is checked by whole rules, in pyproject.toml.
_PRODUCT = (
    "core",
    "audit_app",
    "environments_app",
    "secrets_app",
    "sync_app",
    "gateway_app",
    "operations_app",
    "keeper_project",
    "client",
    "docs",
    "manage.py",
)


def unexplained(text: str) -> Iterator[int]:
    """Yield the number of each line that passes something over and does not say why."""
    above, explained = "", False
    for number, line in enumerate(text.splitlines(), start=1):
        found = _SUPPRESSION.findall(line)
        if found:
            reason = _SUPPRESSION.sub("", line[_SUPPRESSION.search(line).start() :])  # type: ignore[union-attr]  # found
            continues = explained and _SUPPRESSION.findall(above) == found
            explained = bool(re.search(r"[A-Za-z]{2}", reason)) or above.lstrip().startswith("#") or continues
            if not explained:
                yield number
        above = line


def test_a_reason_is_asked_for() -> None:
    why = "x = 1  # type: ignore[misc]  # the stub is wrong\n"
    assert list(unexplained(why)) == []
    assert list(unexplained("# The stub is wrong.\nx = 1  # noqa: S101\ny = 1  # noqa: S101\n")) == []
    assert list(unexplained("x = 1  # noqa: S101\n\n" + why + "y = 1  # noqa: S101\n")) == [1, 4]


def test_each_suppression_of_the_product_says_why() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--", *_PRODUCT], cwd=_ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    code = [path for path in listed if path.endswith(".py") and "/tests/" not in path]
    assert len(code) > 300
    found = [f"{path}:{number}" for path in code for number in unexplained((_ROOT / path).read_text("utf-8"))]
    assert found == []
