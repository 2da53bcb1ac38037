"""What others may do in Kubernetes: with keys, labels, whole objects, and with another cluster."""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import urllib3

from core.network import outbound
from sync_app.backends.kubernetes import connection
from sync_app.backends.kubernetes.objects import WRITE, object_name
from sync_app.backends.kubernetes.tests.strict_server import Cluster, serving
from sync_app.backends.kubernetes.tests.strict_store import ApiError
from sync_app.backends.kubernetes.tests.world import KubernetesWorld
from sync_app.backends.observations import MARK_KEYS
from sync_app.tests.adversary.seam import Asked, Interpose
from sync_app.tests.adversary.worlds import Act, AdversaryWorld, Make, State

_NAMESPACE = "default"


class KubernetesAdversary(AdversaryWorld):
    """A stand-in of an API server, and another cluster that may answer in its place."""

    kind: ClassVar[str] = "kubernetes"
    variants: ClassVar[tuple[str, ...]] = ("one",)
    world: KubernetesWorld

    def __init__(
        self,
        world: KubernetesWorld,
        variant: str,
        random: Random,
        fresh: Callable[[], str],
        *,
        other: tuple[str, Cluster],
    ) -> None:
        super().__init__(world, variant, random, fresh)
        self._other = outbound.pool(other[0], connections=2)
        self._clusters = [world.cluster, other[1]]
        self._known: dict[str, str] = {}

    @property
    def store(self) -> Any:
        """The objects of the cluster that answers by now."""
        return self._clusters[self.elsewhere].store

    def path(self, name: str) -> str:
        path = super().path(name)
        self._known[object_name(path)] = path
        return path

    # --- The seam -----------------------------------------------------------------------------

    def install(self, monkeypatch: pytest.MonkeyPatch, interpose: Interpose) -> None:
        send = outbound.exchange

        def exchange(pool: Any, method: str, url: str, **options: Any) -> Any:
            def sent() -> Any:
                return send(self._other if self.elsewhere else pool, method, url, **options)

            return interpose(self._asked(method, url, options["body"], sent))

        monkeypatch.setattr(connection, "exchange", exchange)

    def _asked(self, method: str, url: str, body: bytes | None, send: Callable[[], Any]) -> Asked:
        parts = urlsplit(url).path.strip("/").split("/")
        named = parts[5] if len(parts) == 6 else ""
        if method == "POST" and parts[-1] == "secrets":
            named = json.loads(body or b"{}")["metadata"]["name"]
        path = self._path_of(named) if named else ""
        return Asked(
            what=f"{method} {urlsplit(url).path}",
            path=path,
            changes=bool(path) and method != "GET",
            lists=method == "GET" and parts[-1] == "secrets",
            send=send,
        )

    def _path_of(self, name: str) -> str:
        start = f"{self.prefix}."
        if name in self._known:
            return self._known[name]
        return f"{self.prefix}/{name.removeprefix(start).replace('.', '/')}" if name.startswith(start) else ""

    def refused(self, asked: Asked, status: int) -> Any:
        reason = {404: "NotFound", 403: "Forbidden"}.get(status, "InternalError")
        body = {"kind": "Status", "status": "Failure", "reason": reason, "message": "refused", "code": status}
        return outbound.Reply(status, {}, json.dumps(body).encode())

    def cut(self, answer: Any, share: float) -> Any:
        body = json.loads(answer.body)
        if answer.status != 200 or "items" not in body:
            return answer
        body["items"] = body["items"][: int(len(body["items"]) * share)]
        return answer._replace(body=json.dumps(body).encode())

    def lost(self) -> Exception:
        return urllib3.exceptions.ProtocolError("connection broken")

    # --- The judge's look ---------------------------------------------------------------------

    def _found(self, path: str) -> Any:
        return self.store.secrets.get((_NAMESPACE, object_name(path)))

    def state(self, path: str) -> State:
        found = self._found(path)
        if found is None:
            return State()
        metadata = found["metadata"]
        labels = metadata.get("labels") or {}
        mark = {key: labels[key] for key in MARK_KEYS if key in labels}
        changed = max(each["time"] for each in metadata["managedFields"])
        write = (metadata.get("annotations") or {}).get(WRITE, "")
        version = f"{write}@{metadata['resourceVersion']}@{changed}"
        with self._reading():
            value = self.world.value(path)
        return State(
            presence="present",
            value=value,
            incarnation=metadata["uid"],
            version=version,
            marked_for=mark.get("keeper-target", ""),
            mark=mark,
            versions=frozenset({version}),
        )

    def _reading(self) -> "_Answering":
        return _Answering(self.world, self._clusters[self.elsewhere])

    def paths(self) -> list[str]:
        start = f"{self.prefix}."
        return sorted(self._path_of(name) for _, name in self.store.secrets if name.startswith(start))

    # --- What others do -----------------------------------------------------------------------

    def acts(self) -> list[Act]:
        acts = [
            Act(name="write", do=self._write, weight=20),
            Act(name="delete", do=self._delete),
            Act(name="recreate", do=self._recreate),
            Act(name="recreate with the same value", do=self._recreate_same),
            Act(name="recreate with the marks", do=self._recreate_marked),
            Act(name="take the mark off", do=self._unmark),
            Act(name="copy marks from another", do=self._copy_marks),
            Act(name="add a label", do=self._label),
        ]
        return [Act(name=act.name, do=self._answered(act.do), weight=act.weight) for act in acts]

    def _answered(self, act: Callable[[str], object]) -> Callable[[str], object]:
        def tried(path: str) -> None:
            with self._reading():
                try:
                    act(path)
                except ApiError as error:
                    if error.code != 404:
                        raise

        return tried

    def _write(self, path: str) -> None:
        self.world.write(path, self.fresh())

    def _delete(self, path: str) -> None:
        self.world.remove(path)

    def _recreate(self, path: str) -> None:
        self.world.remove(path)
        self.world.write(path, self.fresh())

    def _recreate_same(self, path: str) -> None:
        value = self.world.value(path)
        self.world.remove(path)
        self.world.write(path, value)

    def _recreate_marked(self, path: str) -> None:
        labels, annotations = self._parts(path)
        self._recreate(path)
        self._patch(path, {"labels": labels, "annotations": annotations})

    def _parts(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        metadata = self.store.read(_NAMESPACE, object_name(path))["metadata"]
        return dict(metadata.get("labels") or {}), dict(metadata.get("annotations") or {})

    def _patch(self, path: str, metadata: dict[str, Any]) -> None:
        self.store.merge(_NAMESPACE, object_name(path), {"metadata": metadata}, "kubectl")

    def _unmark(self, path: str) -> None:
        self._patch(path, {"labels": dict.fromkeys(MARK_KEYS)})

    def _copy_marks(self, path: str) -> None:
        others = [other for other in self.paths() if other != path and self._parts(other)[0]]
        if others:
            self._patch(path, {"labels": self._parts(self.random.choice(others))[0]})

    def _label(self, path: str) -> None:
        self._patch(path, {"labels": {"owner": f"n{self.random.randint(0, 99)}"}})


class _Answering:
    """Has the world's other client work in the cluster that answers by now."""

    def __init__(self, world: KubernetesWorld, cluster: Cluster) -> None:
        self._world, self._cluster, self._before = world, cluster, world.cluster

    def __enter__(self) -> None:
        self._world.cluster = self._cluster

    def __exit__(self, *_: object) -> None:
        self._world.cluster = self._before


@pytest.fixture
def kubernetes_adversary() -> Iterator[Make]:
    with serving() as (url, cluster), serving() as other:

        def make(variant: str, random: Random, fresh: Callable[[], str]) -> AdversaryWorld:
            return KubernetesAdversary(KubernetesWorld(url, cluster), variant, random, fresh, other=other)

        yield make
