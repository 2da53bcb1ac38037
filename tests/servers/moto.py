"""moto: AWS on the loopback address, over HTTP."""

from typing import ClassVar

from tests.servers.server import Server, accepts


class Moto(Server):
    """A moto server; it is laxer than AWS, so what AWS refuses needs a stricter layer in front."""

    name: ClassVar[str] = "moto"
    program: ClassVar[str] = "moto_server"
    package: ClassVar[str] = "requirements-dev.txt (make install)"

    def command(self) -> list[str]:
        """Return moto_server for the loopback address."""
        return [self.find(self.program), "-H", "127.0.0.1", "-p", str(self.port)]

    def ready(self) -> bool:
        """Say whether it listens."""
        return accepts(self.port)

    def environment(self) -> dict[str, str]:
        """Return the URL that serves every AWS service."""
        return {"KEEPER_TEST_MOTO_URL": f"http://127.0.0.1:{self.port}"}
