"""`kpr import`: send a file of secrets to the server's import, after its plan was shown.

The server reads dotenv, JSON, YAML, CSV, and exports of Vault and AWS. What Doppler, Infisical, 1Password
and Bitwarden write becomes its JSON here. What SOPS has encrypted is decrypted here. No value is printed.
"""

import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kpr.api import Api, path_of
from kpr.cli.output import print_document
from kpr.errors import KprError, RefusedError, UsageError
from kpr.lookup import tell_outside
from kpr.password_managers import of_1pux, of_bitwarden, of_bws, read_1pux
from kpr.plain_files import binary_row, decrypted, dotenv_files, is_binary, is_sops
from kpr.settings import Settings

_MAX_BYTES = 64 * 1024 * 1024
_ENDINGS = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".csv": "csv"}
# Doppler adds what the values came from.
_OF_DOPPLER = frozenset({"DOPPLER_PROJECT", "DOPPLER_CONFIG", "DOPPLER_ENVIRONMENT"})
_PARTIAL = 202
# How many of what is left out are named.
_SHOWN = 50


def import_file(options: Namespace, settings: Settings, api: Api) -> int:
    """Import a file, and return 0. Raises RefusedError if entries were refused, or KprError."""
    path = path_of("environments", settings.required_environment(), "import")
    plans: list[tuple[dict[str, Any], Mapping[str, Any]]] = []
    for below, form, content in _files(options, settings.required_environment()):
        body: dict[str, Any] = {"format": form, "content": content}
        if prefix := "/".join(filter(None, (options.below.strip("/"), below))):
            body["prefix"] = prefix
        if options.keep_existing:
            body["existing"] = "keep"
        of_file = _planned(api, path, body)
        for number, plan in enumerate(of_file, 1):
            plans.append(({**body, "part": number} if len(of_file) > 1 else body, plan))
    planned = [row for _, plan in plans for row in plan["results"]]
    if options.dry_run:
        return _report(options, settings, planned)
    _confirm(options, planned, settings)
    rows: list[Mapping[str, Any]] = []
    for done, (body, plan) in enumerate(plans):
        try:
            rows += _written(api, path, body, plan)
        except KprError as error:  # noqa: PERF203 - each is a request
            if len(plans) == 1:
                raise
            raise type(error)(
                f"{error} Stored: {done} of {len(plans)} parts, {len(rows)} entries. Run the same "
                "command again to resume: what is stored already is left as it is."
            ) from None
    return _report(options, settings, rows)


def _files(options: Namespace, environment: str) -> Iterator[tuple[str, str, str]]:
    """Yield the folder, the format and the content of each file that is sent."""
    if options.path != "-" and Path(options.path).is_dir():
        found, left = dotenv_files(options.path, environment)
        _tell_left(left, f"they are not of {environment}")
        if not found:
            raise UsageError(
                f"No dotenv file of {environment} is in the folder: name one .env.{environment}."
            )
        for file, folder in found:
            yield folder, "dotenv", _plain(str(file), _content(str(file)))
        return
    if options.source == "1pux" or (not options.source and options.path.lower().endswith(".1pux")):
        try:
            with Path(options.path).open("rb") as archive:
                content = read_1pux(archive)
        except OSError as error:
            raise UsageError(f"{options.path} cannot be read: {error.strerror}") from None
        yield "", "json", _converted("1pux", content)
        return
    content = _content(options.path)
    if is_sops(content) and not options.source and is_binary(options.path, content):
        yield "", "json", json.dumps([binary_row(options.path)])
        return
    content = _plain(options.path, content)
    form = options.source or source_of(options.path, content)
    yield "", "json" if form in _CONVERTERS else form, _converted(form, content)


def _plain(path: str, content: str) -> str:
    return decrypted(path) if is_sops(content) else content


def _converted(form: str, content: str) -> str:
    if form not in _CONVERTERS:
        return content
    rows, left = _CONVERTERS[form](_parsed(content))
    _tell_left(left, "Keeper has no place for them")
    return json.dumps(rows)


def _tell_left(left: Sequence[str], reason: str) -> None:
    """Say what is not sent; names alone."""
    if left:
        names = ["".join(letter if letter.isprintable() else "?" for letter in each) for each in left]
        shown = "".join(f"\n  {each[:200]}" for each in names[:_SHOWN])
        sys.stderr.write(f"{len(left)} are left out, {reason}:{shown}\n")


