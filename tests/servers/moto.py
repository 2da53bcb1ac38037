"""moto: AWS on the loopback address, over HTTP."""

import sys
from pathlib import Path
from typing import ClassVar

from tests.servers.server import Server, accepts


class Moto(Server):
    """A moto server; it is laxer than AWS, so what AWS refuses needs a stricter layer in front."""

    name: ClassVar[str] = "moto"
    program: ClassVar[str] = "moto_server"
    package: ClassVar[str] = "requirements-dev.txt (make install)"

    def command(self) -> list[str]:
        """Return moto for the loopback address, which answers one request at a time."""
        self.find(self.program)
        # -P, since beside it lies a module of moto's own name.
        return [sys.executable, "-P", str(Path(__file__).with_name("moto_in_turn.py")), str(self.port)]

    def ready(self) -> bool:
        """Say whether it listens."""
        return accepts(self.port)

    def environment(self) -> dict[str, str]:
        """Return the URL that serves every AWS service."""
        return {"KEEPER_TEST_MOTO_URL": f"http://127.0.0.1:{self.port}"}
