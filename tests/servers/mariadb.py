"""MariaDB, with a root that has no password and listens on the loopback address only."""

import subprocess
from pathlib import Path
from typing import ClassVar

from tests.servers.certificates import write_certificates
from tests.servers.server import Server, ServerFailed


class MariaDb(Server):
    """A MariaDB without a binary log; tests make their own databases in it."""

    name: ClassVar[str] = "mariadb"
    program: ClassVar[str] = "mariadbd"
    package: ClassVar[str] = "the Debian package mariadb-server"

    def prepare(self) -> None:
        """Write the system tables."""
        installed = subprocess.run(
            [
                self.find("mariadb-install-db"),
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--user=root",
                f"--datadir={self.directory / 'data'}",
                # Its temporary tables are named by process and thread: two at once would meet in /tmp.
                f"--tmpdir={self.directory}",
            ],
            capture_output=True,
            check=False,
        )
        if installed.returncode:
            raise ServerFailed(f"mariadb-install-db failed:\n{installed.stderr.decode(errors='replace')}")

    def command(self) -> list[str]:
        """Return mariadbd with settings for short-lived data."""
        return [
            self.find(self.program),
            "--no-defaults",
            "--user=root",
            f"--datadir={self.directory / 'data'}",
            f"--tmpdir={self.directory}",
            f"--socket={self.directory / 'mariadb.sock'}",
            f"--pid-file={self.directory / 'mariadb.pid'}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=128M",
            # All reaches the operating system, and nothing waits for the disk, which takes two thirds of a
            # migration: a killed process loses nothing, and a lost machine takes its tests along.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-flush-method=nosync",
            "--skip-innodb-doublewrite",
            "--max-connections=200",
        ]

    def ready(self) -> bool:
        """Say whether root can log in."""
        return self._client("SELECT 1").returncode == 0

    def prepare_running(self) -> None:
        """Make the database that DATABASE_URL names."""
        self._client("CREATE DATABASE keeper CHARACTER SET utf8mb4").check_returncode()

    def environment(self) -> dict[str, str]:
        """Return the URL; pytest-django puts `test_` before the name and the worker after it."""
        return {"KEEPER_TEST_MARIADB_URL": f"mysql://root@127.0.0.1:{self.port}/keeper"}

    def _client(self, statement: str) -> subprocess.CompletedProcess[bytes]:
        address = ["--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}"]
        return subprocess.run(
            [self.find("mariadb"), "--no-defaults", "--user=root", *address, "--execute", statement],
            capture_output=True,
            check=False,
        )


class RotatedMariaDb(MariaDb):
    """A MariaDB for the rotators: TLS, a log of every statement, and the sql_modes that break quoting."""

    name: ClassVar[str] = "rotated-mariadb"

    def prepare(self) -> None:
        """Write certificates as well."""
        super().prepare()
        write_certificates(self.directory)

    def command(self) -> list[str]:
        """Return mariadbd with TLS, the general log and ed25519."""
        return [
            *super().command(),
            f"--ssl-ca={self.directory / 'ca.pem'}",
            f"--ssl-cert={self.directory / 'server.pem'}",
            f"--ssl-key={self.directory / 'server.key'}",
            "--general-log",
            f"--general-log-file={self.general_log}",
            "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
            "--plugin-load-add=auth_ed25519",
        ]

    @property
    def general_log(self) -> Path:
        """The file with every statement that the server was sent."""
        return self.directory / "general.log"
