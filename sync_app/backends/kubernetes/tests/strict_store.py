"""Secrets of namespaces with uid, resource version and field managers; what the API refuses is an ApiError.

Sources: Kubernetes API conventions, "Kubernetes API Concepts", "Server-Side Apply" (managedFields have the time of
a manager's last change), "Object Names and IDs", "Resource Quotas", "Dynamic Admission Control"; the messages of
403 are those of the API server's authorizer and its plug-ins NamespaceLifecycle, ResourceQuota and webhooks.
"""

import base64
import binascii
import copy
import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

Document = dict[str, Any]
MAX_BYTES: Final = 1024 * 1024
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_QUALIFIED: Final = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_FIELDS: Final = {"apiVersion", "kind", "metadata", "data", "type"}
_METADATA: Final = {"ownerReferences", "name", "namespace", "labels", "annotations", "uid", "resourceVersion"}


class ApiError(Exception):
    """An answer that is a Status."""

    def __init__(self, code: int, reason: str, message: str, *, cause: str = "") -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.cause = code, reason, message, cause


@dataclass
class Store:
    """All objects of a cluster."""

    secrets: dict[tuple[str, str], Document] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=lambda: {"default": str(uuid4())})
    # Of which no more Secrets are created ("Resource Quotas", "Object count quota"); None: no quota.
    quota: int | None = None
    # Namespaces that are being deleted.
    terminating: set[str] = field(default_factory=set)
    # Raises ApiError for what an admission webhook or policy does not let in.
    admission: Callable[[Document], None] = lambda _: None
    _version: int = 1000
    # Of the clock, which goes on where a snapshot takes versions back.
    _now: int = 1_767_225_600
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, namespace: str, body: Document, manager: str) -> Document:
        """Store a new object."""
        with self._lock:
            _validate(body, namespace)
            if body["metadata"].get("resourceVersion") or body["metadata"].get("uid"):
                raise ApiError(
                    400, "BadRequest", "resourceVersion should not be set on objects to be created"
                )
            key = (namespace, body["metadata"]["name"])
            self._admit(key, body)
            if key in self.secrets:
                raise ApiError(409, "AlreadyExists", f'secrets "{key[1]}" already exists')
            metadata = {**body["metadata"], "namespace": namespace, "uid": str(uuid4())}
            made = {**body, "metadata": metadata, "type": body.get("type") or "Opaque"}
            self._own(made, manager, "Update", set(body.get("data") or {}))
            return self._stored(key, made)

    def _admit(self, key: tuple[str, str], body: Document) -> None:
        """Refuse what may not be created, in the words of the API server's own admission plug-ins."""
        namespace, name = key
        refused = f'secrets "{name}" is forbidden'
        if namespace not in self.namespaces:
            raise ApiError(404, "NotFound", f'namespaces "{namespace}" not found')
        if namespace in self.terminating:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise ApiError(403, "Forbidden", f"{refused}: {why}", cause="NamespaceTerminating")
        self.admission(body)
        held = sum(place == namespace for place, _ in self.secrets)
        if self.quota is not None and held >= self.quota and key not in self.secrets:
            counts = f"requested: count/secrets=1, used: count/secrets={held}, limited: count/secrets={held}"
            raise ApiError(403, "Forbidden", f"{refused}: exceeded quota: compute, {counts}")

    def snapshot(self) -> tuple[dict[tuple[str, str], Document], int]:
        """Return all objects and the version of the store, as `etcdctl snapshot save` does."""
        with self._lock:
            return copy.deepcopy(self.secrets), self._version

    def restore(self, snapshot: tuple[dict[tuple[str, str], Document], int]) -> None:
        """Return to a snapshot: versions after it are made a second time."""
        with self._lock:
            self.secrets, self._version = copy.deepcopy(snapshot[0]), snapshot[1]

    def read(self, namespace: str, name: str) -> Document:
        """Return an object."""
        try:
            return self.secrets[namespace, name]
        except KeyError:
            raise ApiError(404, "NotFound", f'secrets "{name}" not found') from None

    def apply(self, namespace: str, name: str, body: Document, manager: str, *, force: bool) -> Document:
        """Set the fields of one manager, and take away those that it set before and leaves out."""
        with self._lock:
            _validate(body, namespace)
            if body["metadata"]["name"] != name:
                raise ApiError(400, "BadRequest", "the name of the object does not match the URL")
            now = self.secrets.get((namespace, name))
            if now is None:
                if body["metadata"].get("uid"):
                    raise ApiError(409, "Conflict", "uid mismatch: no existing object was found")
                return self.create(namespace, body, manager)
            self.admission(body)
            _compare(now, body["metadata"])
            if body.get("type") and body["type"] != now["type"]:
                raise ApiError(422, "Invalid", "type: field is immutable")
            mine, others = self._owned(now, manager), self._others(now, manager)
            before, data = now.get("data") or {}, dict(body.get("data") or {})
            taken = {key for key in data if key in others and before.get(key) != data[key]}
            if taken and not force:
                raise ApiError(409, "Conflict", "Apply failed with conflicts")
            kept = {key: text for key, text in before.items() if key not in mine - set(data) - others}
            made = {**now, "data": kept | data, "metadata": dict(now["metadata"])}
            for part in ("labels", "annotations"):
                made["metadata"][part] = (now["metadata"].get(part) or {}) | (
                    body["metadata"].get(part) or {}
                )
            self._own(made, manager, "Apply", set(data), takes=taken)
            return self._stored((namespace, name), made)

    def merge(self, namespace: str, name: str, body: Document, manager: str) -> Document:
        """Merge a patch into labels, annotations and data."""
        with self._lock:
            self.admission(body)
            now = self.read(namespace, name)
            changes = body.get("metadata") or {}
            _compare(now, changes)
            made = {**now, "metadata": dict(now["metadata"]), "data": dict(now.get("data") or {})}
            for part in ("labels", "annotations"):
                merged = (made["metadata"].get(part) or {}) | (changes.get(part) or {})
                made["metadata"][part] = {key: text for key, text in merged.items() if text is not None}
            data = body.get("data") or {}
            made["data"] = {key: text for key, text in (made["data"] | data).items() if text is not None}
            self._own(made, manager, "Update", set(data), takes=set(data))
            _validate({**made, "metadata": {**made["metadata"]}}, namespace, stored=True)
            return self._stored((namespace, name), made)

    def delete(self, namespace: str, name: str, preconditions: Document) -> Document:
        """Delete an object, if it is the one that is named."""
        with self._lock:
            _compare(self.read(namespace, name), preconditions)
            return self.secrets.pop((namespace, name))

    def _stored(self, key: tuple[str, str], made: Document) -> Document:
        size = sum(len(name) + len(base64.b64decode(text)) for name, text in (made.get("data") or {}).items())
        if size > MAX_BYTES:
            raise ApiError(422, "Invalid", "data: Too long: must have at most 1048576 bytes")
        if _without_times(made) == _without_times(self.secrets.get(key) or {}):
            return self.secrets[key]
        self._version += 1
        self._now += 1
        made["metadata"]["resourceVersion"] = str(self._version)
        self.secrets[key] = made
        return made

    def _owned(self, found: Document, manager: str) -> set[str]:
        """Return the keys that a manager applied; what it created or patched it owns as another one."""
        return {key for each in _entries(found) if _is(each, manager, "Apply") for key in _keys(each)}

    def _others(self, found: Document, manager: str) -> set[str]:
        return {key for each in _entries(found) if not _is(each, manager, "Apply") for key in _keys(each)}

    def _own(
        self,
        made: Document,
        manager: str,
        operation: str,
        keys: set[str],
        *,
        takes: Collection[str] = (),
    ) -> None:
        kept = [
            {**each, **_entry(each["manager"], each["operation"], _keys(each) - set(takes))}
            for each in _entries(made)
            if not _is(each, manager, operation)
        ]
        if operation == "Update":
            keys = keys | {
                key for each in _entries(made) if _is(each, manager, operation) for key in _keys(each)
            }
        keys &= set(made.get("data") or {})
        at = datetime.fromtimestamp(self._now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        made["metadata"]["managedFields"] = [
            *(each for each in kept if _keys(each)),
            _entry(manager, operation, keys) | {"time": at},
        ]


def _without_times(found: Document) -> Document:
    """Return an object without what changes by itself with each change."""
    metadata = {key: part for key, part in found.get("metadata", {}).items() if key != "resourceVersion"}
    entries = [
        {key: part for key, part in each.items() if key != "time"}
        for each in metadata.get("managedFields") or []
    ]
    return {**found, "metadata": {**metadata, "managedFields": entries}}


def _entry(manager: str, operation: str, keys: set[str]) -> Document:
    fields: Document = {"f:data": {".": {}, **{f"f:{key}": {} for key in sorted(keys)}}}
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields}


