"""Which functions of Keeper lead to which others, read from the source: for walks over all use cases."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
APPS: Final = (
    "core",
    "audit_app",
    "environments_app",
    "secrets_app",
    "sync_app",
    "gateway_app",
    "operations_app",
    "keeper_project",
)
_LEFT_OUT: Final = {"tests", "migrations"}


@dataclass
class Function:
    """A function or method, by `module.name` or `module.Class.name`, with the names that it uses."""

    name: str
    node: ast.FunctionDef
    uses: set[str] = field(default_factory=set)

    @property
    def parameters(self) -> set[str]:
        """The names of what it takes."""
        return {each.arg for each in (*self.node.args.args, *self.node.args.kwonlyargs)}

    @property
    def decorators(self) -> str:
        """What stands above it."""
        return " ".join(ast.unparse(each) for each in self.node.decorator_list)


@cache
def functions() -> dict[str, Function]:
    """Return every function at the top of a module or class of the five apps."""
    found: dict[str, Function] = {}
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if not _LEFT_OUT & set(parts):
                found |= {
                    each.name: each for each in _of_module(".".join(parts), ast.parse(path.read_text()))
                }
    return found


def leads_to(goals: set[str], *, past: frozenset[str] = frozenset()) -> set[str]:
    """Return the names of all functions from which one of the goals is reached, but not through `past`."""
    known, grown = set(goals), True
    while grown:
        more = {each.name for each in functions().values() if each.uses & known} - known - past
        known, grown = known | more, bool(more)
    return known


def _of_module(module: str, tree: ast.Module) -> Iterator[Function]:
    places = {node.name: f"{module}.{node.name}" for node in tree.body if isinstance(node, ast.FunctionDef)}
    # Also imports inside functions: those that break a circle.
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            places |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Import):
            places |= {each.asname or each.name: each.name for each in node.names}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield Function(f"{module}.{node.name}", node, set(_uses(node, places, f"{module}.")))
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    own = f"{module}.{node.name}."
                    yield Function(own + member.name, member, set(_uses(member, places, own)))


def _uses(function: ast.FunctionDef, places: dict[str, str], own: str) -> Iterator[str]:
    """Yield what a function names, called or handed on; of objects only its own (`self.name`)."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id in places:
            yield places[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in places:
                yield f"{places[node.value.id]}.{node.attr}"
            elif node.value.id in {"self", "cls"}:
                yield own + node.attr
