"""Kubernetes Secrets: one object for each secret, applied over the version that was read.

Permissions, in the namespace: on `secrets` get, list, create, patch and delete; on the namespace itself get
(its uid names the system). To restart workloads: list and patch on `deployments`, `statefulsets` and
`daemonsets`. A Role and a ServiceAccount suffice; `selfsubjectaccessreviews`, which every
account may create, answers the test of a connection.

A create fails if the name is taken, a write and a deletion name uid and resource version: Kubernetes compares
both. It keeps nothing of a deleted object. Keys that other field managers set stay, and such an object is not
deleted.
"""

import hmac
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from sync_app.backends.answers import VendorAnswer, listed
from sync_app.backends.capabilities import Capabilities, FormField, Grant, Need, Permission
from sync_app.backends.kubernetes.answers import ANSWERS, NotFound
from sync_app.backends.kubernetes.connection import KubernetesConnection, PageTooLarge
from sync_app.backends.kubernetes.objects import (
    MANAGER,
    NAME,
    WRITE,
    WRITE_DIGITS,
    Objects,
    explain_bad_name,
    foreign_keys,
    left_out,
    object_name,
    parse_metadata,
    precedes,
    resource_version,
    to_data,
    to_text,
)
from sync_app.backends.kubernetes.workloads import KINDS, restart_workloads
from sync_app.backends.names import Prefix
from sync_app.backends.objects import includes, parse_object
from sync_app.backends.observations import MARK_KEYS, VERSION_SEPARATOR, Mark, SecretMetadata, SecretValue
from sync_app.backends.rest import RestBackend, refuse_unreadable
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BadDestination,
    ChangedSinceRead,
    MountMissing,
    NameUnusable,
    RequestRefused,
    ValueUnusable,
)

# Metadata without data: "Kubernetes API Concepts", "Metadata-only fetches".
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_PAGE: Final = 500
_RESTART: Final = "restart"
_CHANGED: Final = "the Secret changed in Kubernetes after it was read: refresh the plan"
_ALTERED: Final = (
    "Kubernetes took the write and stored another value, as a mutating admission webhook does: ask those who "
    "run the cluster, then choose which value stays"
)
_LEAVING: Final = "the Secret is being deleted in Kubernetes (a finalizer holds it): wait, then sync again"
_IMMUTABLE: Final = "the Secret is immutable in Kubernetes: delete it there, then sync again"
_SHARED: Final = "other field managers set keys of the Secret, so Keeper does not delete it: delete it there"
_NEEDED: Final = (
    ("get", Need.READ),
    ("list", Need.READ),
    ("create", Need.WRITE),
    ("patch", Need.WRITE),
    ("delete", Need.DELETE),
)


