"""OpenBao, a Vault-compatible server, on raft storage with a file audit device and KV version 2."""

import json
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.server import Server, free_port

CONFIGURATION = """
disable_mlock = true
api_addr      = "http://127.0.0.1:{port}"
cluster_addr  = "http://127.0.0.1:{cluster_port}"
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable     = true
}}
storage "raft" {{
  path                   = "{directory}/raft"
  node_id                = "node"
  performance_multiplier = 1
}}
audit "file" "file" {{
  options = {{ file_path = "{directory}/audit.log" }}
}}
"""


class OpenBao(Server):
    """An initialised and unsealed OpenBao with KV version 2 at `secret/`."""

    name: ClassVar[str] = "openbao"
    program: ClassVar[str] = "bao"
    package: ClassVar[str] = "requirements-dev.txt (make install)"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.token = ""
        self._keys: list[str] = []

    def prepare(self) -> None:
        """Write the configuration file; audit devices can only be declared there."""
        (self.directory / "raft").mkdir()
        text = CONFIGURATION.format(port=self.port, cluster_port=free_port(), directory=self.directory)
        (self.directory / "bao.hcl").write_text(text)

    def command(self) -> list[str]:
        """Return bao's server with that file."""
        return [self.find(self.program), "server", f"-config={self.directory / 'bao.hcl'}"]

    def ready(self) -> bool:
        """Say whether its API answers, sealed or not."""
        try:
            self._call("GET", "sys/seal-status")
        except OSError:
            return False
        return True

    def prepare_running(self) -> None:
        """Initialise with one key, unseal, and mount KV version 2."""
        made = self._call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.token, self._keys = made["root_token"], made["keys"]
        self._unseal()
        self._call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        # A write right after mounting may find the mount still being upgraded.
        self.until(self._is_writable)

    def start_again(self) -> None:
        """Start what was stopped or killed on what it left, and unseal it."""
        super().start_again()
        self._unseal()

    def environment(self) -> dict[str, str]:
        """Return the address and the root token."""
        return {
            "KEEPER_TEST_OPENBAO_URL": f"http://127.0.0.1:{self.port}",
            "KEEPER_TEST_OPENBAO_TOKEN": self.token,
        }

    def _unseal(self) -> None:
        for key in self._keys:
            self._call("PUT", "sys/unseal", {"key": key})
        self.until(self._is_active)

    def _is_active(self) -> bool:
        return self._succeeds("GET", "sys/health")

    def _is_writable(self) -> bool:
        return self._succeeds("POST", "secret/data/ready", {"data": {"ready": "yes"}})

    def _succeeds(self, method: str, path: str, body: dict[str, Any] | None = None) -> bool:
        try:
            self._call(method, path, body)
        except OSError:
            return False
        return True

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": self.token} if self.token else {},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            text = reply.read()
        answer: dict[str, Any] = json.loads(text) if text else {}
        return answer
