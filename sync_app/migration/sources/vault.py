"""Vault and OpenBao as source: mounts of KV version 1 and 2, with all versions that they still open.

The token or the AppRole needs `read` on sys/mounts or sys/internal/ui/mounts, and for each mount `read` on
M/data/*, `read` and `list` on M/metadata/* (version 2), or `read` and `list` on M/* (version 1).

With a secret for each field, the path of one is that of its secret, a slash, and the name of the field, in
which a slash is %2F. Its versions are those of the secret that have the field.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from urllib.parse import quote

from secrets_app.errors import InvalidInput
from secrets_app.importing.formats import json as json_tokens
from secrets_app.models.version_rules import DELETED, DESTROYED
from sync_app.backends.capabilities import FormField
from sync_app.backends.names import Prefix
from sync_app.backends.vault.backend import VaultKv2
from sync_app.backends.vault.connection import VaultConnection
from sync_app.errors import (
    AnswerUnexpected,
    BackendError,
    BadDestination,
    MountMissing,
    PermissionMissing,
)
from sync_app.migration.sources.base import EACH, JSON, Found, FoundVersion, Source, Value

_ALONE: Final = "value"
# Deeper folders are made by mistake, or to keep a reader busy.
_MAX_DEPTH: Final = 64
_NOT_AN_OBJECT: Final = "the source gave no object of fields"
_NO_FIELD: Final = "its current version in the source has no such field"
_NO_FIELDS: Final = "it has no fields"


class VaultSource(Source):
    """The KV mounts of one namespace."""

    kind: ClassVar[str] = "vault"
    label: ClassVar[str] = "HashiCorp Vault or OpenBao"
    setting_fields: ClassVar[tuple[FormField, ...]] = (
        *(
            each
            for each in VaultKv2.destination_fields
            if each.name in {"address", "namespace", "approle_mount"}
        ),
        FormField(
            name="fields",
            label="The fields of a secret become",
            default=JSON,
            choices=(JSON, EACH),
            choice_labels=("one JSON secret", "one secret for each field"),
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = VaultKv2.credential_fields

    def __init__(self, *, settings: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(settings=settings, credentials=credentials)
        if not self.credentials["token"] and not self.credentials["role_id"]:
            raise BadDestination("enter a token, or an AppRole role ID and secret ID", field="token")
        if self.settings["fields"] not in {JSON, EACH}:
            raise BadDestination(f"choose {JSON} or {EACH}", field="fields")
        self._each_field = self.settings["fields"] == EACH
        self._versions: dict[str, int] = {}
        self._vault = _Mounts(
            self.endpoint(self.settings),
            mount="",
            namespace=Prefix(self.settings["namespace"], field="namespace").text,
            approle=Prefix(self.settings["approle_mount"], field="approle_mount").text,
            credentials=self.credentials,
            seconds=None,
        )

    @classmethod
    def endpoint(cls, settings: Mapping[str, str]) -> str:
        return VaultKv2.endpoint({"address": settings.get("address") or ""})

    @classmethod
    def has_mounts(cls, settings: Mapping[str, str]) -> bool:
        # What clients ask for there as one object is none here.
        return settings.get("fields") != EACH

    def close(self) -> None:
        self._vault.close()

    def places(self) -> Sequence[str]:
        return sorted(self._mounts())

    def _mounts(self) -> Mapping[str, int]:
        """Return the version of KV by the name of each mount."""
        if not self._versions:
            try:
                reply = self._vault.request("GET", "sys/mounts")
                found = reply["data"] if reply else {}
            except PermissionMissing:
                reply = self._vault.request("GET", "sys/internal/ui/mounts")
                found = reply["data"].get("secret") or {} if reply else {}
            for name, facts in found.items():
                if isinstance(facts, dict) and facts.get("type") in {"kv", "generic"}:
                    options = facts.get("options") or {}
                    self._versions[name.strip("/")] = 2 if options.get("version") == "2" else 1
        return self._versions

    def _version(self, place: str) -> int:
        """Return the version of KV of a mount. Raises MountMissing."""
        mounts = self._mounts()
        if place not in mounts:
            raise MountMissing(f"the token sees no KV mount {place}: check its name and the policy")
        return mounts[place]

    def paths(self, place: str) -> Iterator[str]:
        for path in self._secrets(place):
            if not self._each_field:
                yield path
                continue
            try:
                names = [name for name, _ in self._members(place, path, None)]
            except BackendError as error:
                if not error.permanent:
                    raise
                names = []
            # Of a secret without one, `find` tells why.
            yield from (f"{path}/{_encoded(name)}" for name in names or [""])

    def _secrets(self, place: str) -> Iterator[str]:
        base = f"{place}/metadata/" if self._version(place) == 2 else f"{place}/"  # noqa: PLR2004 - of KV
        folders = [""]
        while folders:
            folder = folders.pop()
            reply = self._vault.request("GET", base + quote(folder), params={"list": "true"})
            for key in (reply["data"].get("keys") or ()) if reply else ():
                if not key.endswith("/"):
                    yield folder + key
                elif folder.count("/") < _MAX_DEPTH:
                    folders.append(folder + key)

    def find(self, place: str, path: str) -> Found:
        if not self._each_field:
            return self._find(place, path)
        secret, _, name = path.rpartition("/")
        found = replace(self._find(place, secret), path=path)
        if found.skip:
            return found
        versions = [each for each in found.versions if each.state or self._has(place, path, each, found)]
        # Of what was before the field, nothing is known.
        while versions and versions[0].state:
            del versions[0]
        if not versions or versions[-1].number != found.current:
            return replace(found, versions=(), skip=_NO_FIELD if name else _NO_FIELDS)
        return replace(found, versions=versions)

    def _has(self, place: str, path: str, version: FoundVersion, found: Found) -> bool:
        """Return whether a version has the field of a path, with a value unless it is the current one."""
        secret, _, name = path.rpartition("/")
        text = dict(self._members(place, secret, version)).get(_decoded(name))
        return text is not None and (version.number == found.current or text not in {"null", '""'})

    def _find(self, place: str, path: str) -> Found:
        if self._version(place) == 1:
            return Found(path=path, versions=[FoundVersion(number=1)], current=1, is_numbered=False)
        reply = self._vault.request("GET", f"{place}/metadata/{quote(path)}")
        if not reply:
            return Found(path=path, skip="it was deleted in the source since it was listed")
        data = reply["data"]
        versions = [_version(int(number), facts) for number, facts in (data.get("versions") or {}).items()]
        versions.sort(key=lambda each: each.number)
        current = next((each for each in versions if each.number == data["current_version"]), None)
        labels = data.get("custom_metadata") or {}
        return Found(
            path=path,
            versions=versions,
            current=data["current_version"],
            labels={str(name): str(text) for name, text in labels.items()},
            max_versions=data.get("max_versions") or 0,
            skip=_why_skipped(current),
        )

    def open(self, place: str, path: str, version: FoundVersion) -> Value | None:
        if not self._each_field:
            return _value(self._object(place, path, version))
        secret, _, name = path.rpartition("/")
        text = dict(self._members(place, secret, version)).get(_decoded(name))
        return None if text is None else Value(json_tokens.plain_text(text) or "")

    def _object(self, place: str, path: str, version: FoundVersion | None) -> str | None:
        """Return the object of fields of a version, or of the current one, as it is written there."""
        if self._version(place) == 1:
            return self._vault.data(f"{place}/{quote(path)}", {})
        params = {"version": str(version.number)} if version else {}
        data = self._vault.data(f"{place}/data/{quote(path)}", params)
        return None if data is None else dict(json_tokens.members(data)).get("data")

    def _members(self, place: str, path: str, version: FoundVersion | None) -> list[tuple[str, str]]:
        return _members(self._object(place, path, version) or "null")


class _Mounts(VaultConnection):
    """The connections to all mounts of a namespace; values come as the text that the server wrote."""

    def _refuse_other_engines(self) -> None:
        """Let each mount be asked; what is no KV engine is not among the places."""

    def data(self, path: str, params: Mapping[str, str]) -> str | None:
        """Return the text of `data` of an answer; None for nothing there. Raises a BackendError."""
        text = self.text(path, params=params)
        if text is None:
            return None
        try:
            found = dict(json_tokens.members(json_tokens.checked(text))).get("data", "")
        except (InvalidInput, IndexError):
            raise AnswerUnexpected(_NOT_AN_OBJECT) from None
        return found if json_tokens.is_object(found) else None


def _version(number: int, facts: Mapping[str, Any]) -> FoundVersion:
    deleted = _time(facts.get("deletion_time"))
    is_past = deleted is not None and deleted <= datetime.now(UTC)
    state = DESTROYED if facts.get("destroyed") else DELETED if is_past else ""
    return FoundVersion(
        number=number,
        written_at=_time(facts.get("created_time")),
        state=state,
        deleted_at=deleted,
    )


def _why_skipped(current: FoundVersion | None) -> str:
    if current is None:
        return "it has no version"
    return f"its current version is {current.state} in the source" if current.state else ""


def _time(text: object) -> datetime | None:
    """Return a time of Vault (RFC 3339 with nanoseconds) to the microsecond; None for none."""
    if not isinstance(text, str) or not text:
        return None
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(rest + '000000')[:6]}+00:00")


def _members(fields: str) -> list[tuple[str, str]]:
    """Return the fields of an object and what they hold, as it is written; none of anything else."""
    try:
        return json_tokens.members(fields) if json_tokens.is_object(fields) else []
    except InvalidInput as error:
        raise AnswerUnexpected(_NOT_AN_OBJECT) from error


def _encoded(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def _decoded(name: str) -> str:
    return name.replace("%2F", "/").replace("%25", "%")


def _value(fields: str | None) -> Value | None:
    """Return the value of an object of fields: a text, if it has the one field `value` with a text."""
    if fields is None or not json_tokens.is_object(fields):
        return None
    members = _members(fields)
    text = None
    if [name for name, _ in members] == [_ALONE] and members[0][1].startswith('"'):
        text = json_tokens.plain_text(members[0][1])
    return Value(text or None, fields)
