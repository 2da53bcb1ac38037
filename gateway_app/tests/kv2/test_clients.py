"""Clients that nobody here wrote, unmodified: the `bao` CLI, its agent and proxy, hvac, and node-vault."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hvac
import pytest
from pytest_django.live_server_helper import LiveServer

from environments_app.tests.cast import Cast
from gateway_app.tests.kv2.conftest import token
from secrets_app.models import Secret
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType
from tests.servers.packages.node_packages import node_modules

pytestmark = pytest.mark.django_db(transaction=True)
Bao = Callable[..., subprocess.CompletedProcess[str]]
WAIT_SECONDS = 60
READING = '{{ with secret \\"secret/data/app/db\\" }}{{ .Data.data.value }}{{ end }}'
NODE_VAULT = """
const { ADDRESS: endpoint, TOKEN: token } = process.env;
const vault = require("node-vault")({ endpoint, token });
(async () => {
  const found = [(await vault.tokenLookupSelf()).data.policies, (await vault.health()).sealed];
  found.push((await vault.read("secret/data/app/db")).data.data.value);
  found.push((await vault.list("secret/metadata/app")).data.keys);
  await vault.write("secret/data/app/new", { data: { a: "b" }, options: { cas: 0 } });
  found.push((await vault.read("secret/data/app/new")).data.data);
  await vault.delete("secret/data/app/new");
  for (const path of ["secret/data/app/new", "production/data/app/db"]) {
    try { await vault.read(path); } catch (error) { found.push(error.response.statusCode); }
  }
  const [role_id, secret_id] = [token.slice(4, 26), token.slice(27)];
  found.push((await vault.approleLogin({ role_id, secret_id })).auth.client_token === token);
  console.log(JSON.stringify(found));
})();
"""


NODE_VAULT_LIFECYCLE = """
const { ADDRESS: endpoint, TOKEN: token } = process.env;
const connect = (token) => require("node-vault")({ endpoint, token });
const vault = connect(token);
(async () => {
  const found = [Object.keys((await vault.mounts()).data).includes("secret/"), "token/" in (await vault.auths()).data];
  const { auth } = await vault.tokenCreate({ policies: ["reader"], ttl: "20m", renewable: false });
  const child = connect(auth.client_token);
  // A client goes on by the token that it made.
  vault.token = token;
  found.push((await child.tokenLookupSelf()).data.policies, (await child.read("secret/data/app/db")).data.data.value);
  found.push((await vault.tokenLookupAccessor({ accessor: auth.accessor })).data.accessor === auth.accessor);
  await vault.tokenRevokeAccessor({ accessor: auth.accessor });
  try { await child.tokenLookupSelf(); } catch (error) { found.push(error.response.statusCode); }
  const options = { headers: { "X-Vault-Token": token, "X-Vault-Wrap-TTL": "60" } };
  const wrapped = await vault.read("secret/data/app/db", options);
  found.push((await vault.unwrap({ token: wrapped.wrap_info.token })).data.data.value);
  await vault.delete("secret/data/absent");
  await vault.delete("secret/metadata/app/db");
  try { await vault.read("secret/data/app/db"); } catch (error) { found.push(error.response.statusCode); }
  console.log(JSON.stringify(found));
})();
"""


def program() -> str:
    beside = Path(sys.executable).parent / "bao"
    found = str(beside) if beside.exists() else shutil.which("bao")
    assert found, "bao is missing: make install"
    return found


@pytest.fixture
def address(live_server: LiveServer) -> str:
    return f"{live_server.url}/vault"


@pytest.fixture
def bao(cast: Cast, address: str, tmp_path: Path) -> Bao:
    """Run the CLI as an editor of `development`."""
    own = token(cast)

    def run(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        variables = {"BAO_ADDR": address, "BAO_TOKEN": own, "HOME": str(tmp_path), "BAO_MAX_RETRIES": "0"}
        done = subprocess.run(
            [program(), *words],
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


def test_the_cli_reads_lists_writes_deletes_and_restores(cast: Cast, bao: Bao) -> None:
    keep(cast, "app/db", value="s3cret")
    keep(cast, "app/object", value='{"user": "a"}', secret_type=SecretType.JSON)
    assert bao("kv", "get", "-mount=secret", "-field=value", "app/db").stdout == "s3cret"
    assert bao("kv", "get", "-field=user", "development/app/object").stdout == "a"
    assert json.loads(bao("kv", "list", "-format=json", "secret/app").stdout) == ["db", "object"]
    bao("kv", "put", "-cas=1", "secret/app/db", "value=new")
    assert bao("kv", "get", "-version=1", "-field=value", "secret/app/db").stdout == "s3cret"
    assert "did not match" in bao("kv", "put", "-cas=1", "secret/app/db", "value=x", status=2).stderr
    bao("kv", "patch", "secret/app/object", "port=5432")
    patched = json.loads(bao("kv", "get", "-format=json", "secret/app/object").stdout)
    assert patched["data"]["data"] == {"user": "a", "port": "5432"}
    told = json.loads(bao("kv", "metadata", "get", "-format=json", "secret/app/db").stdout)["data"]
    assert told["current_version"] == 2
    bao("kv", "delete", "secret/app/db")
    bao("kv", "get", "secret/app/absent", status=2)
    bao("kv", "undelete", "-versions=2", "secret/app/db")
    assert bao("kv", "get", "-field=value", "secret/app/db").stdout == "new"
    assert Secret.objects.get(name="app/db").current_number == 2


def test_the_cli_scans_folders(cast: Cast, bao: Bao) -> None:
    for name in ("app/part/db", "app/x"):
        keep(cast, name)
    assert json.loads(bao("scan", "-format=json", "secret/metadata").stdout) == ["app/part/db", "app/x"]
    assert "No entries found" in bao("scan", "secret/metadata/none", status=2).stderr


def test_the_cli_signs_in_and_asks_what_it_may(cast: Cast, bao: Bao) -> None:
    reader = token(cast, "reader")
    bao("login", "-no-print", reader)
    told = json.loads(bao("token", "lookup", "-format=json").stdout)["data"]
    assert told["policies"] == ["editor"]
    assert "read" in bao("token", "capabilities", "secret/data/a").stdout
    assert "Sealed" in bao("status").stdout
    role, secret = reader[4:26], reader[27:]
    done = bao("write", "-format=json", "auth/approle/login", f"role_id={role}", f"secret_id={secret}")
    assert json.loads(done.stdout)["auth"]["policies"] == ["reader"]


def test_the_agent_renders_a_template_and_again_when_the_value_changes(
    cast: Cast, address: str, tmp_path: Path
) -> None:
    kept = keep(cast, "app/db", value="first")
    own = token(cast, "reader")
    method = approle(tmp_path, own)
    (tmp_path / "agent.hcl").write_text(f"""
        auto_auth {{ {method} }}
        template_config {{ static_secret_render_interval = "1s" }}
        template {{
            contents    = "{READING}"
            destination = "{tmp_path}/rendered"
        }}
    """)
    with running("agent", address, tmp_path):
        until(lambda: rendered(tmp_path) == "first", tmp_path)
        change(cast, kept, value="second")
        until(lambda: rendered(tmp_path) == "second", tmp_path)


def test_the_agent_restarts_a_program_when_a_value_changes(cast: Cast, address: str, tmp_path: Path) -> None:
    kept = keep(cast, "app/db", value="first")
    method = approle(tmp_path, token(cast, "reader"))
    (tmp_path / "program").write_text(f"""echo "$$ $DB" >> {tmp_path}/rendered; exec sleep 600""")
    (tmp_path / "agent.hcl").write_text(f"""
        auto_auth {{ {method} }}
        template_config {{ static_secret_render_interval = "1s" }}
        env_template "DB" {{ contents = "{READING}" }}
        exec {{
            command = ["/bin/sh", "{tmp_path}/program"]
            restart_on_secret_changes = "always", restart_stop_signal = "SIGTERM"
        }}
    """)
    try:
        with running("agent", address, tmp_path):
            until(lambda: rendered(tmp_path).endswith(" first\n"), tmp_path)
            change(cast, kept, value="second")
            until(lambda: rendered(tmp_path).endswith(" second\n"), tmp_path)
            until(lambda: not is_running(int(rendered(tmp_path).split()[0])), tmp_path)
    finally:
        for line in rendered(tmp_path).splitlines():
            with suppress(ProcessLookupError):
                if is_running(int(line.split()[0])):
                    os.kill(int(line.split()[0]), signal.SIGKILL)


def test_the_proxy_adds_the_token_that_it_signed_in_for(cast: Cast, address: str, tmp_path: Path) -> None:
    keep(cast, "app/db", value="s3cret")
    method = approle(tmp_path, token(cast, "reader"))
    # The path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="p") as short:
        (tmp_path / "agent.hcl").write_text(f"""
            auto_auth {{ {method} }}
            api_proxy {{ use_auto_auth_token = true }}
            listener "unix" {{ address = "{short}/s", tls_disable = true }}
        """)
        variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BAO_ADDR": f"unix://{short}/s"}

        def read() -> str:
            return subprocess.run(
                [program(), "kv", "get", "-field=value", "secret/app/db"],
                env=variables, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
            ).stdout  # fmt: skip

        with running("proxy", address, tmp_path):
            until(lambda: read() == "s3cret", tmp_path)


def approle(place: Path, own: str) -> str:
    """Write the two parts of a token, and return how an agent signs in by them."""
    (place / "role").write_text(own[4:26])
    (place / "secret").write_text(own[27:])
    return f"""method "approle" {{ config = {{
        role_id_file_path = "{place}/role", secret_id_file_path = "{place}/secret"
        remove_secret_id_file_after_reading = false }} }}"""


@contextmanager
def running(kind: str, address: str, place: Path) -> Iterator[None]:
    """Run an agent or a proxy by the configuration in a folder."""
    with (place / "log").open("w") as log:
        started = subprocess.Popen(
            [program(), kind, f"-config={place / 'agent.hcl'}"], stdout=log, stderr=log,
            env={"PATH": os.environ["PATH"], "HOME": str(place), "BAO_ADDR": address},
        )  # fmt: skip
        try:
            yield
        finally:
            started.terminate()
            started.wait(WAIT_SECONDS)


def is_running(pid: int) -> bool:
    """Return whether a process is the program that the agent started; one that has ended has no command."""
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_node_vault_reads_lists_writes_and_deletes(cast: Cast, address: str, tmp_path: Path) -> None:
    keep(cast, "app/db", value="s3cret")
    variables = {"ADDRESS": address, "TOKEN": token(cast), "NODE_PATH": str(node_modules())}
    done = subprocess.run(
        ["node", "-e", NODE_VAULT], env={"PATH": os.environ["PATH"], **variables}, cwd=tmp_path,
        capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == [["editor"], False, "s3cret", ["db"], {"a": "b"}, 404, 403, True]


def test_node_vault_makes_children_unwraps_and_deletes_what_is_absent(
    cast: Cast, address: str, tmp_path: Path
) -> None:
    keep(cast, "app/db", value="s3cret")
    variables = {"ADDRESS": address, "TOKEN": token(cast), "NODE_PATH": str(node_modules())}
    done = subprocess.run(
        ["node", "-e", NODE_VAULT_LIFECYCLE], env={"PATH": os.environ["PATH"], **variables}, cwd=tmp_path,
        capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == [True, True, ["reader"], "s3cret", True, 403, "s3cret", 404]


def rendered(place: Path) -> str:
    file = place / "rendered"
    return file.read_text() if file.exists() else ""


def until(holds: Callable[[], bool], place: Path) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < ends, (place / "log").read_text()
        time.sleep(0.2)


@pytest.mark.filterwarnings("ignore:The raise_on_deleted_version:DeprecationWarning")
def test_hvac_reads_lists_writes_and_deletes(cast: Cast, address: str) -> None:
    keep(cast, "app/db", value="s3cret")
    client: Any = hvac.Client(url=address, token=token(cast))
    assert client.is_authenticated()
    kv = client.secrets.kv.v2
    read = kv.read_secret_version(path="app/db", raise_on_deleted_version=True)
    assert read["data"]["data"] == {"value": "s3cret"}
    assert kv.list_secrets(path="app")["data"]["keys"] == ["db"]
    assert kv.list_secrets(path="")["data"]["keys"] == ["app/"]
    assert kv.create_or_update_secret(path="new", secret={"a": "b"}, cas=0)["data"]["version"] == 1
    kv.patch(path="new", secret={"c": "d"})
    assert kv.read_secret_version(path="new", raise_on_deleted_version=True)["data"]["data"] == {
        "a": "b",
        "c": "d",
    }
    kv.delete_latest_version_of_secret(path="new")
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret_version(path="new", raise_on_deleted_version=True)
    kv.undelete_secret_versions(path="new", versions=[2])
    assert kv.read_secret_metadata(path="new")["data"]["current_version"] == 2
    with pytest.raises(hvac.exceptions.Forbidden):
        kv.read_secret_version(path="a", mount_point="production", raise_on_deleted_version=True)
    own = token(cast, "reader")
    client.auth.approle.login(role_id=own[4:26], secret_id=own[27:])
    assert client.token == own
