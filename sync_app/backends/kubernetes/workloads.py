"""Workloads that use Secrets: which ones, and their restart by an annotation of their template.

Source: Kubernetes API reference, "PodSpec". `kubectl rollout restart` works by such an annotation, too.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from sync_app.backends.answers import listed
from sync_app.backends.kubernetes.connection import KubernetesConnection
from sync_app.backends.kubernetes.objects import MANAGER

KINDS: Final = ("deployments", "statefulsets", "daemonsets")
ANNOTATION: Final = "keeper/secrets"
_MERGE: Final = "application/merge-patch+json"
_PAGE: Final = 500
_DIGITS: Final = 32


def restart_workloads(cluster: KubernetesConnection, namespace: str, writes: Mapping[str, str]) -> None:
    """Restart each workload of a namespace one of whose Secrets was written since its last restart.

    `writes` names Keeper's last write of each Secret. The annotation is a digest of those that the workload
    uses, and set again only if one of them is another: an interrupted pass is made up for by the next one.
    Raises a BackendError.
    """
    for kind in KINDS:
        path = f"/apis/apps/v1/namespaces/{namespace}/{kind}"
        for workload in _list(cluster, path):
            template = workload["spec"]["template"]
            used = sorted(secrets_of(template) & writes.keys())
            if not used:
                continue
            content = "\n".join(f"{name} {writes[name]}" for name in used)
            wanted = sha256(content.encode()).hexdigest()[:_DIGITS]
            annotations = (template.get("metadata") or {}).get("annotations") or {}
            if annotations.get(ANNOTATION) != wanted:
                change = {"spec": {"template": {"metadata": {"annotations": {ANNOTATION: wanted}}}}}
                cluster.request(
                    "PATCH",
                    f"{path}/{workload['metadata']['name']}",
                    body=change,
                    query={"fieldManager": MANAGER},
                    content=_MERGE,
                )


def secrets_of(template: Mapping[str, Any]) -> set[str]:
    """Return the names of the Secrets that the pods of a template mount or read into their environment."""
    spec = template.get("spec") or {}
    found = []
    for volume in spec.get("volumes") or []:
        found.append((volume.get("secret") or {}).get("secretName"))
        sources = (volume.get("projected") or {}).get("sources") or []
        found += [(source.get("secret") or {}).get("name") for source in sources]
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        found += [(each.get("secretRef") or {}).get("name") for each in container.get("envFrom") or []]
        for each in container.get("env") or []:
            found.append(((each.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name"))
    return {name for name in found if name}


def _list(cluster: KubernetesConnection, path: str) -> Iterator[dict[str, Any]]:
    def ask(token: str) -> tuple[Any, str | None]:
        query = {"limit": str(_PAGE)} | ({"continue": token} if token else {})
        page = cluster.request("GET", path, query=query)
        return page["items"], page["metadata"].get("continue")

    return listed(ask)
