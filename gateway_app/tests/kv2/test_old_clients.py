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
from gateway_app.tests.kv2.test_clients import WAIT_SECONDS, address, program
from sync_app.migration import engine, service
from sync_app.migration.placing import How, Rule
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
    before = [by_hvac(url, root, mount), by_bao(url, root, mount, tmp_path)]
    alice = cast.principal(cast.alice)
    migration = service.start(
        actor=alice,
        source="vault",
        settings={"address": url},
        credentials={"token": root},
        rules=[Rule(place=mount, how=How.FIRST_FOLDER, environments={"dev": str(cast.development.uuid)})],
    )
    engine.execute(migration.pk)
    migration.refresh_from_db()
    service.request_apply(actor=alice, migration=migration, digest=migration.plan_digest)
    engine.execute(migration.pk)
    own = token(cast, "reader")
    assert [by_hvac(address, own, mount), by_bao(address, own, mount, tmp_path)] == before
    old.sys.disable_secrets_engine(mount)
