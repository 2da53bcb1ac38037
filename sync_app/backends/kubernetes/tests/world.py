"""A strict stand-in of an API server; the other client changes its store directly."""

import base64
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from core.network.outbound import Reply
from sync_app.backends.base import Backend
from sync_app.backends.kubernetes.backend import KubernetesSecrets
from sync_app.backends.kubernetes.objects import object_name
from sync_app.backends.kubernetes.tests.strict_server import TOKEN, Cluster, serving
from sync_app.backends.kubernetes.tests.strict_store import ApiError
from sync_app.tests.worlds import World


class KubernetesWorld(World):
    """A strict stand-in of an API server; the other client changes its store directly."""

    kind = "kubernetes"
    fixture = "kubernetes"
    absent = ApiError
    shows_each_write = True
    deletes_recoverably = False

    def __init__(self, url: str, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster
        self.destination = {"address": url, "namespace": "default", "prefix": self.prefix}
        self.credentials = {"token": TOKEN}

    def backend(self, **changes: str) -> Backend:
        return KubernetesSecrets(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        self.put(path, {"value": value})

    def put(self, path: str, content: dict[str, str]) -> None:
        """Write keys as `kubectl` does; the others go."""
        data: dict[str, Any] = {
            key: base64.b64encode(text.encode()).decode() for key, text in content.items()
        }
        found = self.cluster.store.secrets.get(("default", object_name(path)))
        if found is not None:
            patch = dict.fromkeys(found.get("data") or {}) | data
            self.cluster.store.merge("default", object_name(path), {"data": patch}, "kubectl")
            return
        metadata = {"name": object_name(path)}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        self.cluster.store.create("default", body, "kubectl")

    def content(self, path: str) -> dict[str, str]:
        """Read all keys."""
        data = self.cluster.store.read("default", object_name(path)).get("data") or {}
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def value(self, path: str) -> str:
        content = self.content(path)
        return content["value"] if set(content) == {"value"} else json.dumps(content, sort_keys=True)

    def remove(self, path: str) -> None:
        self.cluster.store.delete("default", object_name(path), {})

    def refused(self, random: Random) -> Reply:
        message = 'secrets is forbidden: User \\"x\\" cannot patch resource \\"secrets\\" in API group'
        return Reply(403, {}, f'{{"kind": "Status", "reason": "Forbidden", "message": "{message}"}}'.encode())

    def label(self, path: str, key: str, text: str) -> None:
        patch = {"metadata": {"labels": {key: text}}}
        self.cluster.store.merge("default", object_name(path), patch, "kubectl")

    def labels(self, path: str) -> dict[str, str]:
        return dict(self.cluster.store.read("default", object_name(path))["metadata"].get("labels") or {})


@pytest.fixture
def kubernetes() -> Iterator[KubernetesWorld]:
    with serving() as (url, cluster):
        yield KubernetesWorld(url, cluster)
