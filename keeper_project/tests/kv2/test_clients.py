"""Clients that nobody here wrote, unmodified: the `bao` CLI, its agent, and hvac."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hvac
import pytest
from pytest_django.live_server_helper import LiveServer

from environments_app.tests.cast import Cast
from keeper_project.tests.kv2.conftest import token
from secrets_app.models import Secret
from secrets_app.secret_types.registry import SecretType
from secrets_app.tests.kept import change, keep

pytestmark = pytest.mark.django_db(transaction=True)
Bao = Callable[..., subprocess.CompletedProcess[str]]
WAIT_SECONDS = 60


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
    (tmp_path / "role").write_text(own[4:26])
    (tmp_path / "secret").write_text(own[27:])
    (tmp_path / "agent.hcl").write_text(f"""
        auto_auth {{ method "approle" {{ config = {{
            role_id_file_path = "{tmp_path}/role", secret_id_file_path = "{tmp_path}/secret"
            remove_secret_id_file_after_reading = false }} }} }}
        template_config {{ static_secret_render_interval = "1s" }}
        template {{
            contents    = "{{{{ with secret \\"secret/data/app/db\\" }}}}{{{{ .Data.data.value }}}}{{{{ end }}}}"
            destination = "{tmp_path}/rendered"
        }}
    """)
    command = [program(), "agent", f"-config={tmp_path / 'agent.hcl'}"]
    log = (tmp_path / "log").open("w")
    agent = subprocess.Popen(
        command,
        stdout=log,
        stderr=log,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BAO_ADDR": address},
    )
    try:
        until(lambda: rendered(tmp_path) == "first", tmp_path)
        change(cast, kept, value="second")
        until(lambda: rendered(tmp_path) == "second", tmp_path)
    finally:
        agent.terminate()
        agent.wait(WAIT_SECONDS)
        log.close()


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
