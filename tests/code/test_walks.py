"""The walks of docs/internals/architecture.md name functions that exist."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

DOCS: Final = Path(__file__).resolve().parents[2] / "docs" / "internals"
WALKS: Final = dict(
    re.findall(
        r"^## (Walk \d: .+?)\n(.*?)(?=^## )", (DOCS / "architecture.md").read_text(), re.MULTILINE | re.DOTALL
    )
)
_FUNCTION: Final = re.compile(r"\[`([\w.]+)`\]\(((?:\.\./)+[\w/]+\.py)\)")


def names_defined(module: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


def test_there_are_four_walks() -> None:
    assert len(WALKS) == 4


@pytest.mark.parametrize("walk", WALKS)
def test_each_hop_names_a_function_that_exists(walk: str) -> None:
    hops = re.split(r"^\d\. ", WALKS[walk], flags=re.MULTILINE)[1:]
    assert len(hops) >= 5
    for hop in hops:
        assert _FUNCTION.search(hop), hop
    for name, path in _FUNCTION.findall(WALKS[walk]):
        assert name in names_defined(DOCS / path), f"{name} in {path}"
