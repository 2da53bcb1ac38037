"""The commands that change a secret by its name, and show its versions. None takes a value as an argument."""

import secrets
import sys
from argparse import Namespace

from kpr.api import Api, path_of
from kpr.cli.output import print_result, print_rows
from kpr.cli.parser import ALPHABETS
from kpr.errors import RefusedError, UsageError
from kpr.lookup import absent, row_of, tell_outside
from kpr.settings import Settings

_EXISTS = 412
_ABSENT = 404


def delete(options: Namespace, settings: Settings, api: Api) -> int:
    """Delete a secret, after it was confirmed."""
    place, name = settings.required_environment(), options.name
    row = row_of(api, place, name)
    if not options.yes:
        _confirm(f"Delete {name} in {place} (version {row['version']})?")
    answer = api.send("DELETE", path_of("environments", place, "secrets", name), accepted=(_ABSENT,))
    if answer.status == _ABSENT:
        raise absent(api, place, name)
    told = f"Deleted {name} in {place}. It can be restored in Keeper until it is purged."
    return print_result(options, {"name": name, "environment": place, "deleted": True}, told)


def rename(options: Namespace, settings: Settings, api: Api) -> int:
    """Give a secret another name; programs that read the old one no longer find it."""
    place = settings.required_environment()
    row = row_of(api, place, options.name)
    document = api.send("POST", f"secrets/{row['id']}/rename", body={"name": options.new_name}).document()
    told = {"name": document["name"], "before": options.name, "environment": place}
    return print_result(options, told, f"Renamed {options.name} to {document['name']} in {place}.")


def generate(options: Namespace, settings: Settings, api: Api) -> int:
    """Store a random value, which is printed only on request."""
    place, alphabet = settings.required_environment(), ALPHABETS[options.characters]
    value = "".join(secrets.choice(alphabet) for _ in range(options.length))
    body = {"value": value, **({"secret_type": options.type} if options.type else {})}
    answer = api.send(
        "PUT",
        path_of("environments", place, "secrets", options.name),
        body=body,
        headers={} if options.replace else {"If-None-Match": "*"},
        accepted=(_EXISTS,),
    )
    if answer.status == _EXISTS:
        raise RefusedError(f"{options.name} exists in {place}: add --replace, or choose another name.")
    document = answer.document()
    told = {"name": document["name"], "version": document["version"], "environment": place}
    tell_outside([options.name], settings)
    text = f"Stored a random value as {told['name']} in {place}, version {told['version']}."
    if not options.reveal:
        return print_result(options, told, text)
    if options.format == "text":
        # The value alone is the output of the command.
        sys.stderr.write(f"kpr: {text}\n")
    return print_result(options, {**told, "value": value}, value)


def versions(options: Namespace, settings: Settings, api: Api) -> int:
    """Print the versions of a secret, without values."""
    row = row_of(api, settings.required_environment(), options.name)
    columns = ("number", "state", "created_at", "author", "comment")
    rows = [
        # A server of before has no states.
        {"state": "readable"} | {name: each[name] for name in (*columns, "is_current") if name in each}
        for each in api.every(f"secrets/{row['id']}/versions", {})
    ]
    if options.format == "json":
        return print_rows(options, rows, columns)
    shown = [{**each, "number": f"{each['number']}{'*' if each['is_current'] else ' '}"} for each in rows]
    return print_rows(options, shown, columns)


def rollback(options: Namespace, settings: Settings, api: Api) -> int:
    """Make the value of an earlier version current again, as a new version."""
    place = settings.required_environment()
    row = row_of(api, place, options.name)
    body = {"version": options.version}
    document = api.send("POST", f"secrets/{row['id']}/rollback", body=body).document()
    told = {"name": document["name"], "version": document["version"], "environment": place}
    text = (
        f"Version {told['version']} of {told['name']} in {place} has the value of version {options.version}."
    )
    return print_result(options, told, text)


def _confirm(question: str) -> None:
    """Ask at the terminal. Raises UsageError if the answer is not yes, or nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError("Add --yes: without a terminal nobody can confirm it. Nothing was changed.")
    sys.stderr.write(f"{question} Type yes to continue: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("Nothing was changed.")
