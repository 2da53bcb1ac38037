"""Redis by TLS: every client of it verifies the certificate and the name unless the URL says otherwise."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.servers.__main__ import installation
from tests.servers.certificates import write_certificates
from tests.servers.redis import Redis
from tests.servers.server import accepts

# Each as Keeper asks: what it found, or the error that it met.
ASK = """
import json, django
django.setup()
from django.core.cache import cache
from operations_app.health import probes
cache.set("key", 7)
print(json.dumps([cache.get("key"), str(probes.redis().state), str(probes.broker().state)]))
"""


class TlsRedis(Redis):
    """A Redis that speaks TLS alone, with a certificate for 127.0.0.1 of an authority of its own."""

    def prepare(self) -> None:
        write_certificates(self.directory)

    def command(self) -> list[str]:
        plain = super().command()
        plain[plain.index("--port") + 1] = "0"
        files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
        given = [
            word
            for name, file in files.items()
            for word in (f"--tls-{name}-file", str(self.directory / file))
        ]
        return [*plain, "--tls-port", str(self.port), *given, "--tls-auth-clients", "no"]

    def ready(self) -> bool:
        return accepts(self.port)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    made = TlsRedis(tmp_path_factory.mktemp("tls"))
    try:
        made.start()
        made.wait()
        yield made
    finally:
        made.stop()


def ask(server: TlsRedis, tmp_path: Path, *, host: str, options: str) -> list[object]:
    url = f"rediss://{host}:{server.port}/0{options.format(ca=server.directory / 'ca.pem')}"
    variables = {**os.environ, **installation(tmp_path / "var"), "REDIS_URL": url, "KEEPER_LOG_FILE": "-"}
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**variables, "DJANGO_SETTINGS_MODULE": "keeper_project.settings"},
    )  # fmt: skip
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("host", "options"),
    [("127.0.0.1", ""), ("localhost", "?ssl_ca_certs={ca}")],
    ids=["an authority that nobody named", "a certificate for another name"],
)
def test_a_stranger_is_refused(server: TlsRedis, tmp_path: Path, host: str, options: str) -> None:
    assert ask(server, tmp_path, host=host, options=options) == [None, "unhealthy", "unhealthy"]


@pytest.mark.parametrize("options", ["?ssl_ca_certs={ca}", "?ssl_cert_reqs=none&ssl_check_hostname=false"])
def test_the_url_names_the_authority(server: TlsRedis, tmp_path: Path, options: str) -> None:
    assert ask(server, tmp_path, host="127.0.0.1", options=options) == [7, "ok", "ok"]