class KubernetesSecrets(RestBackend):
    """The Secrets of one namespace whose names begin with one prefix."""

    label: ClassVar[str] = "Kubernetes Secrets"
    icon: ClassVar[str] = "wheel"
    summary_label: ClassVar[str] = "Kubernetes"
    summary_fields: ClassVar[tuple[str, ...]] = ("namespace", "prefix")
    answers: ClassVar[tuple[VendorAnswer, ...]] = ANSWERS
    destination_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="address", label="API server", required=True, help="https://cluster.example:6443"),
        FormField(name="namespace", label="Namespace", required=True, fixed=True),
        FormField(
            name="prefix",
            label="Prefix",
            fixed=True,
            help="team/app: names in Kubernetes begin with team.app. and have dots for slashes.",
        ),
        FormField(
            name="type", label="Type", default="Opaque", fixed=True, help="Of new Secrets, such as Opaque."
        ),
        FormField(
            name="objects",
            label="JSON objects",
            rule=True,
            default=Objects.KEYS,
            choices=tuple(Objects),
            choice_labels=("Each member becomes a key", "One text under the key value"),
            help="How a value that is a JSON object of texts is written.",
        ),
        FormField(
            name="restart",
            label="Workloads",
            rule=True,
            default="leave",
            choices=("leave", _RESTART),
            choice_labels=("Leave them running", "Restart those that use a changed Secret"),
            help="Deployments, StatefulSets and DaemonSets of the namespace.",
        ),
        FormField(
            name="ca_certificate",
            label="CA certificate",
            lines=True,
            help="PEM. Leave blank for public certificate authorities.",
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="token", label="Token", sensitive=True, required=True, help="Of a ServiceAccount."),
    )
    writes_per_second: ClassVar[float] = 20
    page_size: ClassVar[int] = _PAGE
    capabilities: ClassVar[Capabilities] = Capabilities(
        update_checks_mark=True,
        deletes_one_version=True,
        list_is_complete=True,
        deletes_recoverably=False,
        versions_count_metadata=True,
    )

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._prefix = Prefix(self.destination["prefix"])
        self._objects = Objects(self.destination["objects"])
        self._restarts = self.acts_after_writes(self.destination)
        self._namespace = self.destination["namespace"]
        if problem := explain_bad_name(self._namespace):
            raise BadDestination(problem, field="namespace")
        refuse_unreadable(self.destination["ca_certificate"])
        # The versions that our own marking left, by those before.
        self._marked: dict[str, str] = {}
        self._lock = threading.Lock()
        self._cluster = KubernetesConnection(
            self.endpoint(self.destination),
            token=self._credentials["token"],
            ca=self.destination["ca_certificate"],
            seconds=self.timeout_seconds,
        )

    @property
    def path_prefix(self) -> str:
        return self._prefix.text

    def identify_system(self) -> str:
        """Return the uid of the namespace, which no other namespace of any cluster has."""
        try:
            found = self._cluster.request("GET", f"/api/v1/namespaces/{self._namespace}", accept=_METADATA)
        except NotFound:
            raise MountMissing("there is no such namespace in the cluster: create it first") from None
        return f"kubernetes/{found['metadata']['uid']}"

    @classmethod
    def value_form(cls, destination: Mapping[str, str]) -> str:
        rule = destination.get("objects") or Objects.KEYS
        return "" if rule == Objects.VALUE else rule

    def remote_name(self, name: str) -> str:
        return object_name(self._prefix.start + name)

    def explain_refusal(self, act: str, name: str) -> str:
        return explain_bad_name(self.remote_name(name)) if act == "create" else ""

    def reformats(self, remote: str) -> bool:
        """Return whether it may be keys: they have no order, and others may have keys beside them."""
        return remote.startswith("{")

    def values_equal(self, local: str, remote: str) -> bool:
        """Compare the keys that Keeper writes with those in the Secret."""
        ours, theirs = parse_object(local) or {"value": local}, parse_object(remote)
        return super().values_equal(local, remote) or (theirs is not None and includes(theirs, ours))

    def settled(self, seen: SecretMetadata) -> SecretMetadata:
        return replace(seen, version=self._marked.get(seen.version, seen.version))

    def close(self) -> None:
        self._cluster.close()

    def check_connection(self) -> None:
        self._list_page({"limit": "1"})

    def probe_permissions(self) -> Iterator[Permission]:
        needed = [("", "secrets", verb, need) for verb, need in _NEEDED]
        if self._restarts:
            needed += [("apps", kind, verb, Need.WRITE) for kind in KINDS for verb in ("list", "patch")]
        for group, resource, verb, need in needed:
            attributes = {"namespace": self._namespace, "verb": verb, "group": group, "resource": resource}
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            }
            path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            allowed = self._cluster.request("POST", path, body=review)["status"]["allowed"] is True
            yield Permission(
                name=f"{verb} on {resource}", need=need, grant=Grant.GRANTED if allowed else Grant.MISSING
            )

    def list_secrets(self) -> Iterator[SecretMetadata]:
        """Yield the metadata of all Secrets with the prefix, in pages; no value is read.

        Annotations make some pages too large: then the list begins again with pages of half the size, because
        it goes on by the same parameters alone ("Kubernetes API Concepts", "Retrieving large results sets").
        """
        size, start, yielded = self.page_size, object_name(self._prefix.start), set[str]()
        while True:
            try:
                for found in self._list_pages(size):
                    name = found["metadata"]["name"]
                    if name.startswith(start) and name not in yielded:
                        yielded.add(name)
                        yield parse_metadata(self._name_of(found, start), found)
            except PageTooLarge:
                if size == 1:
                    raise
                size //= 2
            else:
                return

    def get_metadata(self, name: str) -> SecretMetadata:
        found = self._read(name, accept=_METADATA)
        return parse_metadata(name, found) if found else SecretMetadata(name=name, presence=Presence.ABSENT)

    def read_value(self, name: str) -> SecretValue | None:
        found = self._read(name)
        if found is None:
            return None
        return SecretValue(metadata=parse_metadata(name, found), value=to_text(found.get("data") or {}))

    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:
        body = self._content(name, value, mark=mark, token=token)
        self._path(name)
        made = self._cluster.request("POST", self._collection(), body=body, query={"fieldManager": MANAGER})
        _require_stored(made, body["data"])
        return parse_metadata(name, made)

    def update(
        self, seen: SecretMetadata, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> SecretMetadata:
        """Apply the keys over the resource version in `seen`, which Kubernetes compares.

        An object that this write made already, by an earlier attempt, is returned as it is.
        """
        found = self._read(seen.name)
        if found is None:
            raise ChangedSinceRead(_CHANGED)
        now = parse_metadata(seen.name, found)
        if now.remote_id == seen.remote_id and now.mark == seen.mark:
            if now.version == self.settled(seen).version:
                if found.get("immutable"):
                    raise RequestRefused(_IMMUTABLE)
                if found["metadata"].get("deletionTimestamp"):
                    raise RequestRefused(_LEAVING)
                return self._apply(seen, found, value, token)
            if now.version.startswith(self.predict_version("", token=token)) and self.values_equal(
                value, to_text(found.get("data") or {})
            ):
                return now
        raise ChangedSinceRead(_CHANGED)

    def predict_version(self, version: str, *, token: str) -> str:
        """Return the name of the write; Kubernetes adds the resource version."""
        return token[:WRITE_DIGITS]

    @classmethod
    def is_behind(cls, seen: SecretMetadata, synced: str) -> bool:
        """Return whether a look shows a lower resource version that was not changed later.

        They are compared as numbers (Kubernetes, "API concepts", "Resource versions"), and begin again with a
        cluster that was restored.
        """
        return precedes(seen.version, synced)

    def delete(self, seen: SecretMetadata) -> None:
        found = self._read(seen.name)
        if found is None:
            raise ChangedSinceRead(_CHANGED)
        now = parse_metadata(seen.name, found)
        if (now.version, now.mark) != (self.settled(seen).version, seen.mark):
            raise ChangedSinceRead(_CHANGED)
        if foreign_keys(found):
            raise RequestRefused(_SHARED)
        exactly = {"uid": now.remote_id, "resourceVersion": resource_version(now.version)}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": exactly}
        self._cluster.request("DELETE", self._path(seen.name), body=body)

    @classmethod
    def acts_after_writes(cls, destination: Mapping[str, str]) -> bool:
        return destination.get("restart") == _RESTART

    def after_writes(self) -> None:
        """Restart the workloads that use a Secret which Keeper wrote since their last restart."""
        writes = {
            self.remote_name(seen.name): seen.version.partition(VERSION_SEPARATOR)[0]
            for seen in self.list_secrets()
            if seen.mark is not None
        }
        restart_workloads(self._cluster, self._namespace, writes)

    def mark(self, seen: SecretMetadata, mark: Mark) -> None:
        """Label the object, and note which name of Keeper's it has."""
        self._label(seen, mark.labels(), {NAME: seen.name})

    def unmark(self, seen: SecretMetadata) -> None:
        self._label(seen, dict.fromkeys(MARK_KEYS), {NAME: None, WRITE: None})

    # --- How ----------------------------------------------------------------------------------

    def _collection(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/secrets"

    def _path(self, name: str) -> str:
        self._prefix.path(name)
        found = self.remote_name(name)
        if problem := explain_bad_name(found):
            raise NameUnusable(problem)
        return f"{self._collection()}/{found}"

    def _read(self, name: str, *, accept: str = "application/json") -> dict[str, Any] | None:
        try:
            return self._cluster.request("GET", self._path(name), accept=accept)
        except NotFound:
            return None

    def _list_pages(self, size: int) -> Iterator[dict[str, Any]]:
        def ask(token: str) -> tuple[Any, str | None]:
            page = self._list_page({"limit": str(size)} | ({"continue": token} if token else {}))
            return page["items"], page["metadata"].get("continue")

        return listed(ask)

    def _list_page(self, query: Mapping[str, str]) -> dict[str, Any]:
        return self._cluster.request("GET", self._collection(), query=query, accept=_METADATA_LIST)

    def _name_of(self, found: Mapping[str, Any], start: str) -> str:
        """Return the name of Keeper's in the annotation, if it leads here, or else slashes for the dots."""
        given = str((found["metadata"].get("annotations") or {}).get(NAME, ""))
        name = str(found["metadata"]["name"])
        if given and self.remote_name(given) == name:
            return given
        return name.removeprefix(start).replace(".", "/")

    def _content(self, name: str, value: str, *, mark: Mark | None, token: str) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "name": self.remote_name(name),
            "namespace": self._namespace,
            "annotations": {NAME: name, WRITE: token[:WRITE_DIGITS]},
        }
        if mark is not None:
            metadata["labels"] = mark.labels()
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": self.destination["type"],
            "data": to_data(value, self._objects),
        }

    def _apply(
        self, seen: SecretMetadata, found: Mapping[str, Any], value: str, token: str
    ) -> SecretMetadata:
        body = self._content(seen.name, value, mark=seen.mark, token=token)
        # The type of an object never changes.
        body["type"] = found.get("type") or body["type"]
        body["metadata"] |= {
            "uid": found["metadata"]["uid"],
            "resourceVersion": found["metadata"]["resourceVersion"],
        }
        query, content = {"fieldManager": MANAGER, "force": "true"}, _APPLY
        if removed := left_out(found, body["data"]):
            body["data"] |= dict.fromkeys(removed)
            query, content = {"fieldManager": MANAGER}, _MERGE
        made = self._cluster.request("PATCH", self._path(seen.name), body=body, query=query, content=content)
        _require_stored(made, body["data"])
        return parse_metadata(seen.name, made)

    def _label(
        self, seen: SecretMetadata, labels: Mapping[str, str | None], annotations: Mapping[str, str | None]
    ) -> None:
        """Change labels and annotations of the version that was seen; the others are not ours."""
        before = self.settled(seen).version
        metadata = {
            "labels": labels,
            "annotations": annotations,
            "uid": seen.remote_id,
            "resourceVersion": resource_version(before),
        }
        made = self._cluster.request(
            "PATCH",
            self._path(seen.name),
            body={"metadata": metadata},
            query={"fieldManager": MANAGER},
            content=_MERGE,
        )
        with self._lock:
            self._marked[seen.version] = parse_metadata(seen.name, made).version


def _require_stored(made: Mapping[str, Any], data: Mapping[str, str | None]) -> None:
    """Raise ValueUnusable where the answer to a write shows another content than was sent.

    "Dynamic Admission Control": a webhook may change an object before it is stored.
    """
    stored = made.get("data") or {}
    sent = {key: text for key, text in data.items() if text is not None}
    if not all(hmac.compare_digest(str(stored.get(key, "")), text) for key, text in sent.items()):
        raise ValueUnusable(_ALTERED)
