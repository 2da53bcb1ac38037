"""Three OpenBaos in one raft cluster, behind a load balancer that gives each request to the next node."""

import http.client
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.servers.openbao import CONFIGURATION, OpenBao
from tests.servers.server import free_port

_NODES = 3
_SECONDS = 20
# Of one connection: what a proxy does not pass on.
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


class Node(OpenBao):
    """One node; all but the first join the first, and share its key and token."""

    def __init__(self, directory: Path, number: int, first: "Node | None") -> None:
        super().__init__(directory / f"node{number}")
        self.number, self.first = number, first

    def prepare(self) -> None:
        (self.directory / "raft").mkdir()
        text = CONFIGURATION.format(port=self.port, cluster_port=free_port(), directory=self.directory)
        # An audit device would have to be the same at each node, and so the file that it writes.
        text = text.partition("audit")[0]
        text = text.replace('node_id                = "node"', f'node_id = "node{self.number}"')
        if self.first is not None:
            join = f'  retry_join {{\n    leader_api_addr = "http://127.0.0.1:{self.first.port}"\n  }}\n}}\n'
            text = text.rstrip().removesuffix("}") + join
        (self.directory / "bao.hcl").write_text(text)

    def prepare_running(self) -> None:
        """Unseal a node that joined; the first one sets the cluster up."""
        if self.first is None:
            super().prepare_running()
            # A node that joins has no vote at first, for ten seconds if nothing else is set.
            soon = {"server_stabilization_time": "1s"}
            self._call("POST", "sys/storage/raft/autopilot/configuration", soon)
            return
        self.token, self._keys = self.first.token, self.first._keys
        self.until(self._unsealed)
        self.until(self._has_data)

    def voters(self) -> int:
        """Return how many nodes elect the active one."""
        found = self._call("GET", "sys/storage/raft/configuration")["data"]["config"]["servers"]
        return sum(bool(each["voter"]) for each in found)

    def is_active(self) -> bool:
        """Say whether this node is the one that writes."""
        return self._is_active()

    def _unsealed(self) -> bool:
        for key in self._keys:
            if not self._succeeds("PUT", "sys/unseal", {"key": key}):
                return False
        try:
            return not self._call("GET", "sys/seal-status")["sealed"]
        except OSError:
            return False

    def _has_data(self) -> bool:
        return self._succeeds("GET", "secret/data/ready")


class Cluster:
    """The nodes, and how many requests each of them got from the load balancer."""

    def __init__(self, nodes: list[Node], url: str) -> None:
        self.nodes, self.url = nodes, url
        self.token = nodes[0].token

    @property
    def living(self) -> list[Node]:
        return [node for node in self.nodes if not node.has_ended]

    def kill_active(self) -> None:
        """Kill the node that writes; the others elect another one."""
        (active,) = [node for node in self.living if node.is_active()]
        active.kill()


@contextmanager
def serving(directory: Path) -> Iterator[Cluster]:
    """Start a cluster and its load balancer."""
    nodes: list[Node] = []
    try:
        for number in range(_NODES):
            node = Node(directory, number, nodes[0] if nodes else None)
            nodes.append(node)
            node.start()
            node.wait()
        nodes[0].until(lambda: nodes[0].voters() == _NODES)
        with _balancing(nodes) as url:
            yield Cluster(nodes, url)
    finally:
        for node in nodes:
            node.stop()


@contextmanager
def _balancing(nodes: list[Node]) -> Iterator[str]:
    turns, lock = itertools.count(), threading.Lock()

    class Balancer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            return

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            headers = {name: text for name, text in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            living = [node for node in nodes if not node.has_ended]
            with lock:
                node = living[next(turns) % len(living)]
            connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=_SECONDS)
            try:
                connection.request(self.command, self.path, body=body, headers=headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                self.close_connection = True
                return
            finally:
                connection.close()
            self.send_response(answer.status)
            for name, text in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, text)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - the names that the class calls

    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Balancer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
