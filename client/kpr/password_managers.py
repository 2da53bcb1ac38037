"""What 1Password and Bitwarden export, as rows of the server's JSON import.

Sources: "About the 1Password Unencrypted Export format" (versions 2 and 3), Bitwarden's "Condition a
Bitwarden .csv or .json", and `bws secret list`. No attachment is read, and nothing is extracted to disk.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

from kpr.errors import UsageError

MAX_BYTES = 64 * 1024 * 1024
_MAX_ITEMS = 20_000
_MAX_ENTRIES = 100_000
_DATA = "export.data"
# Kinds of fields that are left out.
_NO_TEXT = {"totp": "a one-time password", "file": "a file"}
_OTHER = re.compile(r"[^A-Za-z0-9_.+=@-]")
_NOT_1PUX = "This is no 1PUX file: export the account again in 1Password, as 1PUX."
_NOT_BITWARDEN = "This is no export of Bitwarden: use bw export --format json."
Row = dict[str, Any]


def read_1pux(file: BinaryIO) -> str:
    """Return the document of a 1PUX archive. Raises UsageError if it is none, or is larger than 64 MiB."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [each.filename for each in archive.infolist()[: _MAX_ENTRIES + 1]]
            if len(names) > _MAX_ENTRIES or names.count(_DATA) != 1:
                raise UsageError(_NOT_1PUX)
            if archive.getinfo(_DATA).compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise UsageError(_NOT_1PUX)
            # Its size by the directory is a claim: so much is read, and no more.
            with archive.open(_DATA) as data:
                raw = data.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        # Damaged, encrypted, or packed in a way that is not known.
        raise UsageError(_NOT_1PUX) from None
    if len(raw) > MAX_BYTES:
        raise UsageError("The 1PUX file holds more than 64 MiB: export fewer vaults at once.")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UsageError(_NOT_1PUX) from None


def of_1pux(document: Any) -> tuple[list[Row], list[str]]:
    """Return the rows of `export.data`, and what is left out; the vault and the title are the name."""
    rows, left = _Rows(), []
    try:
        for account in document["accounts"]:
            for vault in account["vaults"]:
                place = str(vault["attrs"]["name"])
                for each in vault["items"]:
                    # Version 2 has each item in an object of its own, beside its file.
                    item = each.get("item", each)
                    title = str(item["overview"].get("title") or "untitled")
                    if item.get("state") == "archived":
                        left.append(f"{place}/{title}: archived")
                    elif not (fields := list(_of_1password(item["details"], left, f"{place}/{title}"))):
                        left.append(f"{place}/{title}: nothing that is a text")
                    else:
                        rows.add([place, title], fields)
    except (AttributeError, KeyError, TypeError):
        raise UsageError(_NOT_1PUX) from None
    return rows.found, left


def _of_1password(  # noqa: C901 - one branch a place where an item has texts
    details: Mapping[str, Any], left: list[str], name: str
) -> Iterable[tuple[str, str]]:
    """Yield label and text of each field of an item; note what is no text."""
    for field in details.get("loginFields") or ():
        if field.get("value") and field.get("fieldType") not in {"C", "B", "I"}:
            yield str(field.get("designation") or field.get("name") or "field"), str(field["value"])
    if details.get("password"):
        yield "password", str(details["password"])
    for section in details.get("sections") or ():
        for field in section.get("fields") or ():
            value = field.get("value")
            for kind, content in value.items() if isinstance(value, dict) else ():
                if kind in _NO_TEXT:
                    left.append(f"{name}: {_NO_TEXT[kind]}")
                elif content not in (None, "", {}):
                    yield str(field.get("title") or field.get("id") or kind), _text_of(kind, content)
    if details.get("documentAttributes"):
        left.append(f"{name}: a file")
    if details.get("notesPlain"):
        yield "notes", str(details["notesPlain"])


