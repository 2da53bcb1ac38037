"""What happens to a cluster and to its Keepers in the long form, and a line a minute about how they are."""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from benchmarks.measuring.processes import cpu_seconds, descendants, memory_mb
from tests.operation.galera_load import GaleraKeeper, Load
from tests.operation.galera_systems import Systems
from tests.servers.galera import Cluster, Node
from tests.soak.keeper import VICTIMS

REPORT_SECONDS: Final = 60


def kill(node: Node, seconds: float) -> None:
    node.kill()
    time.sleep(seconds)
    node.join_again()


def cut_off(node: Node, seconds: float) -> None:
    node.isolate(apart=True)
    time.sleep(seconds)
    node.isolate(apart=False)
    node.until(node.ready)


def restart(node: Node, seconds: float) -> None:
    """As an update of the server does."""
    node.stop()
    time.sleep(seconds)
    node.join_again()


def lose_disk(node: Node, seconds: float) -> None:
    """Kill a node and empty its directory of data: another node sends it all that there is (SST)."""
    node.kill()
    node.lose_data()
    time.sleep(seconds)
    node.join_again()


def kill_part(keepers: list[GaleraKeeper], draw: random.Random) -> None:
    """Kill a web process, a worker or a read engine; the supervisor starts it again."""
    draw.choice(keepers).kill_one(draw.choice(VICTIMS))


def restart_keepers(keepers: list[GaleraKeeper]) -> None:
    """Restart one Keeper after the other, as an update does."""
    for keeper in keepers:
        assert keeper.end() == 0, keeper.log.read_text()[-3000:]
        keeper.start_again()


NODE_FAULTS: Final[list[Callable[[Node, float], None]]] = [kill, cut_off, restart, lose_disk]


class Faults:
    """One fault after the other until a time, while most of the nodes stand; `done` counts them."""

    def __init__(self, cluster: Cluster, keepers: list[GaleraKeeper], seed: int) -> None:
        self._cluster, self._keepers, self._draw = cluster, keepers, random.Random(seed)
        self.done = Counter[str]()

    def play(self, ends: float) -> None:
        while time.monotonic() < ends:
            time.sleep(self._draw.uniform(5, 20))
            self._play_one(self._draw.randrange(len(NODE_FAULTS) + 2))
        for each in self._keepers:
            each.until(each.ready)

    def _play_one(self, number: int) -> None:
        node, seconds = self._draw.choice(self._cluster.nodes), self._draw.uniform(1, 10)
        if number < len(NODE_FAULTS):
            fault = NODE_FAULTS[number]
            self._note(fault.__name__, f" node {node.number}")
            fault(node, seconds)
        elif number == len(NODE_FAULTS):
            self._note("kill_part")
            kill_part(self._keepers, self._draw)
        else:
            self._note("restart_keepers")
            restart_keepers(self._keepers)

    def _note(self, name: str, of: str = "") -> None:
        self.done[name] += 1
        say(f"{name}{of}")


class Watch:
    """Writes a line a minute."""

    def __init__(
        self, cluster: Cluster, keepers: list[GaleraKeeper], load: Load, systems: Systems, faults: Faults
    ) -> None:
        self._cluster, self._keepers, self._faults = cluster, keepers, faults
        self._load, self._systems = load, systems
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _report(self) -> None:
        while not self._over.wait(REPORT_SECONDS):
            say(self.line())

    def line(self) -> str:
        keepers = [round(memory_mb(each.pid or 0)) for each in self._keepers]
        nodes = [round(memory_mb(each.pid)) if each.pid else 0 for each in self._cluster.nodes]
        processes = [len(descendants([each.pid or 0])) for each in self._keepers]
        used = [round(cpu_seconds(descendants([each.pid or 0]))) for each in self._keepers]
        return (
            f"{dict(self._load.answers)} refused={self._load.refused():.3%} stale={self._load.stale} "
            f"passes={dict(self._systems.passes)} faults={dict(self._faults.done)} "
            f"Keepers={keepers} MB in {processes} processes, {used} s of CPU; nodes={nodes} MB"
        )


def say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
