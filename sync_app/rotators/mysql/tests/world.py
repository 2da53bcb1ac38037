"""Accounts of a MariaDB, changed by each of its plug-ins."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pymysql
import pytest

from sync_app.rotators.mysql.rotator import MySql
from sync_app.tests.rotators.worlds import DatabaseWorld, documented_grants
from tests.servers.mariadb import RotatedMariaDb


class MariaDbWorld(DatabaseWorld):
    """Accounts whose names need quoting, under modes that change what quotes mean."""

    kind = MySql
    fixture = "mariadb"
    engine = "mariadb"
    plugin = "mysql_native_password"

    def __init__(self, server: RotatedMariaDb) -> None:
        self.server, self.port = server, server.port
        self.ca = server.directory / "ca.pem"
        super().__init__()

    def username(self, letter: str) -> str:
        return f"a`p'p\"\\%s {letter} {self.mark}"

    def settings(self) -> dict[str, str]:
        return {
            **super().settings(),
            "login_a": "`" + self.users[0].replace("`", "``") + "`@'127.0.0.%'",
            "login_b": "'" + self.users[1].replace("'", "''") + "'",
        }

    def build(self) -> None:
        self.execute(f"CREATE DATABASE app_{self.mark}")
        for user in self.users:
            host = "127.0.0.%"
            statement = f"CREATE USER %s@%s IDENTIFIED VIA {self.plugin} USING PASSWORD(%s)"
            self.execute(statement, user, host, f"first-{self.mark}")
            self.execute(f"GRANT SELECT, INSERT ON app_{self.mark}.* TO %s@%s", user, host)
        self.execute("CREATE USER %s@'%%' IDENTIFIED BY %s REQUIRE SSL", self.administrator, self.password)
        for grant in documented_grants("MySQL and MariaDB"):
            self.execute(grant.replace("keeper_rotator", self.administrator))

    def set_password(self, user: str, password: str) -> None:
        for (host,) in self.execute("SELECT Host FROM mysql.user WHERE User = %s", user):
            statement = f"ALTER USER %s@%s IDENTIFIED VIA {self.plugin} USING PASSWORD(%s)"
            self.execute(statement, user, host, password)

    def grant_to_a_alone(self) -> None:
        self.execute(f"GRANT DELETE ON app_{self.mark}.* TO %s@%s", self.users[0], "127.0.0.%")

    def grant_to_b_too(self) -> None:
        self.execute(f"GRANT DELETE ON app_{self.mark}.* TO %s@%s", self.users[1], "127.0.0.%")

    @contextmanager
    def connected(self, **options: Any) -> Iterator[Any]:
        place: dict[str, Any] = {"host": self.host, "port": self.port, "autocommit": True}
        with closing(pymysql.connect(**(place | options))) as connection, connection.cursor() as cursor:
            yield cursor

    def execute(self, statement: Any, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connected(user="root") as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

    def works(self, value: str) -> bool:
        fields = json.loads(value)
        try:
            with self.connected(
                user=fields["username"], password=fields["password"].encode(), database=fields["dbname"]
            ) as cursor:
                cursor.execute("SELECT 1")
        except pymysql.OperationalError as error:
            if error.args[0] == 1045:
                return False
            raise
        return True

    def logged(self) -> str:
        return self.server.general_log.read_text(errors="replace")


class Ed25519World(MariaDbWorld):
    """The same with MariaDB's other plug-in."""

    fixture = "mariadb_ed25519"
    plugin = "ed25519"


@pytest.fixture
def mariadb(rotated_mariadb: RotatedMariaDb) -> MariaDbWorld:
    return MariaDbWorld(rotated_mariadb)


@pytest.fixture
def mariadb_ed25519(rotated_mariadb: RotatedMariaDb) -> Ed25519World:
    return Ed25519World(rotated_mariadb)
