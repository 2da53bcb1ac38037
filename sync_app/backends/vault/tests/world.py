"""A real OpenBao, and another client beside Keeper."""

import json
from collections.abc import Iterator
from typing import Any

import hvac
import pytest

from sync_app.backends.base import Backend
from sync_app.backends.vault.backend import VaultKv2
from sync_app.tests.worlds import World
from tests.servers.openbao import OpenBao


class VaultWorld(World):
    """A real OpenBao."""

    kind = "vault_kv2"
    fixture = "vault"
    absent = hvac.exceptions.InvalidPath
    # Its answers are played by the tests of its folder, where requests of another library can be met.
    plays_faults = False
    item_folders = ("data", "metadata", "detailed-metadata")

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self.url, self.token = url, token
        self.destination = {"address": url, "prefix": self.prefix}
        self.credentials = {"token": token}
        self.client = hvac.Client(url=url, token=token)
        self.kv = self.client.secrets.kv.v2

    def backend(self, **changes: str) -> Backend:
        given = self.destination | self.credentials | changes
        secret = {field.name for field in VaultKv2.credential_fields}
        return VaultKv2(
            destination={key: text for key, text in given.items() if key not in secret},
            credentials={key: text for key, text in given.items() if key in secret},
        )

    def write(self, path: str, value: str) -> None:
        self.kv.create_or_update_secret(path, {"value": value}, mount_point="secret")

    def value(self, path: str) -> str:
        content = self.content(path)
        text = content.get("value")
        return text if isinstance(text, str) and len(content) == 1 else json.dumps(content, sort_keys=True)

    def put(self, path: str, content: dict[str, Any]) -> None:
        """Write keys as another client does."""
        self.kv.create_or_update_secret(path, content, mount_point="secret")

    def content(self, path: str) -> dict[str, Any]:
        """Read all keys."""
        reply = self.kv.read_secret_version(path, mount_point="secret", raise_on_deleted_version=True)
        content: dict[str, Any] = reply["data"]["data"]
        return content

    def remove(self, path: str) -> None:
        self.kv.delete_latest_version_of_secret(path, mount_point="secret")

    def label(self, path: str, key: str, text: str) -> None:
        self.kv.update_metadata(path, custom_metadata={key: text}, mount_point="secret")

    def labels(self, path: str) -> dict[str, str]:
        reply = self.kv.read_secret_metadata(path, mount_point="secret")
        return dict(reply["data"]["custom_metadata"] or {})


@pytest.fixture
def vault(openbao: tuple[str, str]) -> VaultWorld:
    return VaultWorld(*openbao)


@pytest.fixture(scope="module")
def second_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Another OpenBao, which is another cluster: one for all tests of a file, as it takes seconds to start."""
    server = OpenBao(tmp_path_factory.mktemp("second_vault"))
    try:
        server.start()
        server.wait()
        addresses = server.environment()
        yield addresses["KEEPER_TEST_OPENBAO_URL"], addresses["KEEPER_TEST_OPENBAO_TOKEN"]
    finally:
        server.stop()
