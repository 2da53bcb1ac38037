"""PostgreSQL with SCRAM over TLS, whose superuser has a password, and which logs every statement."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from tests.servers.certificates import write_certificates
from tests.servers.server import Server, ServerFailed

SUPERUSER = "postgres"
PASSWORD = "for tests only"
# PostgreSQL refuses to run as root; Debian's package makes this account.
ACCOUNT = "postgres"


class PostgreSql(Server):
    """A PostgreSQL that trusts nobody without a password, also on the loopback address."""

    name: ClassVar[str] = "postgresql"
    program: ClassVar[str] = "postgres"
    package: ClassVar[str] = "the Debian package postgresql"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.data = Path()

    def prepare(self) -> None:
        """Write the system tables, where the account of the server may look."""
        # Not below `directory`, whose parents nobody but their owner may enter.
        self.data = Path(tempfile.mkdtemp(prefix="keeper-postgresql-"))
        write_certificates(self.data)
        (self.directory / "ca.pem").write_bytes((self.data / "ca.pem").read_bytes())
        password = self.data / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.data, *self.data.iterdir()):
                shutil.chown(path, ACCOUNT, ACCOUNT)
        made = subprocess.run(
            self._as_account(
                self.find("initdb"),
                f"--pgdata={self.data / 'pgdata'}",
                f"--username={SUPERUSER}",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ),
            capture_output=True,
            check=False,
        )
        if made.returncode:
            raise ServerFailed(f"initdb failed:\n{made.stderr.decode(errors='replace')}")

    def command(self) -> list[str]:
        """Return postgres with settings for short-lived data."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "ssl": "on",
            "ssl_cert_file": str(self.data / "server.pem"),
            "ssl_key_file": str(self.data / "server.key"),
            "log_statement": "all",
            "fsync": "off",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return self._as_account(self.find(self.program), "-D", str(self.data / "pgdata"), *options)

    def ready(self) -> bool:
        """Say whether it takes connections."""
        address = ["-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run([self.find("pg_isready"), "-q", *address], check=False).returncode == 0

    def stop(self) -> None:
        """Stop it, and remove its data."""
        super().stop()
        if self.data != Path():
            shutil.rmtree(self.data, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """Return the address, the superuser's password, the authority to trust, and the log."""
        return {
            "KEEPER_TEST_POSTGRESQL_PORT": str(self.port),
            "KEEPER_TEST_POSTGRESQL_CA": str(self.directory / "ca.pem"),
            "KEEPER_TEST_POSTGRESQL_LOG": str(self.log),
        }

    def find(self, program: str) -> str:
        """Return the path of a program; Debian keeps those of each version in a directory of its own."""
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        if versions and (versions[-1] / program).exists():
            return str(versions[-1] / program)
        return super().find(program)

    def _as_account(self, *command: str) -> list[str]:
        if os.geteuid() != 0:
            return list(command)
        return ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups", *command]


class Standby(PostgreSql):
    """A streaming replica of one that runs, with certificates of its own authority."""

    name: ClassVar[str] = "postgresql-standby"

    def __init__(self, directory: Path, *, primary: int) -> None:
        super().__init__(directory)
        self.primary = primary

    def prepare(self) -> None:
        """Copy the primary, and follow it from then on."""
        self.data = Path(tempfile.mkdtemp(prefix="keeper-postgresql-"))
        write_certificates(self.data)
        (self.directory / "ca.pem").write_bytes((self.data / "ca.pem").read_bytes())
        if os.geteuid() == 0:
            for path in (self.data, *self.data.iterdir()):
                shutil.chown(path, ACCOUNT, ACCOUNT)
        made = subprocess.run(
            self._as_account(
                self.find("pg_basebackup"),
                f"--pgdata={self.data / 'pgdata'}",
                f"--dbname=host=127.0.0.1 port={self.primary} user={SUPERUSER} password='{PASSWORD}'",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
            ),
            capture_output=True,
            check=False,
        )
        if made.returncode:
            raise ServerFailed(f"pg_basebackup failed:\n{made.stderr.decode(errors='replace')}")
