"""The commands besides `run`: each prints one result, as text or as JSON."""

import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from kpr import API_LEVEL, __version__
from kpr.api import Api, path_of
from kpr.cli.output import print_document, print_result, print_rows
from kpr.errors import NotFoundError, SignInError, UsageError
from kpr.lookup import absent, listed, require_environment, tell_outside
from kpr.running.run import find_value, warn_of_none
from kpr.settings import PROJECT_FILE, Settings, normal_server, resolve, write_project
from kpr.signin.credentials import (
    PERSONAL,
    check_token,
    forget_token,
    remember_server,
    store_token,
    stored_token,
)
from kpr.signin.device import signed_in_by_code


def get(options: Namespace, settings: Settings, api: Api) -> int:
    """Print one value: exact on a pipe, with a line feed on a terminal."""
    try:
        value = find_value(settings, api, options.name)
    except NotFoundError:
        raise absent(api, settings.required_environment(), options.name) from None
    if options.format == "json":
        return print_document({"name": options.name, "value": value})
    end = "\n" if sys.stdout.isatty() and not value.endswith("\n") else ""
    sys.stdout.buffer.write(f"{value}{end}".encode())
    sys.stdout.flush()
    return 0


def list_secrets(options: Namespace, settings: Settings, api: Api) -> int:
    """Print the names of secrets, without values."""
    place = settings.required_environment()
    columns = ("name", "secret_type", "version", "updated_at")
    found = {row["name"]: row for each in settings.prefixes or ("",) for row in listed(api, place, each)}
    if not found:
        require_environment(api, place)
        warn_of_none(settings)
    rows = [{column: found[name][column] for column in columns} for name in sorted(found)]
    return print_rows(options, rows, columns)


def set_secret(options: Namespace, settings: Settings, api: Api) -> int:
    """Store a value that comes from standard input or a prompt."""
    place = settings.required_environment()
    value = _typed_value(options.name) if sys.stdin.isatty() else _piped_value(exact=options.exact)
    body: dict[str, Any] = {"value": value}
    if options.type:
        body["secret_type"] = options.type
    if options.comment:
        body["comment"] = options.comment
    answer = api.send("PUT", path_of("environments", place, "secrets", options.name), body=body)
    document = answer.document()
    told = {"name": document["name"], "version": document["version"], "environment": place}
    tell_outside([options.name], settings)
    return print_result(options, told, f"Stored {told['name']} in {place}, version {told['version']}.")


def login(options: Namespace, settings: Settings, api: Api) -> int:
    """Sign in by a code that the person enters in Keeper, or by a token from standard input or a prompt."""
    features = api.version()["features"]
    if options.token:
        given = _typed_token() if sys.stdin.isatty() else sys.stdin.read().strip()
    elif options.web:
        if "loopback-sign-in" not in features:
            raise UsageError("This server has no sign-in by the browser: use kpr login.")
        from kpr.signin.loopback import signed_in_by_browser  # noqa: PLC0415 - only here

        given = signed_in_by_browser(api)
    elif "device-sign-in" in features:
        given = signed_in_by_code(api)
    else:
        raise UsageError("This server has no sign-in by code: use kpr login --token.")
    api.token = check_token(given)
    who = api.get("whoami").document()
    where = store_token(settings.server, api.token, storage=options.storage)
    remember_server(settings.server)
    place = "the keyring" if where == "keyring" else "a file of mode 0600, as there is no usable keyring"
    if options.storage == "file":
        place = "a file of mode 0600"
    result = {"name": who["name"], "kind": who["kind"], "server": settings.server, "storage": where}
    return print_result(
        options, result, f"Signed in to {settings.server} as {who['name']}. The token is stored in {place}."
    )


def logout(options: Namespace, settings: Settings, api: Api) -> int:
    """Delete copies and fingerprints, revoke a person's token at its server, and remove the stored token."""
    from kpr.running.offline import forget_copies  # noqa: PLC0415 - only here
    from kpr.scanning.fingerprints import forget_fingerprints  # noqa: PLC0415 - only here

    # First, as the rest may fail.
    forget_copies(settings.server)
    forget_fingerprints(settings.server)
    api.token = stored_token(settings.server)
    if api.token.startswith(PERSONAL):
        with suppress(SignInError, NotFoundError):
            api.send("DELETE", "whoami/token")
    had = forget_token(settings.server)
    told = f"Signed out of {settings.server}." if had else f"There was no token for {settings.server}."
    return print_result(options, {"server": settings.server, "signed_out": had}, told)


def whoami(options: Namespace, settings: Settings, api: Api) -> int:
    """Print who the token is of, and what it may."""
    who = api.get("whoami").document()
    if options.format == "json":
        return print_document({**who, "server": settings.server})
    sys.stdout.write(f"{who['name']} ({who['kind']}) at {settings.server}\n")
    for grant in who["grants"]:
        below = f" under {grant['prefix']}" if grant.get("prefix") else ""
        sys.stdout.write(f"  {grant['role']} in {grant['environment']}{below}\n")
    return 0


def init(options: Namespace) -> int:
    """Write a project file into this folder."""
    prefix, *more = options.prefix or [""]
    if more:
        raise UsageError("A project file names one prefix: give others to the command.")
    values: dict[str, Any] = {
        "server": normal_server(options.server) if options.server else "",
        "environment": options.environment or "",
        "prefix": prefix.strip("/"),
        "required": options.require,
    }
    path = Path.cwd() / PROJECT_FILE
    try:
        write_project(path, {name: value for name, value in values.items() if value})
    except FileExistsError:
        raise UsageError(f"{PROJECT_FILE} exists already: edit it, or remove it first.") from None
    return print_result(options, {"path": str(path)}, f"Wrote {PROJECT_FILE}. It holds no secret: commit it.")


def version(options: Namespace) -> int:
    """Print the versions of kpr and, if one is configured, of the server."""
    told: dict[str, Any] = {"kpr": __version__, "api_level": API_LEVEL}
    with suppress(UsageError):
        server = resolve(options).server
        told["server"] = {"address": server, **Api(server, debug=options.debug).version()}
    if options.format == "json":
        return print_document(told)
    sys.stdout.write(f"kpr {__version__}\n")
    if "server" in told:
        server = told["server"]
        sys.stdout.write(
            f"Keeper {server['version']}, API level {server['api_level']}, {server['address']}\n"
        )
    return 0


def _typed_token() -> str:
    from getpass import getpass  # noqa: PLC0415 - only at a terminal

    return getpass("Token (not shown): ").strip()


def _typed_value(name: str) -> str:
    from getpass import getpass  # noqa: PLC0415 - only at a terminal

    value = getpass(f"Value of {name} (not shown): ")
    if value != getpass("Again: "):
        raise UsageError("The two differ; nothing was stored.")
    return value


def _piped_value(*, exact: bool) -> str:
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise UsageError("The value is not UTF-8: encode binary content, for example by base64.") from None
    return text if exact else text.removesuffix("\n")