def _planned(api: Api, path: str, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the plan of each part of a file; servers of before take one."""
    if "import-parts" not in api.version()["features"]:
        return [api.send("POST", path, body=body).document()]
    plans: list[Mapping[str, Any]] = []
    while not plans or len(plans) < plans[0]["parts"]:
        plans.append(api.send("POST", path, body={**body, "part": len(plans) + 1}).document())
    return plans


def source_of(path: str, content: str) -> str:  # noqa: PLR0911 - one return a format
    """Return the format that a file's name and content suggest; dotenv if nothing does."""
    begin = content.lstrip()[:1]
    if begin not in {"{", "["}:
        return next((form for end, form in _ENDINGS.items() if path.lower().endswith(end)), "dotenv")
    document = _parsed(content)
    if isinstance(document, list):
        rows = [row for row in document if isinstance(row, dict)]
        if rows and all("key" in row and "value" in row for row in rows):
            return "bws" if all("organizationId" in row for row in rows) else "infisical"
        return "vault" if rows and all("data" in row for row in rows) else "json"
    if "request_id" in document or isinstance(document.get("data"), dict):
        return "vault"
    if document.keys() & {"SecretValues", "SecretString", "ARN"}:
        return "aws"
    if "encrypted" in document and ("items" in document or "encKeyValidation_DO_NOT_EDIT" in document):
        return "bitwarden"
    is_doppler = document.keys() & _OF_DOPPLER or any(
        isinstance(value, dict) and "computed" in value for value in document.values()
    )
    return "doppler" if is_doppler else "json"


def _of_doppler(document: Any) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows of `doppler secrets --json`, or of `doppler secrets download --format json`."""
    if not isinstance(document, dict):
        raise UsageError(
            "This is no export of Doppler: use doppler secrets download --format json --no-file."
        )
    rows = []
    for name, value in document.items():
        if name in _OF_DOPPLER:
            continue
        parts = value if isinstance(value, dict) else {"computed": value}
        text = parts.get("computed", parts.get("raw"))
        row = {"name": str(name), "value": _text(text), "description": str(parts.get("note") or "")}
        rows.append({key: part for key, part in row.items() if part or key != "description"})
    return rows, []


def _of_infisical(document: Any) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows of `infisical export --format json`; a folder becomes the path of the name."""
    if not isinstance(document, list):
        raise UsageError("This is no export of Infisical: use infisical export --format json.")
    rows = []
    for each in document:
        if not isinstance(each, dict) or "key" not in each:
            raise UsageError("This is no export of Infisical: an entry has no key.")
        folder = str(each.get("secretPath") or "").strip("/")
        name = f"{folder}/{each['key']}" if folder else str(each["key"])
        row = {"name": name, "value": _text(each.get("value"))}
        comment = str(each.get("comment") or each.get("secretComment") or "")
        rows.append({**row, "description": comment} if comment else row)
    return rows, []


_CONVERTERS: Mapping[str, Callable[[Any], tuple[list[dict[str, Any]], list[str]]]] = {
    "doppler": _of_doppler, "infisical": _of_infisical,
    "1pux": of_1pux, "bitwarden": of_bitwarden, "bws": of_bws,
}  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        # The parser's own message may quote the file.
        raise UsageError("The file is not JSON: check it, or name its format by --from.") from None


def _content(name: str) -> str:
    try:
        raw = sys.stdin.buffer.read(_MAX_BYTES + 1) if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise UsageError("The file is larger than 64 MiB: split it.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("The file is not text in UTF-8.") from None


def _confirm(options: Namespace, rows: list[Mapping[str, Any]], settings: Settings) -> None:
    """Ask before values that exist are replaced, unless `--yes` is given. Raises UsageError."""
    count = sum(row["result"] == "changed" for row in rows)
    if not count or options.yes:
        return
    place = settings.required_environment()
    if not sys.stdin.isatty():
        raise UsageError(
            f"{count} secrets in {place} would get another value: add --yes, or keep them by --keep-existing."
        )
    sys.stderr.write(f"{count} secrets in {place} get another value. Type yes to continue: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("Nothing was imported.")


def _written(
    api: Api, path: str, body: Mapping[str, Any], plan: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Write by the plan that was shown, part by part, and return what became of each entry."""
    following: Mapping[str, Any] | None = {"digest": plan["digest"]}
    # A name may be in a file twice; an answer that goes on repeats those of before.
    rows: dict[tuple[str, int], Mapping[str, Any]] = {}
    while following:
        part = {name: following[name] for name in ("digest", "after") if name in following}
        sent = {**body, **part, "dry_run": False}
        answer = api.send("POST", path, body=sent, accepted=(_PARTIAL,)).document()
        times: Counter[str] = Counter()
        for row in answer["results"]:
            times[row["name"]] += 1
            entry = row["name"], times[row["name"]]
            if row["done"] or entry not in rows:
                rows[entry] = row
        following = answer["unfinished"]
    return list(rows.values())


def _report(options: Namespace, settings: Settings, rows: list[Mapping[str, Any]]) -> int:
    tell_outside([row["name"] for row in rows if not row["reason"]], settings)
    shown = [{name: row[name] for name in ("name", "result", "done", "reason")} for row in rows]
    refused = [row for row in shown if row["reason"]]
    counts = Counter(str(row["result"]) for row in shown)
    if options.format == "json":
        print_document({"dry_run": options.dry_run, "results": shown})
    else:
        for row in shown:
            sys.stdout.write(
                f"{row['result']:10}{row['name']}{'  ' if row['reason'] else ''}{row['reason']}\n"
            )
        told = ", ".join(f"{count} {result}" for result, count in sorted(counts.items())) or "no entries"
        sys.stdout.write(f"{'Planned' if options.dry_run else 'Imported'}: {told}.\n")
    if refused:
        raise RefusedError(
            f"{len(refused)} of {len(shown)} entries were refused: correct them, and import again."
        )
    return 0
