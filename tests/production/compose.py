"""Reads what docker-compose.prod.yml would start: each service's command and variables."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_VARIABLE = re.compile(r"\$\{(\w+)(:\?|:-)?([^}]*)\}")


class Composition:
    """The services of docker-compose.prod.yml, with variables put in as Compose does."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        document = yaml.safe_load((ROOT / "docker-compose.prod.yml").read_text())
        self.services: dict[str, dict[str, Any]] = document["services"]

    def command(self, service: str) -> list[str]:
        """Return the program and its arguments; the image's entrypoint is `keeper`."""
        found = self.services[service]
        return [self._filled(part) for part in [*found.get("entrypoint", ["keeper"]), *found["command"]]]

    def environment(self, service: str) -> dict[str, str]:
        """Return the variables of a service."""
        given = self.services[service].get("environment", {})
        return {name: self._filled(str(value)) for name, value in given.items()}

    def _filled(self, text: str) -> str:
        return _VARIABLE.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        name, kind, fallback = match.groups()
        value = self._variables.get(name, "")
        assert value or kind != ":?", f"{name} is required"
        return value or (fallback if kind == ":-" else "")
