"""What `keeper run` is asked for is known before anything is loaded, and what cannot be is refused there."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from keeper_project.startup import CannotListen, address, declare, refuse_taken, serves_this_machine_alone
from keeper_project.tests.runtime.test_cli import keeper
from tests.servers.server import free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPER_LISTEN", "192.0.2.1")
    monkeypatch.setenv("DEBUG", "false")


@pytest.mark.usefixtures("environ")
def test_it_tells_the_settings() -> None:
    port = free_port()
    assert declare(["--port", str(port), "--no-worker", "--host", "localhost"]) == port
    assert os.environ["KEEPER_LISTEN"] == "127.0.0.1"
    assert os.environ["DEBUG"] == "false"
    declare(["--port", str(port), "--debug"])
    assert os.environ["DEBUG"] == "true"


@pytest.mark.parametrize(
    ("listen", "proxies", "alone"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("127.0.0.1", ["127.0.0.1"], False),
        ("0.0.0.0", [], False),
        ("", [], False),
    ],
)
def test_it_assumes_plain_http_for_this_machine_alone(listen: str, proxies: list[str], alone: bool) -> None:
    assert serves_this_machine_alone(listen, proxies) is alone


@pytest.mark.parametrize(
    ("listen", "given", "tls"),
    [("127.0.0.1", None, "False"), ("127.0.0.1", "true", "True"), ("0.0.0.0", None, "True"),
     ("0.0.0.0", "false", "False"), ("", None, "True")],
)  # fmt: skip
def test_the_settings_assume_tls_where_others_are_served(
    tmp_path: Path, listen: str, given: str | None, tls: str
) -> None:
    variables = {"PATH": os.environ["PATH"], "KEEPER_DATA_DIR": str(tmp_path), "KEEPER_LISTEN": listen}
    variables |= {"KEEPER_TRUSTED_PROXIES": ""} | ({"KEEPER_TLS": given} if given else {})
    program = "from keeper_project import settings as s; print(s.KEEPER_TLS, s.SESSION_COOKIE_SECURE)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [tls, tls]


def test_a_host_without_an_address_is_refused() -> None:
    with pytest.raises(CannotListen, match="no address here"):
        address("not a host")


def test_a_port_that_is_taken_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match="in use"):
            refuse_taken("127.0.0.1", port)
        done = keeper("run", "--port", str(port), data=tmp_path / "var")
    assert done.returncode == 1
    assert done.stderr.startswith(f"keeper: Cannot listen on 127.0.0.1, port {port}: Address already in use.")
    assert not (tmp_path / "var").exists()
