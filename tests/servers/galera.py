"""Three MariaDBs in one Galera cluster, each of which takes writes."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.servers.mariadb import MariaDb
from tests.servers.server import MissingServer, ServerFailed, free_port
from tests.servers.tcp_switch import TcpSwitch, tcp_switch

NODES = 3
# The daemon of rsync, which takes what a node is sent, runs as nobody where root starts it, if nothing says else.
_TRANSFER = """#!/bin/bash
rsync() {
    case "$*" in *--daemon*) sed -i '1i uid = root\\ngid = root' "$RSYNC_CONF"; exec rsync "$@" ;; esac
    command rsync "$@"
}
export -f rsync
exec bash "$(command -v wsrep_sst_rsync)" "$@"
"""
_PLUGINS = (Path("/usr/lib/galera/libgalera_smm.so"), Path("/usr/lib64/galera-4/libgalera_smm.so"))
# A node that is silent for so long is left out: by default five seconds, for networks that are slower.
_SOON = "evs.keepalive_period=PT0.3S;evs.suspect_timeout=PT1.5S;evs.inactive_timeout=PT3S;evs.install_timeout=PT3S"


class Node(MariaDb):
    """One node; the first one begins the cluster, the others get all of it from a node that has it."""

    name: ClassVar[str] = "galera"
    package: ClassVar[str] = "the Debian packages mariadb-server and galera-4"

    def __init__(self, directory: Path, number: int, addresses: list[str]) -> None:
        super().__init__(directory / f"node{number}")
        self.number, self._addresses = number, addresses
        self._transfer = [free_port() for _ in range(2)]
        self._begins = number == 0

    def prepare(self) -> None:
        """Write the system tables of the first node, and what lets a node of root's take another one's data."""
        if self._begins:
            super().prepare()
        else:
            (self.directory / "data").mkdir()
        script = self.directory / "bin" / "wsrep_sst_keeper_rsync"
        script.parent.mkdir()
        script.write_text(_TRANSFER if os.geteuid() == 0 else _TRANSFER.replace("sed -i", ": sed -i"))
        script.chmod(0o700)

    def own_environment(self) -> dict[str, str]:
        return {"PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}:/usr/sbin"}

    def command(self) -> list[str]:
        """Return mariadbd as a member that certifies each commit with the others."""
        plugin = next((each for each in _PLUGINS if each.exists()), None)
        if plugin is None:
            raise MissingServer(f"Galera is not installed; it comes with {self.package}")
        whole, later = self._transfer
        peers = ",".join(self._addresses)
        own = self._addresses[self.number]
        options = (
            f"gmcast.listen_addr=tcp://{own};ist.recv_addr=127.0.0.1:{later};gcache.dir={self.directory};"
        )
        options += f"gcache.size=64M;pc.recovery=false;{_SOON}"
        return [
            *super().command(),
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            # With the plugin on, `isolate` could not set an option.
            "--plugin-wsrep-provider=OFF",
            f"--wsrep-provider={plugin}",
            f"--wsrep-cluster-address=gcomm://{peers}",
            *(["--wsrep-new-cluster"] if self._begins else []),
            "--wsrep-cluster-name=keeper",
            f"--wsrep-node-name=node{self.number}",
            f"--wsrep-node-address=127.0.0.1:{own.rpartition(':')[2]}",
            f"--wsrep-node-incoming-address=127.0.0.1:{self.port}",
            "--wsrep-sst-method=keeper_rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{whole}",
            "--wsrep-slave-threads=4",
            f"--wsrep-provider-options={options}",
        ]

    def ready(self) -> bool:
        """Say whether the node has all that the cluster has, and takes writes."""
        found = self._client("SHOW STATUS LIKE 'wsrep_local_state_comment'")
        return found.returncode == 0 and b"Synced" in found.stdout

    def prepare_running(self) -> None:
        """Make the database once: the other nodes get it from the first."""
        if self.number == 0:
            super().prepare_running()

    def join_again(self) -> None:
        """Start a node that was killed, as a member of the cluster that the others still are."""
        self._begins = False
        self.start_again()

    def lose_data(self) -> None:
        """Forget all that a node held that was killed, and what it kept for others."""
        shutil.rmtree(self.directory / "data")
        (self.directory / "data").mkdir()
        (self.directory / "galera.cache").unlink(missing_ok=True)

    def isolate(self, *, apart: bool) -> None:
        """Cut the node off from the others, or let it meet them again; programs still reach it."""
        option = f"SET GLOBAL wsrep_provider_options='gmcast.isolate={int(apart)}'"
        self.ask(option)

    def ask(self, statement: str) -> str:
        """Return what the client prints for a statement. Raises ServerFailed."""
        found: subprocess.CompletedProcess[bytes] = self._client(statement)
        if found.returncode:
            raise ServerFailed(found.stderr.decode(errors="replace"))
        return found.stdout.decode()


class Cluster:
    """The nodes, which are started one after the other."""

    def __init__(self, directory: Path) -> None:
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(NODES)]
        self.nodes = [Node(directory, number, addresses) for number in range(NODES)]

    def start(self) -> None:
        """Start the nodes. Raises ServerFailed or MissingServer."""
        for node in self.nodes:
            node.start()
            node.wait()

    def stop(self) -> None:
        """End all nodes, as a test has no use for what they hold."""
        for node in self.nodes:
            node.kill()

    def transfers(self) -> int:
        """Return how often a node was sent all that there is."""
        return sum(node.log.read_text(errors="replace").count("SST received: ") for node in self.nodes)

    def url(self, first: int = 0, *, database: str = "keeper") -> str:
        """Return a URL of all nodes that begins with one of them."""
        nodes = [*self.nodes[first:], *self.nodes[:first]]
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        return f"mysql://root@{hosts}/{database}"


# Between two questions of a proxy whether its node is well.
CHECK_SECONDS = 0.5


@contextmanager
def one_writer(cluster: Cluster) -> Iterator[int]:
    """Give a port that leads to one node until that is down, and then to the first that is well: a proxy's."""
    over = threading.Event()
    with tcp_switch(cluster.nodes[0].port) as switch:
        thread = threading.Thread(target=_lead_to_one, args=(cluster, switch, over))
        thread.start()
        try:
            yield switch.port
        finally:
            over.set()
            thread.join()


def _lead_to_one(cluster: Cluster, switch: TcpSwitch, over: threading.Event) -> None:
    now = cluster.nodes[0]
    while not over.wait(CHECK_SECONDS):
        if not now.ready() and (well := next((node for node in cluster.nodes if node.ready()), None)):
            now = well
            switch.turn(now.port)
