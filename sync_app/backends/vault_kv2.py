"""Vault and OpenBao, KV version 2: every write is check-and-set, every deletion of one version.

Policy, with mount `secret` and prefix `team`: on `secret/data/team/*` create, update, read; on
`secret/metadata/team/*` create, update, read, list; on `secret/delete/team/*` and
`secret/undelete/team/*` update; on `secret/detailed-metadata/team/*` list, where the server has
it (OpenBao), or a list costs one read a secret.

A secret is an object with the one key `value`; others are read by nobody and never overwritten.
"""

import hmac
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import quote

import hvac
import requests
from hvac.adapters import RawAdapter
from hvac.exceptions import VaultError

from audit_app.errors import BadEndpoint, EndpointRefused
from audit_app.outbound import normalised_endpoint, session
from sync_app.backends import vault_permissions
from sync_app.backends.base import MARK_KEYS, Backend, Copy, FormField, Mark, Seen, complete, mark_from
from sync_app.backends.paths import Prefix
from sync_app.backends.permissions import Permission
from sync_app.backends.vault_errors import translated
from sync_app.backends.vault_metadata import just_before, seen_in
from sync_app.errors import (
    BackendError,
    BadDestination,
    ChangedSinceRead,
    CreateOvertaken,
    CredentialsRejected,
    MountMissing,
    NameHeld,
    PermissionMissing,
    RequestRefused,
    TargetSealed,
    TargetStandby,
    TargetUnreachable,
    ValueUnusable,
)
from sync_app.reconcile import Presence

FIELD: Final = "value"
_NOT_FOUND: Final = 404
# For fewer names of a folder a list saves no request.
_WORTH_A_LIST: Final = 4
# So many others may lie between the names of a list that is cut short.
_BETWEEN: Final = 10
_CHANGED: Final = "the secret was changed in Vault since it was read: plan again"


