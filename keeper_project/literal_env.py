"""Reads environment variables as they are written, `$` included."""

import os
from enum import StrEnum
from typing import Any

import environ
from environ.fileaware_mapping import FileAwareMapping


class _EscapedEnviron(FileAwareMapping):  # type: ignore[misc]  # untyped base
    """The environment with each `$` escaped, which django-environ then undoes."""

    def __getitem__(self, key: str) -> str:
        return str(super().__getitem__(key)).replace("$", r"\$")


class Source(StrEnum):
    """Where a setting has its value from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FILE = "file"


class LiteralEnv(environ.FileAwareEnv):  # type: ignore[misc]  # untyped base
    """An Env for which a value that starts with `$` is a value.

    django-environ reads it as the name of another variable, but a password may well start so.
    `NAME_FILE` still names a file that holds the value of NAME.
    """

    ENVIRON = _EscapedEnviron()

    def __init__(self) -> None:
        super().__init__()
        self.escape_proxy = True
        # The variables that were asked for, in that order; never their values.
        self.sources: dict[str, Source] = {}

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        """Return the value of a variable, and remember where it came from."""
        self.sources[var] = _source(var)
        return super().get_value(var, *args, **kwargs)


def _source(name: str) -> Source:
    if f"{name}_FILE" in os.environ:
        return Source.FILE
    return Source.ENVIRONMENT if name in os.environ else Source.DEFAULT
