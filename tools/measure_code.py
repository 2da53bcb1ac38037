"""Measures the product's code: `python -m tools.measure_code [CHECKOUT]` prints a row for each figure.

Production code is that of the apps without tests and migrations. An arrow is an import between two files,
or two packages, at any depth of the code; several imports between the same two count once.
"""

import ast
import re
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Final

APPS: Final = (
    "core", "audit_app", "environments_app", "secrets_app", "sync_app", "gateway_app", "operations_app", "keeper_project",
)  # fmt: skip
_FUNCTIONS: Final = ast.FunctionDef | ast.AsyncFunctionDef


def modules(root: Path) -> dict[str, Path]:
    """Return the production modules by their dotted names."""
    files = (path for app in APPS for path in sorted((root / app).rglob("*.py")))
    kept = [path for path in files if not {"tests", "migrations"} & set(path.relative_to(root).parts)]
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in kept
    }


def imported(tree: ast.Module, known: dict[str, Path]) -> set[str]:
    """Return the production modules that a module imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known.keys()


def figures(root: Path) -> dict[str, float]:
    """Return the figures of a checkout."""
    known = modules(root)
    texts = {name: path.read_text(encoding="utf-8") for name, path in known.items()}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    lines = {name: len(text.splitlines()) for name, text in texts.items()}
    leaves = sorted(lines[name] for name, path in known.items() if path.name != "__init__.py")
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    functions = [node for node in nodes if isinstance(node, _FUNCTIONS)]
    words = Counter(word for text in texts.values() for word in re.findall(r"\w+", text))
    private = [
        each.name for each in functions if each.name.startswith("_") and not each.name.startswith("__")
    ]
    files = {(name, to) for name, tree in trees.items() for to in imported(tree, known) if to != name}
    folder = {name: path.parent for name, path in known.items()}
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    import_lines = sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in imports)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    documents = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, documented)]
    total = sum(lines.values())
    return {
        "production lines": total,
        "modules with __init__": len(known),
        "leaf modules": len(leaves),
        "lines of a leaf, mean": round(statistics.mean(leaves)),
        "lines of a leaf, median": statistics.median(leaves),
        "leaves over 320 lines": sum(size > 320 for size in leaves),
        "functions in 1,000 lines": round(1000 * len(functions) / total, 1),
        "private functions called once at most": sum(words[name] <= 2 for name in private),
        "import lines, %": round(100 * import_lines / total, 1),
        "docstring lines, %": round(100 * sum(len(text.splitlines()) for text in documents) / total, 1),
        "arrows between files": len(files),
        "arrows between packages": len({(folder[a], folder[b]) for a, b in files if folder[a] != folder[b]}),
    }


if __name__ == "__main__":
    for figure, value in figures(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        sys.stdout.write(f"{value:>10,}  {figure}\n")
