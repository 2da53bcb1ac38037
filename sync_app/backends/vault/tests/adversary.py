"""What others may do in Vault: with values, versions, metadata, snapshots, and with the whole cluster."""

import json
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, ClassVar, Final
from urllib.parse import quote, unquote

import pytest
import urllib3

from core.network.outbound import session
from sync_app.backends.observations import MARK_KEYS, format_version
from sync_app.backends.vault.adapter import PooledAdapter, Reply
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.tests.adversary.seam import Asked, Interpose
from sync_app.tests.adversary.worlds import Act, AdversaryWorld, Make, State
from tests.servers.openbao import OpenBao

# A token that both clusters know: else a switch would end at the door.
SHARED: Final = "known-to-both-clusters"
_MOUNT: Final = "secret"
_KEEPS: Final = {"keeps 10": 0, "keeps 1": 1}
_CHANGING: Final = {"data", "metadata", "delete", "undelete", "destroy"}
_WAIT_SECONDS: Final = 60.0
Version = tuple[int, str | None]


class Bao:
    """The adversary's client of one cluster."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self._token = url, token
        self._pool = urllib3.connection_from_url(url, maxsize=2)

    def ask(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> Any:
        """Return the `data` of an answer, the bytes of one that is no JSON, or None where nothing is."""
        answer = self._pool.urlopen(
            method,
            f"/v1/{quote(path, safe='/?=')}",
            body=raw if raw is not None else None if body is None else json.dumps(body).encode(),
            headers={
                "X-Vault-Token": self._token,
                "Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json",
            },
            retries=False,
        )
        if answer.headers.get("Content-Type", "").startswith("application/gzip"):
            return answer.data
        found = json.loads(answer.data) if answer.data else {}
        if answer.status >= 400 and answer.status != 404:
            raise RuntimeError(f"{method} {path}: {answer.status} {found.get('errors')}")
        return found.get("data")


class VaultAdversary(AdversaryWorld):
    """A real OpenBao of our own, and another one that may answer in its place."""

    kind: ClassVar[str] = "vault_kv2"
    variants: ClassVar[tuple[str, ...]] = tuple(_KEEPS)
    world: VaultWorld

    def __init__(
        self, world: VaultWorld, variant: str, random: Random, fresh: Callable[[], str], *, other: str
    ) -> None:
        super().__init__(world, variant, random, fresh)
        world.destination |= {"address": world.url}
        self._clusters = [Bao(world.url, SHARED), Bao(other, SHARED)]
        self._snapshot: bytes | None = None
        for cluster in self._clusters:
            cluster.ask("POST", f"{_MOUNT}/config", {"max_versions": _KEEPS[variant]})

    @property
    def bao(self) -> Bao:
        """The cluster that answers by now."""
        return self._clusters[self.elsewhere]

    # --- The seam -----------------------------------------------------------------------------

    def install(self, monkeypatch: pytest.MonkeyPatch, interpose: Interpose) -> None:
        send = PooledAdapter.request

        def request(adapter: PooledAdapter, method: str, url: str, **options: Any) -> Any:
            def sent() -> Any:
                if not self.elsewhere:
                    return send(adapter, method, url, **options)
                other = PooledAdapter(
                    seconds=None, base_uri=self.bao.url, token=adapter.token, session=session()
                )
                try:
                    return send(other, method, url, **options)
                finally:
                    other.close()

            return interpose(_asked(method, url, options, sent))

        monkeypatch.setattr(PooledAdapter, "request", request)

    def refused(self, asked: Asked, status: int) -> Any:
        said = {404: [], 403: ["permission denied"]}.get(status, ["internal error"])
        return Reply(status, json.dumps({"errors": said}).encode())

    def cut(self, answer: Any, share: float) -> Any:
        body = json.loads(answer.data) if answer.status == 200 else {}
        if "keys" not in (body.get("data") or {}):
            return answer
        keys = body["data"]["keys"]
        kept = keys[: int(len(keys) * share)]
        info = body["data"].get("key_info") or {}
        body["data"] |= {"keys": kept, "key_info": {key: info[key] for key in kept if key in info}}
        return Reply(answer.status, json.dumps(body).encode())

    def loses_in_the_milliseconds(self, before: State) -> bool:
        # docs/sync.md, "Vault and OpenBao": what remains are the milliseconds between that read and the write.
        return len(before.versions) <= 1

    def lost(self) -> Exception:
        return urllib3.exceptions.ProtocolError("connection broken")

    # --- The judge's look ---------------------------------------------------------------------

    def state(self, path: str) -> State:
        found = self.bao.ask("GET", f"{_MOUNT}/metadata/{path}")
        if not found:
            return State()
        labels = found.get("custom_metadata") or {}
        mark = {key: labels[key] for key in MARK_KEYS if key in labels}
        number = str(found["current_version"])
        versions = {
            format_version(int(key), each["created_time"])
            for key, each in found["versions"].items()
            if not each["destroyed"]
        }
        told: dict[str, Any] = {
            "incarnation": found["created_time"],
            "mark": mark,
            "marked_for": mark.get("keeper-target", ""),
            "versions": frozenset(versions),
        }
        current = found["versions"].get(number)
        if current is None:
            return State(**told)
        told["version"] = format_version(int(number), current["created_time"])
        if current["destroyed"] or current["deletion_time"]:
            return State(presence="deleted", **told)
        value = self.bao.ask("GET", f"{_MOUNT}/data/{path}")["data"]["value"]
        return State(presence="present", value=value, **told)

    def paths(self) -> list[str]:
        return sorted(self._below(f"{self.prefix}/"))

    def _below(self, folder: str) -> list[str]:
        reply = self.bao.ask("GET", f"{_MOUNT}/metadata/{folder}?list=true")
        found: list[str] = []
        for key in (reply or {}).get("keys", []):
            found += self._below(folder + key) if key.endswith("/") else [folder + key]
        return found

    # --- What others do -----------------------------------------------------------------------

    def acts(self) -> list[Act]:
        return [
            Act(name="write", do=self._write, weight=20),
            Act(name="soft delete", do=self._soft_delete),
            Act(name="hard delete", do=self._hard_delete),
            Act(name="recreate", do=self._recreate),
            Act(name="recreate with the same value", do=self._recreate_same),
            Act(name="recreate with the marks", do=self._recreate_marked),
            Act(name="recreate over as many versions", do=self._recreate_long),
            Act(name="take the mark off", do=self._unmark),
            Act(name="copy marks from another", do=self._copy_marks),
            Act(name="undelete", do=self._undelete),
            Act(name="destroy the newest version", do=self._destroy, weight=4),
            Act(name="keep one version", do=self._keep_one, weight=3),
            Act(name="restore one secret from a snapshot", do=self._rewind),
            Act(name="restore the cluster from a snapshot", do=self._restore_cluster, weight=1, of_all=True),
        ]

    def _put(self, path: str, value: str) -> None:
        self.bao.ask("POST", f"{_MOUNT}/data/{path}", {"data": {"value": value}})

    def _label(self, path: str, labels: dict[str, str]) -> None:
        self.bao.ask("POST", f"{_MOUNT}/metadata/{path}", {"custom_metadata": labels})

    def _labels(self, path: str) -> dict[str, str]:
        found = self.bao.ask("GET", f"{_MOUNT}/metadata/{path}")
        return dict((found or {}).get("custom_metadata") or {})

    def _write(self, path: str) -> None:
        self._put(path, self.fresh())

    def _soft_delete(self, path: str) -> None:
        self.bao.ask("DELETE", f"{_MOUNT}/data/{path}")

    def _hard_delete(self, path: str) -> None:
        self.bao.ask("DELETE", f"{_MOUNT}/metadata/{path}")

    def _recreate(self, path: str) -> None:
        self._hard_delete(path)
        self._put(path, self.fresh())

    def _recreate_same(self, path: str) -> None:
        value = self.state(path).value or self.fresh()
        self._hard_delete(path)
        self._put(path, value)

    def _recreate_marked(self, path: str) -> None:
        labels = self._labels(path)
        self._recreate(path)
        self._label(path, labels)

    def _recreate_long(self, path: str) -> None:
        """Recreate it with as many versions, so that the numbers are the same."""
        number = int(self.state(path).version.partition("@")[0] or 1)
        labels = self._labels(path) if self.random.random() < 0.5 else {}
        self._hard_delete(path)
        for _ in range(number):
            self._put(path, self.fresh())
        self._label(path, labels)

    def _unmark(self, path: str) -> None:
        if self.state(path).mark:
            self._label(path, {"owner": "them"})

    def _copy_marks(self, path: str) -> None:
        others = [other for other in self.paths() if other != path and self.state(other).mark]
        if others and self.state(path).version:
            self._label(path, self._labels(self.random.choice(others)))

    def _undelete(self, path: str) -> None:
        number = self.state(path).version.partition("@")[0]
        if number:
            self.bao.ask("POST", f"{_MOUNT}/undelete/{path}", {"versions": [int(number)]})

    def _destroy(self, path: str) -> None:
        number = self.state(path).version.partition("@")[0]
        if number:
            self.bao.ask("POST", f"{_MOUNT}/destroy/{path}", {"versions": [int(number)]})

    def _keep_one(self, path: str) -> None:
        if self.state(path).version:
            self.bao.ask("POST", f"{_MOUNT}/metadata/{path}", {"max_versions": 1})

    def _rewind(self, path: str) -> None:
        """Have the secret as it was some versions ago; its numbers are used again from there."""
        found = self.bao.ask("GET", f"{_MOUNT}/metadata/{path}")
        if not found or not found["versions"]:
            return
        values = [self._value_of(path, int(number)) for number in sorted(found["versions"], key=int)]
        kept = values[: max(1, len(values) - self.random.randint(0, 2))]
        self._hard_delete(path)
        for value in kept:
            self._put(path, value)
        self._label(path, dict(found["custom_metadata"] or {}))

    def _value_of(self, path: str, number: int) -> str:
        reply = self.bao.ask("GET", f"{_MOUNT}/data/{path}?version={number}")
        return str(((reply or {}).get("data") or {}).get("value") or self.fresh())

    def _restore_cluster(self, _path: str) -> None:
        """Take a snapshot of the whole cluster, or restore the one that was taken."""
        home = self._clusters[0]
        if self._snapshot is None:
            self._snapshot = home.ask("GET", "sys/storage/raft/snapshot")
            return
        home.ask("POST", "sys/storage/raft/snapshot-force", raw=self._snapshot)
        self._snapshot = None
        deadline = time.monotonic() + _WAIT_SECONDS
        while not _serves(home):
            assert time.monotonic() < deadline, "the snapshot was not restored"
            time.sleep(0.02)


def _serves(cluster: Bao) -> bool:
    try:
        return cluster.ask("GET", f"{_MOUNT}/config") is not None
    except (RuntimeError, urllib3.exceptions.HTTPError, OSError):
        return False


def _asked(method: str, url: str, options: dict[str, Any], send: Callable[[], Any]) -> Asked:
    mount, _, rest = url.removeprefix("/v1/").partition("/")
    part, _, path = rest.partition("/")
    lists = "list" in (options.get("params") or {})
    about = unquote(path) if mount == _MOUNT and part in _CHANGING and not lists else ""
    return Asked(
        what=f"{method} {url.removeprefix('/v1/')}{' (list)' if lists else ''}",
        path=about,
        changes=bool(about) and method != "GET",
        lists=lists,
        send=send,
    )


@pytest.fixture(scope="package")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two OpenBaos that know the same token: no other test uses them, so snapshots can be restored."""
    servers = [OpenBao(tmp_path_factory.mktemp("clusters")) for _ in range(2)]
    try:
        for server in servers:
            server.start()
        urls = []
        for server in servers:
            server.wait()
            urls.append(server.environment()["KEEPER_TEST_OPENBAO_URL"])
            Bao(urls[-1], server.token).ask(
                "POST", "auth/token/create", {"id": SHARED, "policies": ["root"], "no_default_policy": True}
            )
        yield urls[0], urls[1]
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def vault_kv2_adversary(clusters: tuple[str, str]) -> Make:
    def make(variant: str, random: Random, fresh: Callable[[], str]) -> AdversaryWorld:
        return VaultAdversary(VaultWorld(clusters[0], SHARED), variant, random, fresh, other=clusters[1])

    return make