def _is(entry: Document, manager: str, operation: str) -> bool:
    return (entry["manager"], entry["operation"]) == (manager, operation)


def _entries(found: Document) -> list[Document]:
    return list(found["metadata"].get("managedFields") or [])


def _keys(entry: Document) -> set[str]:
    return {name.removeprefix("f:") for name in entry["fieldsV1"]["f:data"] if name.startswith("f:")}


def _compare(now: Document, given: Document) -> None:
    for name in ("uid", "resourceVersion"):
        if given.get(name) and given[name] != now["metadata"][name]:
            raise ApiError(409, "Conflict", "the object has been modified; please apply your changes to it")


def _validate(body: Document, namespace: str, *, stored: bool = False) -> None:  # noqa: C901  one branch a rule
    if not stored and set(body) - _FIELDS:
        raise ApiError(
            400, "BadRequest", f"strict decoding error: unknown field {sorted(set(body) - _FIELDS)}"
        )
    if (body.get("apiVersion"), body.get("kind")) != ("v1", "Secret"):
        raise ApiError(400, "BadRequest", "the object is no Secret of v1")
    metadata = body["metadata"]
    if not stored and set(metadata) - _METADATA:
        raise ApiError(400, "BadRequest", "strict decoding error: unknown field in metadata")
    if metadata.get("namespace", namespace) != namespace:
        raise ApiError(400, "BadRequest", "the namespace of the provided object does not match the namespace")
    if len(metadata["name"]) > 253 or not _NAME.fullmatch(metadata["name"]):
        raise ApiError(422, "Invalid", "metadata.name: Invalid value: a lowercase RFC 1123 subdomain")
    for key, text in (metadata.get("labels") or {}).items():
        if not _QUALIFIED.fullmatch(key) or not _LABEL_VALUE.fullmatch(text):
            raise ApiError(422, "Invalid", "metadata.labels: Invalid value")
    for key, text in (metadata.get("annotations") or {}).items():
        if not _QUALIFIED.fullmatch(key) or not isinstance(text, str):
            raise ApiError(422, "Invalid", "metadata.annotations: Invalid value")
    for key, text in (body.get("data") or {}).items():
        if not _KEY.fullmatch(key):
            raise ApiError(422, "Invalid", "data: Invalid value: a valid config key")
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError):
            raise ApiError(400, "BadRequest", "illegal base64 data") from None