class VaultKv2(Backend):
    """The secrets of one mount of a KV version 2 engine below one prefix."""

    label: ClassVar[str] = "HashiCorp Vault or OpenBao (KV version 2)"
    destination_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="address", label="Address", required=True, help="https://vault.example:8200"),
        FormField(name="namespace", label="Namespace", fixed=True),
        FormField(name="mount", label="Mount", default="secret", fixed=True),
        FormField(name="prefix", label="Prefix", fixed=True, help="Whole segments in front of every name."),
        FormField(name="approle_mount", label="AppRole mount", default="approle"),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="token", label="Token", sensitive=True),
        FormField(name="role_id", label="AppRole role id", sensitive=True),
        FormField(name="secret_id", label="AppRole secret id", sensitive=True),
    )
    writes_per_second: ClassVar[float] = 500
    update_proves_mark: ClassVar[bool] = True
    known_update_confirms: ClassVar[bool] = True
    timeout_seconds: ClassVar[float] = 10

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._address = self.endpoint(self.destination)
        if not self._credentials["token"] and not self._credentials["role_id"]:
            raise BadDestination("give a token, or an AppRole's role id and secret id", field="token")
        self._prefix = Prefix(self.destination["prefix"])
        self._mount = Prefix(self.destination["mount"], field="mount").text
        self._namespace = Prefix(self.destination["namespace"], field="namespace").text
        self._approle = Prefix(self.destination["approle_mount"], field="approle_mount").text
        self._lock = threading.Lock()
        self._ready = False
        self._detailed = True
        self._client = hvac.Client(
            url=self._address,
            token=self._credentials["token"],
            namespace=self._namespace or None,
            adapter=RawAdapter,
            session=session(),
            allow_redirects=False,
            timeout=self.timeout_seconds,
        )

    @classmethod
    def endpoint(cls, destination: Mapping[str, str]) -> str:
        """Return the address."""
        try:
            return normalised_endpoint(complete(cls.destination_fields, destination)["address"])
        except BadEndpoint as error:
            raise BadDestination(str(error), field="address") from error

    @property
    def place(self) -> str:
        """The prefix."""
        return self._prefix.text

    def system(self) -> str:
        """Ask for the id of the cluster, which Vault tells without a token; add namespace and mount."""
        health = self._health()
        if health.get("sealed"):
            raise TargetSealed("Vault is sealed: unseal it")
        if not health.get("cluster_id"):
            raise TargetStandby("sys/health tells no id of a cluster: give the address of the active node")
        return "/".join(filter(None, ("vault", health["cluster_id"], self._namespace, self._mount)))

    def close(self) -> None:
        """Revoke a token that an AppRole gave, and close the connections."""
        if self._ready and not self._credentials["token"]:
            try:
                self._send("POST", "auth/token/revoke-self")
            except BackendError:
                # It ends by itself when its time is up.
                self._ready = False
        self._client.session.close()

    def check(self) -> None:
        """Sign in, look at the mount, and list the prefix."""
        self._send_ready("GET", f"{self._mount}/metadata/{self._prefix.start}", params={"list": "true"})

    def permissions(self) -> Iterator[Permission]:
        """Ask Vault for the token's capabilities."""
        paths = vault_permissions.asked_paths(self._mount, self._prefix.start)
        try:
            reply = self._send_ready("POST", "sys/capabilities-self", json={"paths": paths})
        except PermissionMissing:
            reply = None
        answer = reply["data"] if reply else None
        return vault_permissions.judged(self._mount, self._prefix.start, answer)

    def list(self) -> Iterator[Seen]:
        """Yield all secrets below the prefix, from their metadata; no value is read."""
        folders = [self._prefix.start]
        while folders:
            folder = folders.pop()
            for key, metadata in self._listed(folder):
                if key.endswith("/"):
                    folders.append(folder + key)
                    continue
                name = (folder + key).removeprefix(self._prefix.start)
                seen = seen_in(name, metadata) if metadata is not None else self._looked(name, folder + key)
                if seen.presence is not Presence.ABSENT:
                    yield seen

    def look(self, name: str) -> Seen:
        """Return what the metadata of a name says."""
        return self._looked(name, self._prefix.path(name))

    def glance(self, names: Collection[str]) -> dict[str, Seen]:
        """Return what a detailed list of each folder shows, from the first of the names on."""
        folders: dict[str, list[str]] = {}
        for name in names:
            folder, _, key = self._prefix.path(name).rpartition("/")
            folders.setdefault(f"{folder}/" if folder else "", []).append(key)
        found: dict[str, Seen] = {}
        for folder, keys in folders.items():
            if len(keys) < _WORTH_A_LIST:
                continue
            # OpenBao API, "List secrets": `after` and `limit`.
            page = {"after": just_before(min(keys)), "limit": str(len(keys) + _BETWEEN)}
            reply = self._listed_in_detail(folder, **page)
            listed = reply["data"]["key_info"] if reply else {}
            for key in listed.keys() & set(keys):
                name = (folder + key).removeprefix(self._prefix.start)
                found[name] = seen_in(name, listed[key])
        return found

    def read(self, name: str) -> Copy | None:
        """Return value and version from one read of the data."""
        reply = self._send_ready("GET", self._at("data", self._prefix.path(name)))
        if reply is None or reply["data"]["data"] is None:
            return None
        version = str(reply["data"]["metadata"]["version"])
        content = reply["data"]["data"]
        if set(content) != {FIELD} or not isinstance(content[FIELD], str):
            raise ValueUnusable(f"the secret holds something else than one text in the key `{FIELD}`")
        labels = reply["data"]["metadata"].get("custom_metadata") or {}
        seen = Seen(name=name, presence=Presence.PRESENT, version=version, mark=mark_from(labels))
        return Copy(seen=seen, value=content[FIELD])

    def create(self, name: str, value: str, *, mark: Mark, token: str) -> Seen:  # noqa: ARG002
        """Mark the empty name, then write its first version with cas=0.

        In this order a crash in between leaves a mark without a value, never a value without a
        mark. Raises CreateOvertaken if somebody else's first version came in between.
        """
        path = self._prefix.path(name)
        now = self.look(name)
        if now.presence is Presence.DELETED:
            raise NameHeld("a deleted secret of this name is there: undelete or remove it in Vault")
        if now.presence is Presence.PRESENT:
            raise ChangedSinceRead("another secret is there already: plan again")
        self.mark(now, mark)
        try:
            self._write(path, value, cas=0)
        except ChangedSinceRead:
            raise CreateOvertaken("another secret was written there first: plan again") from None
        return self.look(name)

    def update(self, seen: Seen, value: str, *, token: str, known: bool = False) -> Seen:  # noqa: ARG002
        """Write with cas = the version read; what is there must be a single text.

        If the next version holds this very value already, an earlier attempt got through. The
        answer shows the mark: where it is not ours any more, what was there is put back.
        """
        path = self._prefix.path(seen.name)
        if known:
            return self._written(seen, path, value)
        now = self.read(seen.name)
        # A secret that was removed and made anew counts its versions from 1 again, without our mark.
        if now is None or now.seen.mark != seen.mark:
            raise ChangedSinceRead(_CHANGED)
        if now.seen.version != seen.version:
            if int(now.seen.version) == int(seen.version) + 1 and _same(now.value, value):
                return replace(seen, presence=Presence.PRESENT, version=now.seen.version)
            raise ChangedSinceRead(_CHANGED)
        return self._written(seen, path, value)

    def delete(self, seen: Seen) -> None:
        """Delete exactly the version read; if another one is there by then, bring it back."""
        path = self._prefix.path(seen.name)
        self._refuse_change(seen, self.look(seen.name))
        versions = {"versions": [int(seen.version)]}
        self._send_ready("POST", self._at("delete", path), json=versions)
        after = self.look(seen.name)
        if after.version != seen.version:
            self._send_ready("POST", self._at("undelete", path), json=versions)
            raise ChangedSinceRead("the secret was changed in Vault while it was deleted: it was restored")

    def restore(self, name: str) -> Seen:
        """Undelete the newest version."""
        seen = self.look(name)
        if seen.version:
            path = self._at("undelete", self._prefix.path(name))
            self._send_ready("POST", path, json={"versions": [int(seen.version)]})
        return self.look(name)

    def mark(self, seen: Seen, mark: Mark) -> None:
        """Add the mark to the custom metadata."""
        self._label(seen.name, lambda labels: labels | mark.labels())

    def unmark(self, seen: Seen) -> None:
        """Take our keys out of the custom metadata."""
        self._label(seen.name, lambda labels: {key: labels[key] for key in labels if key not in MARK_KEYS})

    # --- How ----------------------------------------------------------------------------------

    def _at(self, kind: str, path: str) -> str:
        return f"{self._mount}/{kind}/{quote(path, safe='/')}"

    def _listed(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """Yield a folder's keys with their metadata, where the server lists that, else with None."""
        reply = self._listed_in_detail(folder)
        if reply is not None:
            for key in reply["data"]["keys"]:
                yield key, reply["data"]["key_info"].get(key) or None
            return
        reply = self._send_ready("GET", self._at("metadata", folder), params=_LIST)
        if reply is None:
            return
        self._detailed = False
        for key in reply["data"]["keys"]:
            yield key, None

    def _listed_in_detail(self, folder: str, **page: str) -> dict[str, Any] | None:
        """List a folder with metadata; None if nothing is there, or the server lists nothing like that."""
        if not self._detailed:
            return None
        try:
            return self._send_ready("GET", self._at("detailed-metadata", folder), params=_LIST | page)
        except (PermissionMissing, RequestRefused):
            self._detailed = False
            return None

    def _looked(self, name: str, path: str) -> Seen:
        reply = self._send_ready("GET", self._at("metadata", path))
        if reply is None:
            return Seen(name=name, presence=Presence.ABSENT)
        return seen_in(name, reply["data"])

    def _refuse_change(self, seen: Seen, now: Seen) -> None:
        if now.presence is not Presence.PRESENT or now.version != seen.version:
            raise ChangedSinceRead(_CHANGED)
        if seen.remote_id and now.remote_id != seen.remote_id:
            raise ChangedSinceRead(_CHANGED)

    def _write(self, path: str, value: str, *, cas: int) -> Mapping[str, Any]:
        body = {"data": {FIELD: value}, "options": {"cas": cas}}
        reply = self._send_ready("POST", self._at("data", path), json=body)
        if reply is None:
            raise MountMissing("Vault has no place for data at this mount")
        answer: Mapping[str, Any] = reply["data"]
        return answer

    def _written(self, seen: Seen, path: str, value: str) -> Seen:
        """Write over the version in `seen`, if it is still ours when it is written."""
        answer = self._write(path, value, cas=int(seen.version))
        # Old servers do not say.
        if "custom_metadata" in answer and mark_from(answer["custom_metadata"] or {}) != seen.mark:
            self._put_back(path, seen.version, int(answer["version"]))
            raise ChangedSinceRead("our mark was taken off just before it was written: the old value is back")
        return replace(seen, presence=Presence.PRESENT, version=str(answer["version"]))

    def _put_back(self, path: str, version: str, written: int) -> None:
        """Write what a version held over the one that should not have been written."""
        old = self._send_ready("GET", self._at("data", path), params={"version": version})
        if old is None or old["data"]["data"] is None:
            raise ChangedSinceRead(_CHANGED)
        body = {"data": old["data"]["data"], "options": {"cas": written}}
        self._send_ready("POST", self._at("data", path), json=body)

    def _label(self, name: str, change: Any) -> None:
        path = self._at("metadata", self._prefix.path(name))
        reply = self._send_ready("GET", path)
        labels = (reply["data"].get("custom_metadata") if reply else None) or {}
        self._send_ready("POST", path, json={"custom_metadata": change(labels)})

    def _send_ready(self, method: str, path: str, **options: Any) -> dict[str, Any] | None:
        with self._lock:
            if not self._ready:
                self._sign_in()
                self._refuse_other_engines()
                self._ready = True
        return self._send(method, path, **options)

    def _sign_in(self) -> None:
        """Take a token from the AppRole, or prolong the given one if half of its time is over."""
        if not self._credentials["token"]:
            self._login()
            return
        reply = self._send("GET", "auth/token/lookup-self") or {"data": {}}
        token = reply["data"]
        granted = token.get("period") or token.get("creation_ttl") or 0
        if token.get("renewable") and token.get("ttl", 0) * 2 < granted:
            self._send("POST", "auth/token/renew-self")

    def _login(self) -> None:
        body = {"role_id": self._credentials["role_id"], "secret_id": self._credentials["secret_id"]}
        try:
            reply = self._send("POST", f"auth/{self._approle}/login", json=body)
        except BackendError as error:
            if error.permanent:
                raise CredentialsRejected("Vault does not accept the AppRole: renew its secret id") from None
            raise
        if reply is None:
            raise MountMissing(f"Vault has no AppRole at {self._approle}")
        self._client.token = reply["auth"]["client_token"]

    def _refuse_other_engines(self) -> None:
        """Refuse a mount that is not KV version 2: in version 1 `data/x` would be a secret's name."""
        try:
            reply = self._send("GET", f"sys/internal/ui/mounts/{self._mount}")
        except PermissionMissing:
            # Vault tells nobody which mounts there are, who has no permission below one.
            raise MountMissing(f"no mount {self._mount}, or the token's policy names nothing in it") from None
        engine = reply["data"] if reply else {}
        # Vault also answers for paths below a mount, where `data/x` would be a secret's name.
        if not f"/{self._mount}/".endswith(f"/{engine.get('path')}"):
            raise MountMissing(f"{self._mount} is a path inside another mount: name the mount itself")
        if engine.get("type") != "kv" or (engine.get("options") or {}).get("version") != "2":
            raise MountMissing(f"the mount {self._mount} is not a KV version 2 secrets engine")

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any] | None:
        """Send a request and return its answer; None is Vault's word for nothing there."""
        try:
            response = self._client.adapter.request(
                method.lower(), f"/v1/{path}", raise_exception=False, **options
            )
        except EndpointRefused as error:
            raise TargetUnreachable(str(error)) from None
        except (requests.RequestException, VaultError) as error:
            # The reply, if there was one, may hold a value: it is not passed on.
            raise TargetUnreachable(f"Vault gave no answer ({type(error).__name__})") from None
        return self._answer(method, path, response)

    def _answer(self, method: str, path: str, response: requests.Response) -> dict[str, Any] | None:
        if response.is_redirect or not response.ok:
            body = _body(response)
            # Deleted data answers 404 with its metadata; nothing at all with no words about it.
            if response.status_code == _NOT_FOUND and ("data" in body or not body.get("errors")):
                return body if body.get("data") else None
            error = translated(method, path, response.status_code, body.get("errors") or [])
            if isinstance(error, PermissionMissing) and not self._is_known():
                error = CredentialsRejected("Vault does not know the token, or it has expired: renew it")
            raise error
        return _body(response)

    def _health(self) -> dict[str, Any]:
        """Return what a node says of itself, whatever its status: not to a namespace, and with no token."""
        try:
            reply = self._client.session.get(f"{self._address}/v1/sys/health", timeout=self.timeout_seconds)
        except EndpointRefused as error:
            raise TargetUnreachable(str(error)) from None
        except requests.RequestException as error:
            raise TargetUnreachable(f"Vault gave no answer ({type(error).__name__})") from None
        return _body(reply)

    def _is_known(self) -> bool:
        """Say whether the token is one that Vault knows; denied and expired answer alike."""
        response = self._client.adapter.request("get", "/v1/auth/token/lookup-self", raise_exception=False)
        return bool(response.ok)


_LIST: Final = {"list": "true"}


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _body(response: requests.Response) -> dict[str, Any]:
    """Return the JSON object of a reply; an empty one for anything else."""
    try:
        body = json.loads(response.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
