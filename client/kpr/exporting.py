"""`kpr export`: all values in a form. Five are the server's own; those for shells and hosts are made here.

A form that cannot hold a value refuses it: nothing is changed silently.
"""

import json
import re
import secrets
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping

from kpr.api import Api, path_of
from kpr.errors import NamesError, UsageError
from kpr.running.naming import Naming
from kpr.running.run import read_export, warn_of_none
from kpr.settings import Settings

OF_SERVER = ("dotenv", "json", "yaml", "csv", "kubernetes")
# bufio.Scanner, by which Docker and Podman read lines, takes no longer ones.
_DOCKER_LINE_BYTES = 64 * 1024
# What stays special between double quotes, in a POSIX shell and in systemd.exec(5), EnvironmentFile.
_QUOTED = re.compile(r'([\\"$`])')


def export(options: Namespace, settings: Settings, api: Api) -> int:
    """Print all values in a form; on a terminal only if `--reveal` is given. Raises KprError."""
    if sys.stdout.isatty() and not options.reveal:
        raise UsageError("This prints every value: send it to a file or a program, or add --reveal.")
    place = settings.required_environment()
    if options.format in OF_SERVER and not settings.more_prefixes:
        query = {"format": options.format, **({"prefix": settings.prefix} if settings.prefix else {})}
        content = api.get(path_of("environments", place, "export"), query).body
        if _is_empty(content):
            warn_of_none(settings)
    elif options.format in OF_SERVER and options.format != "json":
        raise UsageError(f"An export as {options.format} takes one --prefix: export each by itself.")
    else:
        answers = [read_export(each, api).document() for each in settings.each_prefix()]
        values = {name: value for each in answers for name, value in each.items()}
        if not values:
            warn_of_none(settings)
        text = (
            json.dumps(values, indent=2) + "\n"
            if options.format == "json"
            else written(values, options.format)
        )
        content = text.encode()
    sys.stdout.buffer.write(content)
    sys.stdout.flush()
    return 0


def _is_empty(content: bytes) -> bool:
    """Return whether an export of the server holds nothing, in whichever of its forms."""
    text = content.strip()
    return text in {b"", b"{}", b'"name","value","escaped"'} or text.endswith(b"\ndata: {}")


def written(values: Mapping[str, str], form: str) -> str:
    """Return a form's text with the names of variables. Raises NamesError if one does not fit or collides."""
    variables: dict[str, str] = {}
    naming = Naming(allows_loaders=True)
    for name, value in values.items():
        variable = naming.variable(name)
        if variable in variables:
            raise NamesError(f"Two secrets would both be {variable}: rename one, or export a prefix.")
        if "\0" in value:
            raise NamesError(f"{name} holds a NUL byte, which no variable can.")
        variables[variable] = value
    return "".join(FORMS[form](variable, value) for variable, value in variables.items())


def _shell(variable: str, value: str) -> str:
    return f"export {variable}={_single_quoted(value)}\n"


def _fish(variable: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {variable} '{escaped}'\n"


def _powershell(variable: str, value: str) -> str:
    # PowerShell takes typographic quotes for its own as well; each is doubled.
    escaped = re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", value)
    return f"$env:{variable} = '{escaped}'\n"


def _docker(variable: str, value: str) -> str:
    """Return a line of `docker run --env-file`, which takes everything after `=` as it is."""
    line = f"{variable}={value}\n"
    if "\n" in value or value.endswith("\r") or len(line.encode()) > _DOCKER_LINE_BYTES:
        raise NamesError(
            f"{variable} has several lines or is too long, which an env file of Docker cannot hold: "
            "use kpr run as the entry point instead."
        )
    return line


def _systemd(variable: str, value: str) -> str:
    escaped = _QUOTED.sub(r"\\\1", value)
    return f'{variable}="{escaped}"\n'


def _github(variable: str, value: str) -> str:
    """Return what is appended to the file of GITHUB_ENV: a delimiter that no value can know ends it."""
    if "\r" in value:
        raise NamesError(f"{variable} holds a carriage return, which a file of GITHUB_ENV may not keep.")
    delimiter = f"kpr_{secrets.token_hex(16)}"
    return f"{variable}<<{delimiter}\n{value}\n{delimiter}\n"


def _single_quoted(value: str) -> str:
    escaped = value.replace("'", "'\\''")
    return f"'{escaped}'"


FORMS: dict[str, Callable[[str, str], str]] = {
    "shell": _shell,
    "fish": _fish,
    "powershell": _powershell,
    "docker": _docker,
    "systemd": _systemd,
    "github-env": _github,
}
