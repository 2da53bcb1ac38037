"""A file of `keeper export-all json` as source: another Keeper with all versions, for the command alone.

The file is read whole and proved by its tail before anything is taken from it. Then a value is read where it
lies, so that none stays in memory.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import orjson

from secrets_app.models.version_rules import DELETED, DESTROYED
from secrets_app.types.registry import SecretType
from sync_app.backends.capabilities import FormField
from sync_app.errors import BadDestination, ValueUnusable
from sync_app.migration.sources.base import LITERAL, MAX_NUMBER, Found, FoundVersion, Source, Value

FORMAT: Final = "keeper-export/1"
# A value of 64 KiB, escaped throughout, and what describes it.
_MAX_LINE: Final = 1024 * 1024
_STATES: Final = {"readable": "", "deleted": DELETED, "destroyed": DESTROYED}


class _Lines(NamedTuple):
    """Where a secret lies in the file: its own line, and those of its versions by number."""

    secret: tuple[int, int]
    versions: dict[int, tuple[int, int]]


class KeeperExport(Source):
    """One file; its places are environments."""

    kind: ClassVar[str] = "keeper"
    label: ClassVar[str] = "An export of another Keeper"
    by_command: ClassVar[bool] = True
    setting_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(
            name="file", label="File", required=True, help="a decrypted file of `keeper export-all json`"
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = ()

    def __init__(self, *, settings: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(settings=settings, credentials=credentials)
        self.settings["file"] = self.endpoint(self.settings)
        self._head: dict[str, Any] = {}
        self._index: dict[tuple[str, str], _Lines] = {}
        try:
            self._file = os.open(self.settings["file"], os.O_RDONLY)
        except OSError as error:
            raise BadDestination(f"the file cannot be read: {error.strerror}", field="file") from None
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    @classmethod
    def endpoint(cls, settings: Mapping[str, str]) -> str:
        if not settings.get("file"):
            raise BadDestination("name the file", field="file")
        return str(Path(settings["file"]).resolve())

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self) -> None:
        """Note where each line lies. Raises BadDestination unless the tail proves that all are there."""
        digest, begin, versions = hashlib.sha256(), 0, 0
        by_uuid: dict[str, _Lines] = {}
        with open(self._file, "rb", closefd=False) as file:
            while raw := file.readline(_MAX_LINE):
                line, place = _parsed(raw), (begin, len(raw))
                begin += len(raw)
                if line.get("end"):
                    tail = (line.get("secrets"), line.get("versions"), line.get("sha256"))
                    if tail != (len(by_uuid), versions, digest.hexdigest()) or file.read(1):
                        raise _broken("its lines are not those that were written")
                    return
                digest.update(raw)
                if not self._head:
                    self._head = _head(line)
                elif "version" in line:
                    lines = by_uuid.get(str(line.get("secret")))
                    if lines is None:
                        raise _broken("a version has no secret before it")
                    number = line.get("number")
                    if type(number) is not int or not 0 < number <= MAX_NUMBER or number in lines.versions:
                        raise _broken("a version has no number of its own")
                    lines.versions[number] = place
                    versions += 1
                else:
                    told: list[Any] = [line.get(each) for each in ("secret", "environment", "name")]
                    if not all(isinstance(text, str) for text in told):
                        raise _broken("a secret has no name")
                    uuid, name = told[0], (told[1], told[2])
                    if uuid in by_uuid or name in self._index:
                        raise _broken("a secret is there twice")
                    by_uuid[uuid] = self._index[name] = _Lines(place, {})
        raise _broken("its end is missing")

    def places(self) -> Sequence[str]:
        return [str(each) for each in self._head["environments"]]

    def paths(self, place: str) -> Iterator[str]:
        yield from (name for environment, name in self._index if environment == place)

    def find(self, place: str, path: str) -> Found:
        lines = self._index[place, path]
        secret = self._line(lines.secret)
        try:
            return _found(path, secret, [self._line(lines.versions[each]) for each in sorted(lines.versions)])
        except (KeyError, TypeError, ValueError):
            raise _unexpected(f"{place}/{path}") from None

    def open(self, place: str, path: str, version: FoundVersion) -> Value | None:
        lines = self._index[place, path]
        value = self._line(lines.versions[version.number])["value"]
        if value is not None and not isinstance(value, str):
            raise _unexpected(f"{place}/{path}")
        return None if value is None else Value(value, value)

    def _line(self, place: tuple[int, int]) -> dict[str, Any]:
        begin, size = place
        return _parsed(os.pread(self._file, size, begin))


def _head(line: Mapping[str, Any]) -> dict[str, Any]:
    if line.get("format") != FORMAT or not isinstance(line.get("environments"), list):
        raise _broken(f"it does not begin as {FORMAT}; a file that is encrypted is decrypted by `age -d`")
    return dict(line)


def _found(path: str, secret: Mapping[str, Any], versions: Sequence[Mapping[str, Any]]) -> Found:
    described = {
        name: secret[name] for name in ("owner", "description", "tags", "expires_at") if secret.get(name)
    }
    return Found(
        path=path,
        versions=[_version(each) for each in versions],
        current=int(secret["current"]),
        previous=secret.get("previous"),
        labels={str(name): str(text) for name, text in (secret.get("custom_metadata") or {}).items()},
        described=described,
        secret_type=SecretType(secret["type"]),
        max_versions=int(secret.get("max_versions") or 0),
        note=LITERAL if secret.get("references") else "",
    )


def _version(line: Mapping[str, Any]) -> FoundVersion:
    # Where and by whom the value was written first, if it has been carried before.
    origin = line.get("origin") or {}
    return FoundVersion(
        number=int(line["number"]),
        written_at=time_of(origin.get("written") or line["written"]),
        author=str(origin.get("author") or line["author"]),
        identifier=str(line["version"])[:128],
        comment=str(line.get("comment") or ""),
        state=_STATES[line["state"]],
        deleted_at=time_of(line.get("deleted_at")),
    )


def time_of(text: Any) -> datetime | None:
    """Return the time of a text, None for none. Raises ValueError for one without a zone."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        line = None
    if not isinstance(line, dict):
        raise _broken("a line is no JSON object")
    return line


def _broken(reason: str) -> BadDestination:
    return BadDestination(f"the file is no whole export: {reason}", field="file")


def _unexpected(name: str) -> ValueUnusable:
    return ValueUnusable(f"the lines of {name} are not those of {FORMAT}")
