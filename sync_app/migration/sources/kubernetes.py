"""Kubernetes as source: the Secrets of namespaces, each with the one version that a cluster has of it."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from sync_app.backends.capabilities import FormField
from sync_app.backends.kubernetes.answers import ListExpired, NotFound
from sync_app.backends.kubernetes.backend import KubernetesSecrets
from sync_app.backends.kubernetes.connection import KubernetesConnection, PageTooLarge
from sync_app.backends.kubernetes.objects import FIELD, explain_bad_name
from sync_app.backends.objects import render_object
from sync_app.backends.observations import parse_mark
from sync_app.backends.rest import refuse_unreadable
from sync_app.errors import AnswerUnexpected, BadDestination
from sync_app.migration.labels import described_by
from sync_app.migration.sources.base import EACH, JSON, Found, FoundVersion, Source, Value

_PAGE: Final = 500
# How often a list is begun whose next page the cluster has forgotten.
_BEGINNINGS: Final = 5
_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_MADE: Final = {
    "kubernetes.io/service-account-token": "the cluster makes it for a service account",
    "bootstrap.kubernetes.io/token": "it lets a node join the cluster",
    "helm.sh/release.v1": "Helm stores a release in it",
}
_OURS: Final = "a target of Keeper delivers it there"
_DELETED: Final = "it was deleted in the source since it was listed"


class Kubernetes(Source):
    """The Secrets of one cluster; the places are namespaces."""

    kind: ClassVar[str] = "kubernetes"
    label: ClassVar[str] = "Kubernetes Secrets"
    place_word: ClassVar[str] = "namespace"
    place_example: ClassVar[str] = "shop"
    needs: ClassVar[str] = """kubectl -n NAMESPACE create role keeper-read --verb=get,list --resource=secrets
kubectl -n NAMESPACE create serviceaccount keeper-read
kubectl -n NAMESPACE create rolebinding keeper-read --role=keeper-read --serviceaccount=NAMESPACE:keeper-read
kubectl -n NAMESPACE create token keeper-read"""
    setting_fields: ClassVar[tuple[FormField, ...]] = (
        *(each for each in KubernetesSecrets.destination_fields if each.name == "address"),
        FormField(
            name="namespaces", label="Namespaces", required=True, help="Several are separated by commas."
        ),
        *(each for each in KubernetesSecrets.destination_fields if each.name == "ca_certificate"),
        FormField(
            name="keys",
            label="The keys of a Secret become",
            default=JSON,
            choices=(JSON, EACH),
            choice_labels=("one JSON secret", "one secret for each key"),
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = KubernetesSecrets.credential_fields

    def __init__(self, *, settings: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(settings=settings, credentials=credentials)
        self._namespaces = [each.strip() for each in self.settings["namespaces"].split(",") if each.strip()]
        if not self._namespaces:
            raise BadDestination("name a namespace", field="namespaces")
        for each in self._namespaces:
            if problem := explain_bad_name(each):
                raise BadDestination(problem, field="namespaces")
        if not self.credentials["token"]:
            raise BadDestination("enter the token of a ServiceAccount", field="token")
        refuse_unreadable(self.settings["ca_certificate"])
        if self.settings["keys"] not in {JSON, EACH}:
            raise BadDestination(f"choose {JSON} or {EACH}", field="keys")
        self._each_key = self.settings["keys"] == EACH
        self._cluster = KubernetesConnection(
            self.endpoint(self.settings),
            token=self.credentials["token"],
            ca=self.settings["ca_certificate"],
            seconds=None,
        )

    @classmethod
    def endpoint(cls, settings: Mapping[str, str]) -> str:
        return KubernetesSecrets.endpoint({"address": settings.get("address", ""), "namespace": "default"})

    def close(self) -> None:
        self._cluster.close()

    def places(self) -> Sequence[str]:
        return self._namespaces

    def paths(self, place: str) -> Iterator[str]:
        """Yield the names in pages, without values unless each key is a secret.

        A page that is too large, or a list that the cluster has forgotten, makes it begin again.
        """
        size, begun, yielded = _PAGE, 1, set[str]()
        while True:
            try:
                for name in self._names(place, size):
                    if name not in yielded:
                        yielded.add(name)
                        yield name
            except PageTooLarge:
                if size == 1:
                    raise
                size //= 2
            except ListExpired:
                if begun == _BEGINNINGS:
                    raise
                begun += 1
            else:
                return

    def _names(self, place: str, size: int) -> Iterator[str]:
        query, accept = {"limit": str(size)}, "application/json" if self._each_key else _LIST
        while True:
            page = self._cluster.request("GET", _collection(place), query=query, accept=accept)
            for each in page["items"]:
                name = str(each["metadata"]["name"])
                keys = sorted(each.get("data") or ()) if self._each_key and not _why_skipped(each) else ()
                yield from (f"{name}/{key}" for key in keys)
                if not keys:
                    yield name
            if not page["metadata"].get("continue"):
                return
            query = {"limit": str(size), "continue": page["metadata"]["continue"]}

    def find(self, place: str, path: str) -> Found:
        name, _, key = path.partition("/")
        try:
            found = self._cluster.request("GET", f"{_collection(place)}/{name}")
        except NotFound:
            return Found(path=path, skip=_DELETED)
        if key and key not in (found.get("data") or {}):
            return Found(path=path, skip=_DELETED)
        return Found(
            path=path,
            versions=[FoundVersion(number=1, written_at=_written(found["metadata"]))],
            current=1,
            is_numbered=False,
            described=described_by(_labels(found)),
            skip=_why_skipped(found),
        )

    def open(self, place: str, path: str, version: FoundVersion) -> Value | None:
        name, _, alone = path.partition("/")
        try:
            found = self._cluster.request("GET", f"{_collection(place)}/{name}")
        except NotFound:
            return None
        try:
            members = [_text(key, data) for key, data in (found.get("data") or {}).items()]
        except (binascii.Error, TypeError, ValueError):
            raise AnswerUnexpected(f"the keys of {path} are not those of a Secret") from None
        if alone:
            own = [Value(text, is_binary=is_binary) for key, text, is_binary in members if key == alone]
            return own[0] if own else None
        texts = {key: text for key, text, _ in members}
        text = texts[FIELD] if set(texts) == {FIELD} else None
        return Value(text, render_object(texts), is_binary=any(binary for *_, binary in members))


def _collection(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


def _text(key: str, data: str) -> tuple[str, str, bool]:
    """Return a key, its text, and whether that is Base64, as what is no text stays."""
    content = base64.b64decode(data, validate=True)
    try:
        return key, content.decode(), False
    except UnicodeDecodeError:
        return key, data, True


def _labels(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(text) for name, text in (found["metadata"].get("labels") or {}).items()}


def _why_skipped(found: Mapping[str, Any]) -> str:
    if parse_mark(_labels(found)):
        return _OURS
    for owner in found["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return f"{owner.get('kind')} {owner.get('name')} makes it"[:200]
    return _MADE.get(str(found.get("type")), "" if found.get("data") else "it has no keys")


def _written(metadata: Mapping[str, Any]) -> datetime | None:
    """Return when a key was last set, as far as the cluster keeps that; else when it was created."""
    times = [
        str(entry.get("time") or "")
        for entry in metadata.get("managedFields") or ()
        if "f:data" in (entry.get("fieldsV1") or {})
    ]
    text = max(times, default="") or str(metadata.get("creationTimestamp") or "")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
