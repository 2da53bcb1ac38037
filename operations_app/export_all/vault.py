"""Writes secrets with their versions into a mount of Vault or OpenBao, KV version 2.

Each version is a check-and-set over the one before, so nothing of others is overwritten. A number without a
value here is written there as an empty object and destroyed, so that the numbers after it stay the same. An
interrupted export goes on after what Vault has of a secret already.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self
from urllib.parse import quote

import orjson

from core.canonical_json import utc_text
from operations_app.export_all.errors import ExportError
from operations_app.export_all.reading import Version, Whole
from secrets_app.types.registry import SecretType
from sync_app.backends.vault.backend import VaultKv2
from sync_app.backends.vault.connection import VaultConnection
from sync_app.migration.sources.vault import VaultSource

# More numbers without a value than this are not filled: the versions are counted anew.
_MOST_FILLED: Final = 200
# Vault API, "Create/update metadata": of a key and of a value.
_MAX_KEY, _MAX_TEXT, _MAX_KEYS = 128, 512, 64
# What signs in to a Vault, as its fields ask for it.
CREDENTIALS: Final = VaultKv2.credential_fields
_OURS: Final = "keeper-secret"
_NOT_EMPTY: Final = "The mount {mount} is not empty. Name an empty one, or continue with --continue."
_FOREIGN: Final = "{path} is in Vault already, and is not from this Keeper. Nothing of it was changed."
_OTHER: Final = "{path} was changed in Vault since it was exported. Nothing of it was changed now."


class VaultMount:
    """One mount, whose secrets get the paths ENVIRONMENT/NAME."""

    def __init__(self, *, settings: Mapping[str, str], mount: str, credentials: Mapping[str, str]) -> None:
        """Raise BadDestination for an address or credentials that cannot be."""
        # The same address, namespace and credentials as for a migration from there.
        source = VaultSource(settings=settings, credentials=credentials)
        source.close()
        self.address, self.mount = VaultSource.endpoint(source.settings), mount.strip("/")
        self._vault = VaultConnection(
            self.address,
            mount=self.mount,
            namespace=source.settings["namespace"],
            approle=source.settings["approle_mount"],
            credentials=source.credentials,
            seconds=None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._vault.close()

    def require_empty(self) -> None:
        """Raise ExportError if the mount holds a secret, or a BackendError."""
        reply = self._vault.request("GET", f"{self.mount}/metadata/", params={"list": "true"})
        if reply and reply["data"].get("keys"):
            raise ExportError(_NOT_EMPTY.format(mount=self.mount))

    def write(self, whole: Whole) -> None:
        """Write what Vault does not have of a secret yet. Raises ExportError, or a BackendError."""
        path = quote(f"{whole.secret.environment.name}/{whole.secret.name}")
        content = numbered(whole)
        done = self._begun(path, whole, content)
        for number in range(done + 1, len(content) + 1):
            body = {"data": _fields(whole, content[number - 1]), "options": {"cas": number - 1}}
            self._vault.request("POST", f"{self.mount}/data/{path}", json=body)
        empty = [number for number, version in enumerate(content, 1) if version is None]
        if empty:
            self._vault.request("POST", f"{self.mount}/destroy/{path}", json={"versions": empty})

    def _begun(self, path: str, whole: Whole, content: Sequence[Version | None]) -> int:
        """Return how many versions Vault has; describe the secret there if it has none."""
        reply = self._vault.request("GET", f"{self.mount}/metadata/{path}")
        if reply is None:
            body = {"max_versions": max(len(content), 10), "custom_metadata": _labels(whole)}
            self._vault.request("POST", f"{self.mount}/metadata/{path}", json=body)
            return 0
        found = reply["data"]
        if (found.get("custom_metadata") or {}).get(_OURS) != str(whole.secret.uuid):
            raise ExportError(_FOREIGN.format(path=path))
        done = int(found.get("current_version") or 0)
        if done > len(content):
            raise ExportError(_OTHER.format(path=path))
        if done and content[done - 1] is not None:
            stored = self._vault.request("GET", f"{self.mount}/data/{path}", params={"version": str(done)})
            if stored is None or stored["data"].get("data") != _fields(whole, content[done - 1]):
                raise ExportError(_OTHER.format(path=path))
        return done


def numbered(whole: Whole) -> list[Version | None]:
    """Return the versions by their numbers from 1 on, None for a number that has no value here.

    Where most numbers would have none, the versions that have one follow each other.
    """
    by_number = {each.row.number: each for each in whole.versions if each.value is not None}
    if whole.secret.current_number - len(by_number) > _MOST_FILLED:
        return list(by_number.values())
    return [by_number.get(number) for number in range(1, whole.secret.current_number + 1)]


def _fields(whole: Whole, version: Version | None) -> dict[str, Any]:
    """Return the object that a version is in Vault: its own members, or one text under `value`."""
    if version is None or version.value is None:
        return {}
    if whole.secret.type_of(version.row.number) == SecretType.JSON:
        # One from before Keeper kept former types may be anything.
        with suppress(orjson.JSONDecodeError):
            found = orjson.loads(version.value)
            if isinstance(found, dict):
                return found
    return {"value": version.value}


def _labels(whole: Whole) -> dict[str, str]:
    secret, current = whole.secret, whole.current
    origin = current.origin
    written = (origin.written_at if origin else None) or current.row.created_at
    found = {
        **{str(name): str(text) for name, text in (secret.custom_metadata or {}).items()},
        "owner": secret.owner,
        "description": secret.description,
        "expires": utc_text(secret.expires_at) if secret.expires_at else "",
        "keeper-type": secret.secret_type,
        "keeper-tags": ",".join(secret.tags),
        "keeper-number": str(secret.current_number),
        "keeper-written": utc_text(written),
    }
    fitting = {
        name: text
        for name, text in found.items()
        if text and len(name.encode()) <= _MAX_KEY and len(text.encode()) <= _MAX_TEXT
    }
    return {**dict([*fitting.items()][-(_MAX_KEYS - 1) :]), _OURS: str(secret.uuid)}
