"""Encrypted copies of values, for the time in which the server cannot be reached.

A copy is sealed by AES-256-GCM. Its key is derived from a key in the keyring and from the token, so that it
opens with both alone; server, environment and prefix are its associated data. The server sets the age up to
which a copy may be used, with each answer. Without that no copy is kept, and an older one is deleted.
"""

import hashlib
import hmac
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpr.api import Answer
from kpr.cli.output import duration
from kpr.errors import NoAnswerError
from kpr.settings import Settings, cache_folder
from kpr.signin.credentials import forget_key, kept_key, write_private

# The seconds for which an answer may be kept.
HEADER = "keeper-offline"
SERVICE = "keeper-kpr-offline"
_FORMAT = "keeper-kpr-offline-1"
_NONCE_BYTES = 12
_HOUR = 3600
# What Keeper allows at most.
_LONGEST_HOURS = 168


class OfflineCopy:
    """The copy of what one token reads of one environment under one prefix."""

    def __init__(self, settings: Settings, token: str) -> None:
        self._server, self._hours, self._token = settings.server, settings.offline_hours, token
        self._bound = json.dumps([_FORMAT, settings.server, settings.environment, settings.prefix]).encode()
        self._folder = _folder(settings.server)
        self._path = self._folder / hashlib.sha256(self._bound).hexdigest()[:32]

    def keep(self, answer: Answer) -> None:
        """Store an answer's values as far as the project and the server allow, else delete the copy.

        A copy that cannot be stored is reported, and hinders nothing.
        """
        allowed = answer.headers.get(HEADER, "")
        seconds = min(int(allowed) if allowed.isdigit() else 0, self._hours * _HOUR)
        if not seconds:
            self.delete()
            return
        key = self._key(makes=True)
        if key is None:
            _report("no offline copy is kept: install keyring and cryptography, and unlock the keyring")
            return
        content = {"secrets": answer.document(), "stored": int(time.time()), "seconds": seconds}
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + key.encrypt(nonce, json.dumps(content).encode(), self._bound)
        try:
            write_private(self._path, sealed)
            self._prune()
        except OSError as error:
            _report(f"no offline copy is kept: {self._folder} cannot be written: {error.strerror}")

    def secrets(self, error: NoAnswerError) -> dict[str, str]:
        """Return the values of the copy and report its age. Raises `error` if there is none to use."""
        if not self._hours:
            raise error
        content = self._content()
        if content is None:
            raise NoAnswerError(f"{error} There is no offline copy that this token and keyring open.")
        age, bound = self._age(content)
        if not 0 <= age <= bound:
            self.delete()
            raise NoAnswerError(f"{error} The offline copy was older than {duration(bound)}; it is deleted.")
        _report(
            f"{self._server} cannot be reached: using the offline copy of {duration(age)} ago, "
            f"which may be used for {duration(bound)}"
        )
        found: dict[str, str] = content["secrets"]
        return found

    def age(self) -> dict[str, Any] | None:
        """Return how old the copy is and may be, in seconds; None if there is none that can be opened."""
        content = self._content()
        if content is None:
            return None
        age, bound = self._age(content)
        return {"seconds": int(age), "at_most_seconds": bound, "is_usable": 0 <= age <= bound}

    def delete(self) -> None:
        """Delete the copy. What hinders that is reported where copies are asked for, and hinders nothing."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            if self._hours:
                _report(f"no offline copy can be kept or deleted in {self._folder}: {error.strerror}")

    def _prune(self) -> None:
        """Delete copies of other environments and prefixes that are older than any may be."""
        for path in self._folder.iterdir():
            if path != self._path and path.stat().st_mtime < time.time() - _LONGEST_HOURS * _HOUR:
                path.unlink(missing_ok=True)

    def _age(self, content: Mapping[str, Any]) -> tuple[float, int]:
        """Return the age of a copy, and the age up to which the server and the project allow it."""
        return time.time() - content["stored"], min(content["seconds"], self._hours * _HOUR)

    def _content(self) -> dict[str, Any] | None:
        try:
            sealed = self._path.read_bytes()
        except OSError:
            return None
        key = self._key(makes=False)
        if key is None:
            return None
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - optional

        try:
            opened = key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._bound)
        except (InvalidTag, ValueError):
            return None
        content: dict[str, Any] = json.loads(opened)
        return content

    def _key(self, *, makes: bool) -> Any:
        """Return the cipher of this server and token; None where keyring or cipher cannot be used."""
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - optional
        except ImportError:
            return None
        key = kept_key(SERVICE, self._server, makes=makes)
        return AESGCM(hmac.digest(key, self._token.encode(), "sha256")) if key else None


def forget_copies(server: str) -> None:
    """Delete every copy of a server, and their key as far as the keyring can be used."""
    shutil.rmtree(_folder(server), ignore_errors=True)
    forget_key(SERVICE, server)


def pick(secrets: Mapping[str, str], name: str, error: NoAnswerError) -> str:
    """Return a value of a copy. Raises NoAnswerError if the copy does not hold it."""
    if name not in secrets:
        raise NoAnswerError(f"{error} The offline copy does not hold {name}.")
    return secrets[name]


def _folder(server: str) -> Path:
    return cache_folder() / hashlib.sha256(server.encode()).hexdigest()[:32]


def _report(text: str) -> None:
    sys.stderr.write(f"kpr: {text}\n")
