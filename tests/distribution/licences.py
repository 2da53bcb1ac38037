"""Writes docs/internals/licences.md: the licence of each package that Keeper runs on, as the package states it.

`python -m tests.distribution.licences` (make licences) writes it; a test finds it out of date.
"""

import re
from importlib.metadata import PackageMetadata, metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "internals" / "licences.md"

_PINNED: Final = re.compile(r"^([a-z0-9_.-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)
_CLASSIFIER: Final = "License :: OSI Approved :: "
_HEAD: Final = """\
# Licences

What Keeper runs on, from `requirements.txt`; `make licences` writes this page from what each package states,
and a test finds it out of date. Keeper loads these packages and holds no copy of their source.

Two groups want a look before you pass on an image with them inside: `mysqlclient` is GPL-2.0-or-later, and `psycopg` is LGPL-3.0, which asks that people can
replace them; both are ordinary packages in the image's site-packages, so they can.

| Package | Version | Licence |
|---|---|---|
"""


def pinned() -> list[tuple[str, str]]:
    """Return the packages of requirements.txt with their versions."""
    return _PINNED.findall((ROOT / "requirements.txt").read_text(encoding="utf-8"))


def licence(package: PackageMetadata) -> str:
    """Return the licence that a package states: its SPDX expression, else its classifiers, else its text."""
    stated = package.json
    if expression := stated.get("license_expression"):
        return str(expression)
    lines = [str(line) for line in stated.get("classifier", ())]
    found = [line.removeprefix(_CLASSIFIER) for line in lines if line.startswith(_CLASSIFIER)]
    return ", ".join(found) or str(stated.get("license", "")).partition("\n")[0]


def page() -> str:
    """Return the page."""
    rows = (f"| {name} | {version} | {licence(metadata(name))} |" for name, version in pinned())
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
