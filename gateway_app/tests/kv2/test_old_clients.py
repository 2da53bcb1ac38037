"""Clients of a real OpenBao, which run against it and then against Keeper: only address and token differ."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import hvac
import pytest
from pytest_django import Settings

from environments_app.tests.cast import Cast
from gateway_app.tests.kv2.conftest import token
from gateway_app.tests.kv2.test_clients import (
    WAIT_SECONDS,
    address,
    approle,
    program,
    rendered,
    running,
    until,
)
from sync_app.migration import service
from sync_app.migration.placing import How, Rule
from sync_app.tests.migration.driving import apply, work
from tests.servers.fixtures import openbao

__all__ = ["address", "openbao"]
pytestmark = pytest.mark.django_db(transaction=True)


def by_hvac(url: str, text: str, mount: str) -> list[Any]:
    """Do with hvac what a program of the old Vault does, and return what it was told."""
    client: Any = hvac.Client(url=url, token=text)
    kv = client.secrets.kv.v2
    told = [kv.list_secrets(path=folder, mount_point=mount)["data"]["keys"] for folder in ("dev", "dev/app")]
    for path, number in (("dev/app/db", None), ("dev/app/db", 1), ("dev/app/object", None)):
        reply = kv.read_secret_version(path, version=number, mount_point=mount, raise_on_deleted_version=True)
        metadata = reply["data"]["metadata"]
        told.append([reply["data"]["data"], metadata["version"], metadata["created_time"][:26]])
    told.append(kv.read_secret_metadata("dev/app/db", mount_point=mount)["data"]["current_version"])
    return told


def by_bao(url: str, text: str, mount: str, home: Path) -> list[str]:
    """Do with the CLI what a script of the old Vault does, and return what it printed."""
    variables = {"BAO_ADDR": url, "BAO_TOKEN": text, "HOME": str(home), "BAO_MAX_RETRIES": "0"}
    told = []
    for words in (
        ["kv", "get", "-field=value", f"{mount}/dev/app/db"],
        ["kv", "get", f"-mount={mount}", "-version=1", "-field=value", "dev/app/db"],
        ["kv", "get", "-field=user", f"{mount}/dev/app/object"],
        ["kv", "list", "-format=json", f"{mount}/dev/app"],
    ):
        done = subprocess.run(
            [program(), *words],
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        told.append(done.stdout)
    return told


def configure_agent(place: Path, method: str, mount: str) -> None:
    """Write the one configuration of an agent, which is the same for both."""
    reading = "".join(
        f'{{{{ with secret \\"{mount}/data/dev/app/{path}\\" }}}}{{{{ range $k, $v := .Data.data }}}}{{{{ $k }}}}='
        "{{ $v }};{{ end }}{{ .Data.metadata.version }} {{ end }}"
        for path in ("db", "object")
    )
    (place / "agent.hcl").write_text(f"""
        auto_auth {{ {method} }}
        template {{
            contents    = "{reading}"
            destination = "{place}/rendered"
        }}
    """)


def by_agent(url: str, place: Path) -> str:
    """Let the agent render by its configuration, and return what it wrote."""
    (place / "rendered").unlink(missing_ok=True)
    with running("agent", url, place):
        until(lambda: rendered(place).count(" ") == 2, place)
        return rendered(place)


def sign_in_there(old: Any, mount: str) -> tuple[str, str]:
    """Return the parts of an AppRole of the old Vault that reads a mount."""
    with suppress(hvac.exceptions.InvalidRequest):
        old.sys.enable_auth_method("approle")
    old.sys.create_or_update_policy(mount, f'path "{mount}/*" {{ capabilities = ["read", "list"] }}')
    role = old.auth.approle
    role.create_or_update_approle(mount, token_policies=[mount])
    return (
        role.read_role_id(mount)["data"]["role_id"], role.generate_secret_id(mount)["data"]["secret_id"],
    )  # fmt: skip


def put(old: Any, mount: str, path: str, content: dict[str, Any]) -> None:
    """Write to the old Vault, which takes no versions in the moment after the mount was made."""
    for _ in range(100):
        with suppress(hvac.exceptions.InvalidRequest):
            old.secrets.kv.v2.create_or_update_secret(path, content, mount_point=mount)
            return
        time.sleep(0.05)
    raise AssertionError("the mount takes no versions")


def test_only_address_and_token_change(
    cast: Cast, address: str, openbao: tuple[str, str], tmp_path: Path, settings: Settings
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    url, root = openbao
    mount = f"teams{uuid4().hex[:8]}"
    old: Any = hvac.Client(url=url, token=root)
    old.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
    for path, contents in (("db", [{"value": "one"}, {"value": "two"}]), ("object", [{"user": "a", "n": 1}])):
        for content in contents:
            put(old, mount, f"dev/app/{path}", content)
    role, secret = sign_in_there(old, mount)
    configure_agent(tmp_path, approle(tmp_path, ""), mount)
    (tmp_path / "role").write_text(role)
    (tmp_path / "secret").write_text(secret)
    configuration = (tmp_path / "agent.hcl").read_bytes()
    before = [by_hvac(url, root, mount), by_bao(url, root, mount, tmp_path), by_agent(url, tmp_path)]
    assert before[2] == "value=two;2 n=1;user=a;1 "
    migration = service.start(
        actor=cast.principal(cast.alice),
        source="vault",
        settings={"address": url},
        credentials={"token": root},
        rules=[Rule(place=mount, how=How.FIRST_FOLDER, environments={"dev": str(cast.development.uuid)})],
    )
    apply(cast, work(migration), who=cast.alice)
    own = token(cast, "reader")
    approle(tmp_path, own)
    after = [by_hvac(address, own, mount), by_bao(address, own, mount, tmp_path), by_agent(address, tmp_path)]
    assert after == before
    assert (tmp_path / "agent.hcl").read_bytes() == configuration
    old.sys.disable_secrets_engine(mount)
