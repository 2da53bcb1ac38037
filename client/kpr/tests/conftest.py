"""A Keeper that is served for real, with tokens and secrets, and kpr as a process of its own."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from tests.processes import commands_for_tokens, run_commands
from tests.served import environment, keeper

from kpr.api import Answer, Api

CLIENT = Path(__file__).resolve().parents[2]
# In no name, and in nothing that kpr or Python writes.
CANARY = "c4n4ry-Zx81-of-kpr"
MULTILINE = "-----BEGIN-----\nfirst\n\nlast \"quoted\" $HOME `id` \\ 'x'\n"


@dataclass
class Server:
    """A served Keeper and its tokens."""

    url: str
    data: Path
    reader: str = field(repr=False)
    editor: str = field(repr=False)
    log: Path

    def api(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.editor}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read() or b"null")

    def keep(self, values: Mapping[str, str]) -> None:
        rows = [{"name": name, "secret_type": "TEXT", "value": value} for name, value in values.items()]
        self.api("POST", "secrets/bulk", {"environment": "development", "secrets": rows})


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, schema: Path | None) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("served") / "var"
    with keeper(data, "--no-worker", schema=schema) as served:
        reader, editor = run_commands(environment(data), *commands_for_tokens("reader", "editor"))
        found = Server(f"http://127.0.0.1:{served.port}", data, reader, editor, served.output)
        found.keep({"app/db-url": CANARY, "app/tls/key": MULTILINE, "app/plain": "plain value"})
        found.keep({f"many/value-{number:04}": f"{number} of many" for number in range(1000)})
        found.keep({"large/one": "x" * 60_000})
        found.keep({f"huge/part-{number:02}": "y" * 60_000 for number in range(60)})
        found.keep(
            {"clash/a-b": "1", "clash/a_b": "2", "loader/ld_preload": "evil.so", "loader/path": "/evil"}
        )
        yield found


@dataclass
class Kpr:
    """kpr, as a process with a home folder of its own."""

    home: Path
    variables: dict[str, str] = field(repr=False)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "kpr", *arguments]

    def __call__(
        self, *arguments: str, input: str | bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(*arguments),
            input=input.encode() if isinstance(input, str) else input,
            env={**self.variables, **(env or {})},
            cwd=self.home,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def run(self, *command: str, options: tuple[str, ...] = (), **more: Any) -> Any:
        return self("run", *options, "--", *command, **more)


@pytest.fixture
def kpr(tmp_path: Path, server: Server) -> Kpr:
    return signed_out(tmp_path, {"KPR_SERVER": server.url, "KPR_TOKEN": server.reader})


def signed_out(home: Path, variables: Mapping[str, str]) -> Kpr:
    base = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
    own = {"HOME": str(home), "PYTHONPATH": str(CLIENT), "KPR_ENVIRONMENT": "development"}
    return Kpr(home, {**base, **own, **variables})


KEYRING = """
import json, os, pathlib
from keyring import errors
PATH = pathlib.Path(os.environ["FAKE_KEYRING"])
class Backend:
    priority = int(os.environ.get("FAKE_PRIORITY", "5"))
def get_keyring(): return Backend()
def _all():
    if os.environ.get("FAKE_LOCKED"): raise errors.KeyringLocked
    return json.loads(PATH.read_text()) if PATH.exists() else {}
def get_password(service, name): return _all().get(f"{service} {name}")
def set_password(service, name, value): PATH.write_text(json.dumps({**_all(), f"{service} {name}": value}))
def delete_password(service, name):
    found = _all(); del found[f"{service} {name}"]; PATH.write_text(json.dumps(found))
"""
ERRORS = "class KeyringError(Exception): pass\nclass KeyringLocked(KeyringError): pass\n"


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A keyring of the system, as the package of that name shows one."""
    package = tmp_path / "packages" / "keyring"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(KEYRING)
    (package / "errors.py").write_text(ERRORS)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("FAKE_KEYRING", str(tmp_path / "ring"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("keyring", "keyring.errors"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path / "ring"
    for name in ("keyring", "keyring.errors"):
        sys.modules.pop(name, None)


@contextmanager
def closed(folder: Path) -> Iterator[Path]:
    """Make a folder that this process cannot enter meanwhile, as another account's home."""
    folder.mkdir(mode=0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)


class Inside:
    """Answers the requests of kpr, and lists them."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.asked: list[str] = []

    def answer(
        self, api: Api, method: str, target: str, content: bytes | None, extra: Mapping[str, str]
    ) -> Answer:
        self.asked.append(f"{method} {target}")
        headers = {**extra, **({"authorization": f"Bearer {api.token}"} if api.token else {})}
        response: Any = Client().generic(
            method, target, content or b"", content_type="application/json", headers=headers
        )
        sent = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, sent, response.getvalue())


@pytest.fixture
def inside(cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Keeper in this process: what kpr asks is answered by Django's test client."""
    alice = cast.principal(cast.alice)
    _, token = issue(actor=alice, environment=cast.development, role="editor", name="kpr")
    variables = {
        "KPR_SERVER": "https://keeper.example.com",
        "KPR_TOKEN": token,
        "KPR_ENVIRONMENT": cast.development.name,
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = Inside(token)
    monkeypatch.setattr(Api, "_try", lambda api, *args, **_: found.answer(api, *args))
    monkeypatch.chdir(tmp_path)
    return found