def _text_of(kind: str, content: Any) -> str:
    if kind == "sshKey" and isinstance(content, dict) and content.get("privateKey"):
        return str(content["privateKey"])
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def of_bitwarden(document: Any) -> tuple[list[Row], list[str]]:
    """Return the rows of `bw export --format json`, named by folder and name, and what is left out."""
    if isinstance(document, dict) and document.get("encrypted"):
        raise UsageError(
            "The export of Bitwarden is encrypted: pipe one that is not, bw export --format json --raw."
        )
    rows, left = _Rows(), []
    try:
        places = {
            each["id"]: str(each["name"])
            for kind in ("folders", "collections")
            for each in document.get(kind) or ()
        }
        for item in document["items"]:
            held = [item.get("folderId"), *(item.get("collectionIds") or ())]
            place = next((places[each] for each in held if each in places), "")
            name = [*place.split("/"), str(item["name"] or "untitled")]
            read = _OF_BITWARDEN.get(item["type"])
            fields = [*read(item), *_own_fields(item)] if read else []
            if (item.get("login") or {}).get("totp"):
                left.append(f"{'/'.join(filter(None, name))}: a one-time password")
            if not fields:
                left.append(f"{'/'.join(filter(None, name))}: a card, an identity, or nothing that is a text")
                continue
            rows.add(name, fields)
    except (AttributeError, KeyError, TypeError):
        raise UsageError(_NOT_BITWARDEN) from None
    return rows.found, left


def _login(item: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    login = item["login"]
    for name in ("username", "password"):
        if login.get(name):
            yield name, str(login[name])
    for uri in login.get("uris") or ():
        if uri.get("uri"):
            yield "uri", str(uri["uri"])


def _ssh_key(item: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name in ("privateKey", "publicKey", "keyFingerprint"):
        if item["sshKey"].get(name):
            yield name, str(item["sshKey"][name])


def _own_fields(item: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for field in item.get("fields") or ():
        # 3 is linked to another field.
        if field.get("value") and field.get("type") != 3:  # noqa: PLR2004
            yield str(field.get("name") or "field"), str(field["value"])
    if item.get("notes"):
        yield "notes", str(item["notes"])


# Logins, notes and SSH keys; cards (3) and identities (4) are a person's.
_OF_BITWARDEN: Mapping[int, Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]] = {
    1: _login, 2: lambda _item: (), 5: _ssh_key,
}  # fmt: skip


def of_bws(document: Any) -> tuple[list[Row], list[str]]:
    """Return the rows of `bws secret list` (Bitwarden Secrets Manager)."""
    rows = _Rows()
    try:
        for each in document:
            rows.add(
                str(each["key"]).split("/"), [("value", str(each["value"]))], str(each.get("note") or "")
            )
    except (AttributeError, KeyError, TypeError):
        raise UsageError("This is no output of bws secret list.") from None
    return rows.found, []


class _Rows:
    """Rows with a name of their own each: what names in Keeper have not becomes `_`, a second one gets -2."""

    def __init__(self) -> None:
        self.found: list[Row] = []
        self._taken: set[str] = set()

    def add(self, name: Iterable[str], fields: list[tuple[str, str]], description: str = "") -> None:
        if len(self.found) >= _MAX_ITEMS:
            raise UsageError(f"The file has more than {_MAX_ITEMS:,} items: export fewer at once.")
        segments = [_OTHER.sub("_", each.strip()) for each in name if each.strip()]
        path = "/".join(each.replace(".", "_") if set(each) <= {"."} else each for each in segments)
        row: Row = {"name": _free(path, self._taken), "value": _value(fields)}
        self.found.append({**row, "description": description} if description else row)


def _value(fields: list[tuple[str, str]]) -> str:
    """Return the one text of an item; of several, a JSON object of label and text."""
    if len(fields) == 1:
        return fields[0][1]
    taken: set[str] = set()
    return json.dumps({_free(label, taken): text for label, text in fields}, ensure_ascii=False)


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free
