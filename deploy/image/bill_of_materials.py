"""Writes what an image holds: a CycloneDX 1.6 document, and a list of licences. Only the standard library.

Usage: bill_of_materials.py FOLDER. Python packages are those of the interpreter that runs this, packages of
Debian those that dpkg knows.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import quote

_CLASSIFIER = "License :: OSI Approved :: "
Component = dict[str, object]


def licence_of(package: Distribution) -> str:
    """Return the licence that a package states: its SPDX expression, else its classifiers, else its text."""
    stated = package.metadata
    if expression := stated.get("License-Expression"):
        return expression
    lines = stated.get_all("Classifier") or []
    found = [line.removeprefix(_CLASSIFIER) for line in lines if line.startswith(_CLASSIFIER)]
    return ", ".join(found) or (stated.get("License") or "").partition("\n")[0]


def python_packages() -> Iterator[Component]:
    """Yield the packages of this interpreter."""
    for package in sorted(distributions(), key=lambda each: each.name.lower()):
        name = package.name.lower().replace("_", "-")
        component = _component(f"pkg:pypi/{name}@{package.version}", package.name, package.version)
        if licence := licence_of(package):
            component["licenses"] = [{"license": {"name": licence}}]
        yield component


def debian_packages() -> Iterator[Component]:
    """Yield the packages of the system; none where dpkg is absent."""
    form = "${Package} ${Version} ${Architecture}\n"
    try:
        listed = subprocess.run(
            ["dpkg-query", "--show", f"--showformat={form}"], capture_output=True, text=True, check=True
        ).stdout
    except FileNotFoundError:
        return
    for line in listed.splitlines():
        name, version, architecture = line.split()
        address = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
        yield _component(address, name, version)


def _component(address: str, name: str, version: str) -> Component:
    return {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address}


def main(folder: Path) -> None:
    """Write sbom.cdx.json and LICENCES.txt."""
    found = [*python_packages()]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "keeper", "name": "keeper"}},
        "components": [*found, *debian_packages()],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sbom.cdx.json").write_text(json.dumps(document, indent=1) + "\n")
    lines = [f"{each['name']} {each['version']}: {_stated(each)}" for each in found]
    lines.append("Packages of Debian: see /usr/share/doc/PACKAGE/copyright.")
    (folder / "LICENCES.txt").write_text("\n".join(lines) + "\n")


def _stated(component: Component) -> str:
    (licence,) = component.get("licenses", [{"license": {"name": "not stated"}}])  # type: ignore[attr-defined]
    return str(licence["license"]["name"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
