"""Roles of a PostgreSQL."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from sync_app.rotators.postgresql.rotator import PostgreSql
from sync_app.tests.rotators.worlds import DatabaseWorld, documented_grants
from tests.servers.postgresql import PASSWORD, SUPERUSER


class PostgreSqlWorld(DatabaseWorld):
    """Roles whose names need quoting."""

    kind = PostgreSql
    fixture = "postgres"
    engine = "postgres"

    def __init__(self, environment: dict[str, str]) -> None:
        self.port = int(environment["KEEPER_TEST_POSTGRESQL_PORT"])
        self.ca = Path(environment["KEEPER_TEST_POSTGRESQL_CA"])
        self.log = Path(environment["KEEPER_TEST_POSTGRESQL_LOG"])
        super().__init__()

    def username(self, letter: str) -> str:
        return f"a`p'p\"\\%s {letter} {self.mark}"

    def build(self) -> None:
        self.execute(f"CREATE DATABASE app_{self.mark}")
        self.execute(f"REVOKE CONNECT ON DATABASE app_{self.mark} FROM PUBLIC")
        database = sql.Identifier(f"app_{self.mark}")
        for user in self.users:
            role, password = sql.Identifier(user), sql.Literal(f"first-{self.mark}")
            self.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
            self.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
        administrator = sql.Identifier(self.administrator)
        create = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}")
        self.execute(create.format(administrator, sql.Literal(self.password)))
        (version,) = self.execute("SHOW server_version_num")[0]
        for grant in documented_grants("PostgreSQL") if int(version) >= 160_000 else []:
            roles = sql.SQL(", ").join(map(sql.Identifier, self.users)).as_string()
            statement = grant.replace("app_a, app_b", roles).replace("keeper_rotator", self.administrator)
            self.execute(statement.encode())

    def set_password(self, user: str, password: str) -> None:
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        self.execute(statement.format(sql.Identifier(user), sql.Literal(password)))

    def grant_to_a_alone(self) -> None:
        self._let_create(self.users[0])

    def grant_to_b_too(self) -> None:
        self._let_create(self.users[1])

    def _let_create(self, user: str) -> None:
        statement = sql.SQL("GRANT CREATE ON DATABASE {} TO {}")
        self.execute(statement.format(sql.Identifier(f"app_{self.mark}"), sql.Identifier(user)))

    @contextmanager
    def connected(self, **options: Any) -> Iterator[psycopg.Connection[Any]]:
        place: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "sslrootcert": str(self.ca),
            "sslmode": "verify-full",
        }
        with psycopg.connect(**(place | options), autocommit=True) as connection:
            yield connection

    def execute(self, statement: Any, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connected(user=SUPERUSER, password=PASSWORD, dbname="postgres") as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def works(self, value: str) -> bool:
        fields = json.loads(value)
        try:
            with self.connected(
                user=fields["username"], password=fields["password"], dbname=fields["dbname"]
            ) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                return False
            raise
        return True

    def logged(self) -> str:
        return self.log.read_text(errors="replace")


@pytest.fixture
def postgres(postgresql: dict[str, str]) -> PostgreSqlWorld:
    return PostgreSqlWorld(postgresql)
