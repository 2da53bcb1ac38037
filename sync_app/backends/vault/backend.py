"""Vault and OpenBao, KV version 2: every write is check-and-set, every deletion of one version.

Policy, with mount `secret` and prefix `team`: on `secret/data/team/*` create, update, read; on
`secret/metadata/team/*` create, update, read, list, and patch, where the server has it; on
`secret/delete/team/*`, `secret/undelete/team/*` and, if possible, `secret/destroy/team/*` update; on
`secret/config`, if possible, read; on `secret/detailed-metadata/team/*`
list, where the server has it (OpenBao), or a list costs one read a secret.

A text is an object with the one key `value`. A JSON object is that too, or its members are the keys, by the
target's rule; any object is read.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from sync_app.backends.answers import VendorAnswer
from sync_app.backends.base import Overwrites
from sync_app.backends.capabilities import Capabilities, FormField, Permission
from sync_app.backends.names import Prefix
from sync_app.backends.observations import (
    MARK_KEYS,
    Mark,
    SecretMetadata,
    SecretValue,
    format_version,
    parse_mark,
    precedes,
    version_matches,
    version_number,
)
from sync_app.backends.rest import RestBackend
from sync_app.backends.vault import permissions as vault_permissions
from sync_app.backends.vault.adapter import read_in_parallel
from sync_app.backends.vault.connection import ANSWERS, VaultConnection
from sync_app.backends.vault.content import (
    Content,
    Objects,
    keep,
    key_before,
    parse_metadata,
    to_content,
    to_kept_content,
    to_text,
    values_equal,
)
from sync_app.backends.vault.writes import VaultWrites
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BadDestination,
    ChangedSinceRead,
    CreateConflict,
    NameReserved,
    PermissionMissing,
    RequestRefused,
    ValueUnusable,
)

# For fewer names of a folder a list saves no request.
_WORTH_A_LIST: Final = 4
# So many others may lie between the names of a list that is cut short.
_BETWEEN: Final = 10
# The metadata of so many secrets is some 20 MB once it is read.
_PAGE: Final = 5_000
# Of a list. Each may have a page in memory.
_FOLDERS_AT_A_TIME: Final = 4
_FIRST: Final = 1
# Vault API, "Namespaces": the name of the one that is meant where none is given.
_ROOT: Final = "root"
_OVERTAKEN: Final = "another secret was written there first: plan again"
_SHARED: Final = (
    "other writers share the target's secrets (JSON objects: merge): Keeper deletes none. Delete it in Vault"
)
_CHANGED: Final = "the secret was changed in Vault since it was read: plan again"


class VaultKv2(RestBackend, Overwrites):
    """The secrets of one mount of a KV version 2 engine below one prefix."""

    label: ClassVar[str] = "HashiCorp Vault or OpenBao (KV version 2)"
    icon: ClassVar[str] = "safe"
    summary_label: ClassVar[str] = "Vault"
    summary_fields: ClassVar[tuple[str, ...]] = ("namespace", "mount", "prefix")
    destination_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="address", label="Address", required=True, help="https://vault.example:8200"),
        FormField(name="namespace", label="Namespace", fixed=True),
        FormField(name="mount", label="Mount", default="secret", fixed=True),
        FormField(name="prefix", label="Prefix", fixed=True, help="Added before every secret name."),
        FormField(name="approle_mount", label="AppRole mount", default="approle", way="AppRole"),
        FormField(
            name="objects",
            label="JSON objects",
            rule=True,
            default=Objects.VALUE,
            initial=Objects.KEYS,
            choices=tuple(Objects),
            choice_labels=(
                "Each member becomes a key",
                "Each member becomes a key; keys of other writers stay",
                "One text under the key value",
            ),
            help="How a value that is a JSON object is written.",
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="token", label="Token", sensitive=True, way="Token"),
        FormField(name="role_id", label="AppRole role ID", sensitive=True, way="AppRole"),
        FormField(name="secret_id", label="AppRole secret ID", sensitive=True, way="AppRole"),
    )
    writes_per_second: ClassVar[float] = 500
    answers: ClassVar[tuple[VendorAnswer, ...]] = ANSWERS
    # Standbys answer reads some tenths of a second late, and longer under load.
    readers_lag_seconds: ClassVar[float] = 10.0
    # A check-and-set does not distinguish a secret from another one with a version of that number.
    capabilities: ClassVar[Capabilities] = Capabilities(
        update_checks_mark=True,
        confirms_create=False,
        list_is_complete=True,
        deletes_one_version=True,
    )

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._address = self.endpoint(self.destination)
        if not self._credentials["token"] and not self._credentials["role_id"]:
            raise BadDestination("enter a token, or an AppRole role ID and secret ID", field="token")
        self._prefix = Prefix(self.destination["prefix"])
        self._mount = Prefix(self.destination["mount"], field="mount").text
        self._objects = Objects(self.destination["objects"])
        given = Prefix(self.destination["namespace"], field="namespace").text
        self._namespace = "" if _is_root(given) else given
        self._detailed = self._patches = True
        self._vault = VaultConnection(
            self._address,
            mount=self._mount,
            namespace=self._namespace,
            approle=Prefix(self.destination["approle_mount"], field="approle_mount").text,
            credentials=self._credentials,
            seconds=self.timeout_seconds,
        )
        self._writes = VaultWrites(self._vault, self._mount)

    @property
    def path_prefix(self) -> str:
        return self._prefix.text

    def identify_system(self) -> str:
        """Read the id of the cluster, which Vault returns without a token; add namespace and mount."""
        return "/".join(filter(None, ("vault", self._vault.identify_cluster(), self._namespace, self._mount)))

    @classmethod
    def normalize_system_id(cls, system: str, destination: Mapping[str, str]) -> str:
        """Return the system without the namespace `root`, which earlier versions took for one of its own."""
        cluster, _, rest = system.removeprefix("vault/").partition("/")
        if not _is_root(destination.get("namespace", "")) or not system.startswith("vault/"):
            return system
        return f"vault/{cluster}/{rest.removeprefix(f'{_ROOT}/')}"

    @classmethod
    def value_form(cls, destination: Mapping[str, str]) -> str:
        rule = destination.get("objects") or Objects.VALUE
        return "" if rule == Objects.VALUE else rule

    def explain_refusal(self, act: str, name: str) -> str:
        """Refuse to delete a secret that other writers may share."""
        return _SHARED if act == "delete" and self._objects is Objects.MERGE else ""

    def reformats(self, remote: str) -> bool:
        """Return whether it may be an object: Vault stores members, without order and spacing."""
        return self._objects is not Objects.VALUE and remote.startswith("{")

    def values_equal(self, local: str, remote: str) -> bool:
        """Compare objects by their members; with `merge` only those of Keeper's."""
        return values_equal(local, remote, self._objects)

    def close(self) -> None:
        self._vault.close()

    def check_connection(self) -> None:
        self._vault.request("GET", f"{self._mount}/metadata/{self._prefix.start}", params={"list": "true"})

    def probe_permissions(self) -> Iterator[Permission]:
        paths = vault_permissions.paths_to_check(self._mount, self._prefix.start)
        try:
            reply = self._vault.request("POST", "sys/capabilities-self", json={"paths": paths})
        except PermissionMissing:
            reply = None
        answer = reply["data"] if reply else None
        return vault_permissions.parse_capabilities(self._mount, self._prefix.start, answer)

    def list_secrets(self) -> Iterator[SecretMetadata]:
        """Yield all secrets below the prefix, from their metadata, some folders at a time; reads no value."""
        folders = [self._prefix.start]
        while folders:
            deeper: list[str] = []
            for below, found in read_in_parallel(self._read_folder, folders, threads=_FOLDERS_AT_A_TIME):
                deeper += below
                yield from found
            folders = deeper

    def get_metadata(self, name: str) -> SecretMetadata:
        return self._get_metadata(name, self._prefix.path(name))

    def batch_get_metadata(self, names: Collection[str]) -> dict[str, SecretMetadata]:
        """Return what a detailed list of each folder shows, from the first of the names on."""
        folders: dict[str, list[str]] = {}
        for name in names:
            folder, _, key = self._prefix.path(name).rpartition("/")
            folders.setdefault(f"{folder}/" if folder else "", []).append(key)
        found: dict[str, SecretMetadata] = {}
        for folder, keys in folders.items():
            if len(keys) < _WORTH_A_LIST:
                continue
            # OpenBao API, "List secrets": `after` and `limit`.
            page = {"after": key_before(min(keys)), "limit": str(len(keys) + _BETWEEN)}
            reply = self._list_with_metadata(folder, **page)
            listed = reply["data"]["key_info"] if reply else {}
            for key in listed.keys() & set(keys):
                name = (folder + key).removeprefix(self._prefix.start)
                found[name] = self._parse(name, listed[key])
        return found

    def read_value(self, name: str) -> SecretValue | None:
        found = self._read_version(name)
        return found[0] if found else None

    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:
        """Mark the empty name, then write its first version with cas=0.

        In this order a crash in between leaves a mark without a value, never a value without a
        mark. Raises CreateConflict if another writer's first version came in between.
        """
        path, content = self._prefix.path(name), to_content(value, self._objects)
        now = self.get_metadata(name)
        if now.presence is Presence.DELETED:
            raise NameReserved("a deleted secret of this name is there: undelete or remove it in Vault")
        if now.presence is Presence.PRESENT:
            if now.mark == mark and version_number(now.version) == _FIRST:
                # Marked by an attempt that stopped there; its value shows what that would have written.
                raise CreateConflict(_OVERTAKEN)
            raise ChangedSinceRead("another secret is there already: plan again")
        self.mark(now, mark)
        try:
            answer = self._writes.write(path, content, cas=0)
        except ChangedSinceRead:
            raise CreateConflict(_OVERTAKEN) from None
        made = SecretMetadata(name=name, presence=Presence.PRESENT, version=_version_of(answer), mark=mark)
        if not _shows_mark(answer, mark):
            # The marked name was removed just before: this first version is ours.
            self.mark(made, mark)
        return made if known else self.get_metadata(name)

    def update(
        self, seen: SecretMetadata, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> SecretMetadata:
        """Write with cas = the version read.

        If the next version holds this very value already, an earlier attempt got through. What is `known` is
        written over unread, unless that would destroy it: then it is read just before. So is what was
        destroyed already, and an object that other writers have keys in. A write that came over another
        secret is taken back.
        """
        path = self._prefix.path(seen.name)
        content = to_content(value, self._objects)
        if known and self._objects is not Objects.MERGE and not self._writes.keeps_single_version(seen):
            return self._write_over(seen, path, content)
        found = self._read_version(seen.name)
        if found is None:
            return self._write_over_destroyed(seen, path, content)
        now, kept = found
        if (now.metadata.version, now.metadata.mark) == (seen.version, seen.mark):
            return self._write_over_read(seen, path, content, kept=kept)
        return self._find_earlier_attempt(seen, now, value, token=token, repeated=repeated)

    def revert_write(self, over: SecretMetadata, written: str) -> None:
        """Put back what a version of ours came over, if that was another secret or another version of it."""
        self._writes.revert(self._prefix.path(over.name), over, written)

    def revert_unconfirmed_write(
        self, over: SecretMetadata, *, makes: str, wrote: Callable[[str], bool], kept: str | None = None
    ) -> None:
        """Put back what the version of this number came over, if that is a write of ours over another one."""
        self._writes.revert_unconfirmed(
            self._prefix.path(over.name),
            over,
            version_number(makes),
            wrote=lambda content: _is_usable(content) and wrote(to_text(content)),
            kept=None if kept is None else to_kept_content(kept),
        )

    def may_destroy_version(self, seen: SecretMetadata) -> bool:
        """Return whether the secret or the mount keeps one version, or the token may not ask."""
        return self._writes.keeps_single_version(seen)

    def predict_version(self, version: str, *, token: str) -> str:
        """Return the number after the version's, which any writer can create; 1 if there is no version."""
        return str(version_number(version) + 1)

    @classmethod
    def is_older(cls, seen: SecretMetadata, intended: str) -> bool:
        """Return whether a look shows nothing, or a version of a lower number."""
        absent = seen.presence is Presence.ABSENT
        return absent or version_number(seen.version) < version_number(intended)

    @classmethod
    def is_behind(cls, seen: SecretMetadata, synced: str) -> bool:
        """Return whether a look shows a lower number of an earlier time: numbers begin again."""
        return precedes(seen.version, synced)

    def delete(self, seen: SecretMetadata) -> None:
        """Delete exactly the version read; if another one is there by then, bring it back."""
        if refusal := self.explain_refusal("delete", seen.name):
            raise RequestRefused(refusal)
        path = self._prefix.path(seen.name)
        self._refuse_change(seen, self.get_metadata(seen.name))
        versions = {"versions": [version_number(seen.version)]}
        self._vault.request("POST", self._api_path("delete", path), json=versions)
        after = self.get_metadata(seen.name)
        if (after.version, after.mark) != (seen.version, seen.mark):
            self._vault.request("POST", self._api_path("undelete", path), json=versions)
            raise ChangedSinceRead("the secret was changed in Vault while it was deleted: it was restored")

    def restore(self, name: str) -> SecretMetadata:
        seen = self.get_metadata(name)
        if seen.version:
            path = self._api_path("undelete", self._prefix.path(name))
            self._vault.request("POST", path, json={"versions": [version_number(seen.version)]})
        return self.get_metadata(name)

    def mark(self, seen: SecretMetadata, mark: Mark) -> None:
        """Add the mark to the custom metadata; a patch would fail on a missing secret."""
        labels = mark.labels()
        if seen.presence is Presence.ABSENT and not seen.remote_id:
            path = self._api_path("metadata", self._prefix.path(seen.name))
            self._vault.request("POST", path, json={"custom_metadata": labels})
        else:
            self._set_labels(seen.name, labels)

    def unmark(self, seen: SecretMetadata) -> None:
        self._set_labels(seen.name, dict.fromkeys(MARK_KEYS))

    # --- How ----------------------------------------------------------------------------------

    def _read_version(self, name: str, **asked: str) -> tuple[SecretValue, Content] | None:
        """Return a version as a value and key by key; None if it is not there."""
        reply = self._vault.request("GET", self._api_path("data", self._prefix.path(name)), params=asked)
        if reply is None or reply["data"]["data"] is None:
            return None
        content: Content = reply["data"]["data"]
        version = _version_of(reply["data"]["metadata"])
        labels = reply["data"]["metadata"].get("custom_metadata") or {}
        seen = SecretMetadata(name=name, presence=Presence.PRESENT, version=version, mark=parse_mark(labels))
        return SecretValue(metadata=seen, value=to_text(content), raw=keep(content)), content

    def _revert_older(self, seen: SecretMetadata, value: str) -> None:
        """Undo a version of ours below a newer one, if it came over what was not the secret in `seen`.

        An earlier attempt put that back, or another client wrote the newer one. Raises Overwritten then.
        """
        try:
            older = self._read_version(seen.name, version=str(version_number(seen.version) + 1))
        except ValueUnusable:
            return
        if older is not None and self.values_equal(value, older[0].value):
            self.revert_write(seen, older[0].metadata.version)

    def _read_folder(self, folder: str) -> tuple[list[str], list[SecretMetadata]]:
        deeper: list[str] = []
        found: list[SecretMetadata] = []
        for key, metadata in self._list_folder(folder):
            if key.endswith("/"):
                deeper.append(folder + key)
                continue
            name = (folder + key).removeprefix(self._prefix.start)
            seen = self._get_metadata(name, folder + key) if metadata is None else self._parse(name, metadata)
            if seen.presence is not Presence.ABSENT:
                found.append(seen)
        return deeper, found

    def _api_path(self, kind: str, path: str) -> str:
        return self._writes.api_path(kind, path)

    def _list_folder(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """Yield a folder's keys with their metadata, where the server lists that, else with None."""
        last = ""
        while reply := self._list_with_metadata(
            folder, limit=str(_PAGE), **({"after": last} if last else {})
        ):
            keys = reply["data"]["keys"]
            if not keys or keys[0] <= last:
                # A server that knows no pages gives all of them, each time.
                return
            for key in keys:
                yield key, reply["data"]["key_info"].get(key) or None
            if len(keys) != _PAGE:
                return
            last = keys[-1]
        if last and self._detailed:
            return
        reply = self._vault.request("GET", self._api_path("metadata", folder), params=_LIST)
        if reply is None:
            return
        self._detailed = False
        for key in reply["data"]["keys"]:
            if key > last:
                yield key, None

    def _list_with_metadata(self, folder: str, **page: str) -> dict[str, Any] | None:
        """List a folder with metadata; None if nothing is there, or the server lists nothing like that."""
        if not self._detailed:
            return None
        try:
            return self._vault.request(
                "GET", self._api_path("detailed-metadata", folder), params=_LIST | page
            )
        except (PermissionMissing, RequestRefused):
            self._detailed = False
            return None

    def _parse(self, name: str, metadata: Mapping[str, Any]) -> SecretMetadata:
        return parse_metadata(name, metadata, now=self._vault.server_time)

    def _get_metadata(self, name: str, path: str) -> SecretMetadata:
        reply = self._vault.request("GET", self._api_path("metadata", path))
        if reply is None:
            return SecretMetadata(name=name, presence=Presence.ABSENT)
        seen = self._parse(name, reply["data"])
        if seen.presence is Presence.DELETED and not seen.expired:
            return replace(seen, expired=self._writes.has_version_expiry())
        return seen

    def _refuse_change(self, seen: SecretMetadata, now: SecretMetadata) -> None:
        if now.presence is not Presence.PRESENT or (now.version, now.mark) != (seen.version, seen.mark):
            raise ChangedSinceRead(_CHANGED)
        if seen.remote_id and now.remote_id != seen.remote_id:
            raise ChangedSinceRead(_CHANGED)

    def _write_over_destroyed(self, seen: SecretMetadata, path: str, content: Content) -> SecretMetadata:
        """Write where nothing is held any more. Raises ChangedSinceRead if the seen one was not deleted."""
        if seen.presence is not Presence.DELETED:
            raise ChangedSinceRead(_CHANGED)
        made = self._write_over(seen, path, content)
        self._writes.revert(path, seen, made.version)
        return made

    def _write_over_read(
        self, seen: SecretMetadata, path: str, content: Content, *, kept: Content
    ) -> SecretMetadata:
        """Write over the version that was just read, whose content is `kept`."""
        merged = {**kept, **content} if self._objects is Objects.MERGE else content
        made = self._write_over(seen, path, merged, kept=kept)
        self._writes.revert(path, seen, made.version, kept=kept)
        return made

    def _find_earlier_attempt(
        self, seen: SecretMetadata, now: SecretValue, value: str, *, token: str, repeated: bool
    ) -> SecretMetadata:
        """Return what an earlier attempt at this write made. Raises ChangedSinceRead for another version."""
        version, is_marked = now.metadata.version, now.metadata.mark == seen.mark
        is_next = version_matches(version, self.predict_version(seen.version, token=token))
        if is_next and (repeated or is_marked) and self.values_equal(value, now.value):
            if repeated:
                self._writes.revert(self._prefix.path(seen.name), seen, version)
            if is_marked:
                return replace(seen, presence=Presence.PRESENT, version=version)
        if repeated and version_number(version) > version_number(seen.version) + 1:
            self._revert_older(seen, value)
        raise ChangedSinceRead(_CHANGED)

    def _write_over(
        self, seen: SecretMetadata, path: str, content: Content, *, kept: Content | None = None
    ) -> SecretMetadata:
        """Write over the version in `seen`; where the answer does not show our mark, take it back."""
        answer = self._writes.write(path, content, cas=version_number(seen.version))
        made = _version_of(answer)
        if not _shows_mark(answer, seen.mark):
            self._writes.revert(path, seen, made, kept=kept, unmarked=True)
            raise ChangedSinceRead(_CHANGED)
        return replace(seen, presence=Presence.PRESENT, version=made, previous_version=seen.version)

    def _set_labels(self, name: str, changes: Mapping[str, str | None]) -> None:
        """Set some keys of the custom metadata, or take away those that are None; the others are not ours.

        A patch leaves them alone (Vault 1.9, OpenBao). Where it may not be sent they are written back as
        they were read: what another client labels in between is lost.
        """
        path = self._api_path("metadata", self._prefix.path(name))
        labels: dict[str, str] | None = None
        if self._patches:
            try:
                if self._vault.request("PATCH", path, json={"custom_metadata": changes}) is not None:
                    return
                # Nothing is there, which a patch does not make.
                labels = {}
            except (PermissionMissing, RequestRefused):
                self._patches = False
        if labels is None:
            reply = self._vault.request("GET", path)
            labels = (reply["data"].get("custom_metadata") if reply else None) or {}
        kept = {key: text for key, text in {**labels, **changes}.items() if text is not None}
        if kept != labels:
            self._vault.request("POST", path, json={"custom_metadata": kept})


_LIST: Final = {"list": "true"}


def _is_root(namespace: str) -> bool:
    return namespace.strip("/") == _ROOT


def _is_usable(content: Content) -> bool:
    try:
        to_text(content)
    except ValueUnusable:
        return False
    return True


def _version_of(told: Mapping[str, Any]) -> str:
    return format_version(told["version"], told["created_time"])


def _shows_mark(answer: Mapping[str, Any], mark: Mark | None) -> bool:
    """Return whether the answer to a write shows a mark; old servers do not show any."""
    return "custom_metadata" not in answer or parse_mark(answer["custom_metadata"] or {}) == mark
