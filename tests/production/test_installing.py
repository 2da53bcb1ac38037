"""What docs/deployment.md has people copy is what the composition runs, and nginx takes it."""

import http.client
import re
import shlex
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import pytest

from keeper_project.runtime import supervisor
from keeper_project.runtime.worker import celery_programs
from tests.production.compose import ROOT, Composition
from tests.production.stack import Nginx
from tests.servers.certificates import write_certificates

DOCUMENT: Final = (ROOT / "docs" / "deployment.md").read_text()
SERVICES: Final = {"web": "keeper", "worker": "worker", "beat": "beat"}
GIVEN: Final = dict.fromkeys(
    (
        "KEEPER_HOST",
        "SECRET_KEY",
        "KEEPER_TOKEN_PEPPERS",
        "MYSQL_PASSWORD",
        "REDIS_PASSWORD",
        "KMS_KEY_ALIAS",
        "AWS_REGION",
    ),
    "given",
)


def unit(name: str) -> dict[str, str]:
    lines = (ROOT / "deploy" / "systemd" / f"keeper-{name}.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_runs_what_the_composition_does(name: str) -> None:
    program, *arguments = shlex.split(unit(name)["ExecStart"])
    told, *composed = Composition(GIVEN).command(SERVICES[name])
    assert program == f"/opt/keeper/venv/bin/{told}"
    # On a machine the proxy is beside it; a container is reached from others.
    addresses = {"127.0.0.1", "0.0.0.0", "--port", "8989"}
    assert [part for part in arguments if part not in addresses] == [
        part for part in composed if part not in addresses
    ]


def test_whoever_stops_a_process_waits_for_it_to_finish() -> None:
    assert celery_programs.FINISH_SECONDS < supervisor.STOP_SECONDS < int(unit("web")["TimeoutStopSec"])
    assert unit("web")["KillMode"] == "mixed"
    grace = str(Composition(GIVEN).services["keeper"]["stop_grace_period"])
    assert int(grace.removesuffix("s")) > supervisor.STOP_SECONDS


def test_nginx_takes_what_the_sed_of_the_docs_writes(tmp_path: Path) -> None:
    (script,) = re.findall(r"(sed -e .*?/etc/nginx/conf\.d/keeper\.conf)\n", DOCUMENT, re.DOTALL)
    site = tmp_path / "keeper.conf"
    subprocess.run(
        ["bash", "-euc", script.replace("/etc/nginx/conf.d/keeper.conf", str(site))], cwd=ROOT, check=True
    )
    write_certificates(tmp_path)
    written = site.read_text().replace("/etc/ssl/keeper/keeper.crt", str(tmp_path / "server.pem"))
    written = written.replace("/var/log/nginx/access.log", str(tmp_path / "access.log"))
    site.write_text(written.replace("/etc/ssl/keeper/keeper.key", str(tmp_path / "server.key")))
    assert "server_name keeper.example.com;" in written
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ include {site}; }}")
    nginx = Nginx(tmp_path, []).find("nginx")
    tested = subprocess.run(
        [nginx, "-t", "-p", str(tmp_path), "-c", str(whole)], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stderr


def test_the_logs_of_nginx_name_no_link_that_shares_a_value(tmp_path: Path) -> None:
    # Nobody listens behind it, so that each request by TLS is an error as well.
    nginx = Nginx(tmp_path, [1])
    nginx.start()
    try:
        nginx.wait()
        tls = ssl.create_default_context(cafile=str(nginx.directory / "ca.pem"))
        for method, path, referer in (
            ("GET", "/shared/l1nk", ""),
            ("POST", "/shared/l1nk", ""),
            ("GET", "/sign-in?next=%2Fshared%2Fl1nk", ""),
            ("GET", "/static/app.css", "https://127.0.0.1/shared/l1nk"),
            ("GET", "/secrets", ""),
        ):
            for connection, status in (
                (http.client.HTTPConnection("127.0.0.1", nginx.plain_port, timeout=30), 301),
                (http.client.HTTPSConnection("127.0.0.1", nginx.port, context=tls, timeout=30), 502),
            ):
                connection.request(method, path, headers={"Referer": referer})
                assert connection.getresponse().status == status
                connection.close()
    finally:
        nginx.stop()
    for log in (nginx.directory / "access.log", nginx.log):
        written = log.read_text()
        assert "l1nk" not in written, log
        assert "GET /secrets " in written, log


def test_nginx_gives_a_chunked_body_its_length_and_refuses_two_lengths(tmp_path: Path) -> None:
    asked: list[tuple[str | None, str | None, bytes]] = []

    class Behind(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = self.headers.get("Content-Length")
            body = self.rfile.read(int(length or 0))
            asked.append((length, self.headers.get("Transfer-Encoding"), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    def slowly() -> Iterator[bytes]:
        yield b"{"
        # nginx has the head and a part by then.
        time.sleep(0.5)
        yield b"}"

    behind = HTTPServer(("127.0.0.1", 0), Behind)
    thread = threading.Thread(target=behind.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    nginx = Nginx(tmp_path, [behind.server_port])
    nginx.start()
    statuses = []
    try:
        nginx.wait()
        tls = ssl.create_default_context(cafile=str(nginx.directory / "ca.pem"))
        for more in ({}, {"Content-Length": "2"}):
            connection = http.client.HTTPSConnection("127.0.0.1", nginx.port, context=tls, timeout=30)
            headers = {"Transfer-Encoding": "chunked", **more}
            connection.request("POST", "/vault/v1/a", slowly(), headers, encode_chunked=True)
            statuses.append(connection.getresponse().status)
            connection.close()
    finally:
        nginx.stop()
        behind.shutdown()
        behind.server_close()
        thread.join()
    assert (statuses, asked) == ([204, 400], [("2", None, b"{}")])
