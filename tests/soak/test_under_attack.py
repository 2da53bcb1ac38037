"""One installation under one attack after the other: it answers throughout, and holds no more than before.

Slow bodies, the same through a proxy that streams, answers that are not taken, idle connections, a full disk.
The long form (`make torture`) has the real limits and more of each; its figures are in docs/internals/faults.md.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from benchmarks.measuring.processes import resident_mb
from keeper_project.tests.processes.test_full_disk import SmallDisk
from keeper_project.tests.runtime.test_slow_clients import (
    BESIDE,
    PROBE_SECONDS,
    START,
    connected,
    connections_of,
    descriptor_limit,
    descriptors,
)
from tests.production.stack import Nginx
from tests.served import Served, keeper

__all__ = ["descriptor_limit"]
LARGE = START + b"Content-Length: 1000000\r\n\r\n"
STATIC = b"GET /static/bootstrap/css/bootstrap.min.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20
GROWTH_MB = 100


class StreamingNginx(Nginx):
    """nginx that hands each byte of a body on as it comes."""

    def prepare(self) -> None:
        (upstream,) = self._upstreams
        places = "".join(
            f"{kind}_temp_path {self.directory}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        (self.directory / "nginx.conf").write_text(
            f"{user} pid {self.directory}/pid; error_log stderr; worker_processes 1; daemon off;"
            f"events {{ worker_connections 4096; }} http {{ {places} access_log off; server {{"
            f"listen 127.0.0.1:{self.port}; proxy_request_buffering off; proxy_http_version 1.1;"
            f"location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_set_header Host localhost; }} }} }}"
        )


@dataclass
class Watch:
    """What a load balancer sees, and what the system does, while attacks go on."""

    served: Served
    slowest: float = 0.0
    most: int = 0
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Ask /healthz twice a second."""
        done = threading.Event()
        thread = threading.Thread(target=self._watch, args=(done,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(0.5):
            began = time.monotonic()
            try:
                status = self.served.get("/healthz")[0]
            except OSError as error:
                self.failed.append(str(error))
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.most = max(self.most, descriptors(self.served))
            if status != 200:
                self.failed.append(str(status))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk | None]:
    """A small disk, or none where a file system cannot be mounted: then it is not filled."""
    disk = SmallDisk(tmp_path / "disk")
    is_mounted = disk.mount()
    yield disk if is_mounted else None
    if is_mounted:
        disk.unmount()


def drip(port: int, count: int, seconds: float) -> None:
    """Send bodies a byte at a time, and begin again where the server cuts one."""
    with ExitStack() as held:
        attackers = [held.enter_context(closing(connected(port, LARGE))) for _ in range(count)]
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for place, attacker in enumerate(attackers):
                try:
                    attacker.sendall(b"a")
                except OSError:
                    attacker.close()
                    attackers[place] = held.enter_context(closing(connected(port, LARGE)))
            time.sleep(0.5)


def hold(port: int, count: int, seconds: float, sent: bytes = b"") -> None:
    """Keep so many connections that take nothing, and begin again where the server ends some."""
    ends = time.monotonic() + seconds
    with ExitStack() as held:
        while time.monotonic() < ends:
            for _ in range(min(200, count - len(connections_of(port)))):
                made = held.enter_context(closing(socket.socket()))
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                made.settimeout(PROBE_SECONDS)
                made.connect(("127.0.0.1", port))
                made.sendall(sent)
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("module", "seconds", "scale"),
    [
        pytest.param("keeper_project.tests.processes.impatient", 6, 1, id="short"),
        pytest.param("keeper_project.runtime.cli", 60, 3, id="long", marks=pytest.mark.torture),
    ],
)
def test_it_answers_under_each_attack(
    tmp_path: Path,
    schema: Path | None,
    small_disk: SmallDisk | None,
    descriptor_limit: None,
    module: str,
    seconds: float,
    scale: int,
) -> None:
    data = (small_disk.at if small_disk else tmp_path) / "var"
    with keeper(data, "--no-worker", module=module, schema=schema, output=tmp_path / "output") as served:
        nginx = StreamingNginx(tmp_path, [served.port])
        nginx.start()
        nginx.wait()
        attacks: dict[str, Callable[[], None]] = {
            "slow bodies": lambda: drip(served.port, 40 * scale, seconds),
            "slow bodies through a proxy that streams": lambda: drip(nginx.port, 40 * scale, seconds),
            "answers that are not taken": lambda: hold(served.port, 100 * scale, seconds, STATIC),
            "idle connections": lambda: hold(served.port, 1000 * scale, seconds),
        }
        if small_disk:
            attacks["full disk"] = partial(full, small_disk, seconds)
        began, memory = descriptors(served), resident_mb(served.process.pid)
        try:
            for name, attack in attacks.items():
                watch = Watch(served)
                with watch.watching():
                    attack()
                print(  # noqa: T201 - the figures of the long form
                    f"{name}: /healthz {watch.slowest:.2f} s at most, {watch.most} descriptors, "
                    f"{resident_mb(served.process.pid):.0f} MB after {memory:.0f}"
                )
                assert not watch.failed, name
                assert watch.slowest < PROBE_SECONDS, name
        finally:
            nginx.stop()
        assert served.get("/sign-in")[0] == 200
        deadline = time.monotonic() + 200
        while descriptors(served) > began + BESIDE:
            assert time.monotonic() < deadline, "descriptors stay open"
            time.sleep(0.5)
        assert resident_mb(served.process.pid) < memory + GROWTH_MB
        assert served.stop() == 0


def full(disk: SmallDisk, seconds: float) -> None:
    disk.fill()
    time.sleep(seconds)
    disk.free()
