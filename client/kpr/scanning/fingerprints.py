"""Keyed fingerprints of the values that a person can read, so that later scans find them without a request.

A fingerprint is the HMAC-SHA256 of a value, or of a line of it, under a key in the keyring: the file alone
neither holds a value nor lets one be guessed.
"""

import hmac
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kpr.errors import UsageError
from kpr.settings import cache_folder
from kpr.signin.credentials import forget_key, kept_key, write_private

SERVICE = "keeper-kpr-scan"
# Shorter values are words of any text.
_SHORTEST = 8
_BYTES = 16
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|`([^`]*)`")
_SPLITS = (
    re.compile(r"\s+"),
    re.compile(r"[\s\"'`=,;(){}\[\]<>|&]+"),
    re.compile(r"[\s\"'`=,;:/@(){}\[\]<>|&]+"),
)


class Fingerprints:
    """The fingerprints of one server."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._file = cache_folder() / "fingerprints.json"
        self._known: dict[bytes, str] = {}
        self._key = b""

    def learn(self, environment: str, secrets: Mapping[str, str]) -> int:
        """Store the fingerprints of an environment's values, and return of how many secrets.

        Raises UsageError if there is no usable keyring.
        """
        key = kept_key(SERVICE, self._server, makes=True)
        if not key:
            raise UsageError("Fingerprints need a keyring: install the package keyring and unlock it.")
        known = {
            _print(key, part).hex(): f"{environment}/{name}"
            for name, value in secrets.items()
            for part in _parts(value)
        }
        stored = _read(self._file)
        stored[self._server] = {**stored.get(self._server, {}), environment: known}
        write_private(self._file, json.dumps(stored).encode())
        return len(set(known.values()))

    def load(self) -> bool:
        """Make the stored fingerprints ready, and return whether there are any that can be used."""
        stored = _read(self._file).get(self._server, {})
        self._key = kept_key(SERVICE, self._server, makes=False) if stored else b""
        if self._key:
            self._known = {bytes.fromhex(each): name for row in stored.values() for each, name in row.items()}
        return bool(self._known)

    def find(self, line: str) -> Iterator[str]:
        """Yield the names of the secrets whose values are in a line."""
        if self._known:
            found = (self._known.get(_print(self._key, each)) for each in _candidates(line))
            yield from {name for name in found if name}


def forget_fingerprints(server: str) -> None:
    """Delete the fingerprints of a server, and their key as far as the keyring can be used."""
    path = cache_folder() / "fingerprints.json"
    stored = _read(path)
    if stored.pop(server, None) is not None:
        write_private(path, json.dumps(stored).encode())
    forget_key(SERVICE, server)


def _parts(value: str) -> set[str]:
    """Return the value, and the lines of one with several."""
    return {part.strip() for part in (value, *value.splitlines()) if len(part.strip()) >= _SHORTEST}


def _candidates(line: str) -> set[str]:
    """Return what a line may hold as a whole value: itself, what is quoted or assigned, and its words."""
    assigned = re.split(r"\s*[=:]\s*", line, maxsplit=1)
    quoted = (part for groups in _QUOTED.findall(line) for part in groups)
    words = (word for split in _SPLITS for word in split.split(line))
    return {each.strip() for each in (line, *assigned, *quoted, *words) if len(each.strip()) >= _SHORTEST}


def _print(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")[:_BYTES]


def _read(path: Path) -> dict[str, Any]:
    try:
        stored: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return stored
