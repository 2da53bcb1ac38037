"""Writes to a KV version 2 engine, and takes back what came over a secret that was not ours.

A check-and-set of Vault compares the number of a version and nothing else. After a secret was deleted and
created again, or a snapshot restored, the number is the same and the secret is another. This shows only
afterwards, by the times at which the secret and its versions were made.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn
from urllib.parse import quote

from sync_app.backends.observations import (
    SecretMetadata,
    format_version,
    parse_mark,
    version_matches,
    version_number,
)
from sync_app.backends.vault.connection import VaultConnection
from sync_app.backends.vault.content import has_version_expiry
from sync_app.errors import (
    OVERWROTE,
    BackendError,
    ChangedSinceRead,
    MountMissing,
    OutcomeUnknown,
    Overwritten,
    PermissionMissing,
)

Content = Mapping[str, Any]

# Vault API, "Configure the KV engine": what 0 stands for.
_DEFAULT_KEPT: Final = 10


class VaultWrites:
    """Writes to one mount."""

    def __init__(self, vault: VaultConnection, mount: str) -> None:
        self._vault, self._mount = vault, mount
        self._lock = threading.Lock()
        self._settings: Mapping[str, Any] | None = None

    def api_path(self, kind: str, path: str) -> str:
        return f"{self._mount}/{kind}/{quote(path, safe='/')}"

    def write(self, path: str, content: Content, *, cas: int) -> Mapping[str, Any]:
        """Write a version over the one of this number, and return Vault's answer."""
        body = {"data": content, "options": {"cas": cas}}
        reply = self._vault.request("POST", self.api_path("data", path), json=body)
        if reply is None:
            raise MountMissing("Vault has no place for data at this mount")
        answer: Mapping[str, Any] = reply["data"]
        return answer

    def keeps_single_version(self, seen: SecretMetadata) -> bool:
        """Return whether the next version would destroy this one, or this is unknown."""
        return (seen.max_versions or self._mount_max_versions()) == 1

    def has_version_expiry(self) -> bool:
        """Return whether the mount deletes each version after a time, as far as the token may know."""
        return has_version_expiry(self._cached_config())

    def revert(
        self,
        path: str,
        over: SecretMetadata,
        written: str,
        *,
        kept: Content | None = None,
        unmarked: bool = False,
    ) -> None:
        """Put back what a version of ours came over, where that was not the secret in `over`.

        `unmarked` means that it was not at the time of the write. `kept` is what `over` held.
        Raises Overwritten then, and OutcomeUnknown if the look is older than the write; returns where it came
        over the right one, or is not there any more.
        """
        reply = self._vault.request("GET", self.api_path("metadata", path))
        metadata = reply["data"] if reply else None
        if metadata is None or metadata["current_version"] < version_number(written):
            raise OutcomeUnknown("it was written, and Vault does not show it yet", made=written)
        if _version_at(metadata, version_number(written)) != written:
            return
        if unmarked or not _is_intended_write(metadata, over, written):
            self._restore_previous(path, metadata, over, written, kept)

    def revert_unconfirmed(
        self,
        path: str,
        over: SecretMetadata,
        number: int,
        *,
        wrote: Callable[[Content], bool],
        kept: Content | None,
    ) -> None:
        """Put back what the version of a number came over, if it is a write of ours of unknown outcome.

        `wrote` returns whether that write made a content. Raises Overwritten then, as `revert` does.
        """
        reply = self._vault.request("GET", self.api_path("metadata", path))
        metadata = reply["data"] if reply else None
        written = _version_at(metadata, number) if metadata else ""
        if version_number(over.version) != number - 1:
            # Of the version that it was meant for the number alone is known.
            over = replace(over, version=str(number - 1))
        if metadata is None or not written or _is_intended_write(metadata, over, written):
            return
        content = self._read_version(path, number)
        if content is not None and wrote(content):
            self._restore_previous(path, metadata, over, written, kept)

    def _restore_previous(
        self, path: str, metadata: Mapping[str, Any], over: SecretMetadata, written: str, kept: Content | None
    ) -> NoReturn:
        """Restore the content before the version `written`, and destroy that version. Raises Overwritten."""
        number, current = version_number(written), metadata["current_version"]
        if metadata["created_time"] != over.remote_id:
            # What is kept was in another secret.
            kept = None
        restored = current > number
        content = None if restored else self._read_version(path, number - 1) or kept
        if content is not None:
            restored = True
            # Else their newer version is there.
            with contextlib.suppress(ChangedSinceRead):
                self.write(path, content, cas=number)
        outcome = "restored" if restored else "could not be restored: Vault kept no older version"
        raise Overwritten(f"{OVERWROTE}; {outcome}{self._destroy_version(path, number)}")

    def _read_version(self, path: str, number: int) -> Content | None:
        """Return what a version holds; None if it is not there any more."""
        reply = self._vault.request("GET", self.api_path("data", path), params={"version": str(number)})
        content: Content | None = reply["data"]["data"] if reply else None
        return content

    def _destroy_version(self, path: str, number: int) -> str:
        """Destroy a version, or at least delete it; return what is left to do."""
        body = {"versions": [number]}
        try:
            self._vault.request("POST", self.api_path("destroy", path), json=body)
        except PermissionMissing:
            try:
                self._vault.request("POST", self.api_path("delete", path), json=body)
            except BackendError:
                return f"; version {number} there holds Keeper's value: destroy it"
            return f"; version {number} there held Keeper's value and is deleted: destroy it"
        return ""

    def _mount_max_versions(self) -> int:
        """Return how many versions the mount keeps of a secret; 1 if the token may not ask."""
        settings = self._cached_config()
        return int(settings["max_versions"] or _DEFAULT_KEPT) if "max_versions" in settings else 1

    def _cached_config(self) -> Mapping[str, Any]:
        """Return the settings of the mount, asked for once; none if the token may not ask."""
        with self._lock:
            if self._settings is None:
                try:
                    reply = self._vault.request("GET", f"{self._mount}/config")
                except PermissionMissing:
                    reply = None
                self._settings = reply["data"] if reply else {}
            return self._settings


def _version_at(metadata: Mapping[str, Any], number: int) -> str:
    version = metadata["versions"].get(str(number))
    return format_version(number, version["created_time"]) if version else ""


def _is_intended_write(metadata: Mapping[str, Any], over: SecretMetadata, written: str) -> bool:
    """Return whether a version of ours came over the very secret and version that it was for."""
    if over.remote_id and metadata["created_time"] != over.remote_id:
        return False
    before = _version_at(metadata, version_number(written) - 1)
    if before and not version_matches(before, over.version):
        return False
    # A mark that was removed after our version existed by then: it was removed from our secret.
    is_marked = parse_mark(metadata.get("custom_metadata") or {}) == over.mark
    return is_marked or not written.endswith(metadata["updated_time"])
