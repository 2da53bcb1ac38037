"""Reads environment variables as they are written, `$` included."""

import environ
from environ.fileaware_mapping import FileAwareMapping


class _EscapedEnviron(FileAwareMapping):  # type: ignore[misc]  # untyped base
    """The environment with each `$` escaped, which django-environ then undoes."""

    def __getitem__(self, key: str) -> str:
        return str(super().__getitem__(key)).replace("$", r"\$")


class LiteralEnv(environ.FileAwareEnv):  # type: ignore[misc]  # untyped base
    """An Env for which a value that starts with `$` is a value.

    django-environ reads it as the name of another variable, but a password may well start so.
    `NAME_FILE` still names a file that holds the value of NAME.
    """

    ENVIRON = _EscapedEnviron()

    def __init__(self) -> None:
        super().__init__()
        self.escape_proxy = True
