"""Redis without persistence: a broker and a cache for the tests."""

import socket
from typing import ClassVar

from tests.servers.server import Server


class Redis(Server):
    """A Redis with its sixteen numbered databases; each test worker takes its own number."""

    name: ClassVar[str] = "redis"
    program: ClassVar[str] = "redis-server"
    package: ClassVar[str] = "the Debian package redis-server"

    def command(self) -> list[str]:
        """Return redis-server, which writes nothing to disk."""
        address = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [
            self.find(self.program),
            *address,
            "--dir",
            str(self.directory),
            "--save",
            "",
            "--appendonly",
            "no",
        ]

    def ready(self) -> bool:
        """Say whether it answers a PING."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def environment(self) -> dict[str, str]:
        """Return the URL of database 0."""
        return {"KEEPER_TEST_REDIS_URL": f"redis://127.0.0.1:{self.port}/0"}
