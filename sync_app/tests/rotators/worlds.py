"""Systems whose credentials rotate, each with Keeper's rotator and an application's own client beside it."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import psycopg
import pymysql
from botocore.exceptions import ClientError
from psycopg import sql

from sync_app.rotators.aws_iam.rotator import AwsIam
from sync_app.rotators.base import Fence, Rotator
from sync_app.rotators.generated.rotator import GeneratedValue
from sync_app.rotators.mysql.rotator import MySql
from sync_app.rotators.postgresql.rotator import PostgreSql
from tests.aws_strict.faults import Plan
from tests.servers.mariadb import RotatedMariaDb
from tests.servers.postgresql import PASSWORD, SUPERUSER

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "rotation.md"


def documented_grants(engine: str) -> list[str]:
    """Return the GRANT statements that docs/rotation.md tells an administrator to give."""
    (block,) = blocks(engine, "sql")
    return [line.rstrip(";") for line in block.splitlines() if line.startswith("GRANT")]


def blocks(section: str, language: str) -> list[str]:
    text = DOCUMENT.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def fence(still_ours: Callable[[], bool] = lambda: True, *, seconds: int = 20) -> Fence:
    return Fence(run=uuid4(), epoch=1, seconds=seconds, is_held=still_ours)


class World(ABC):
    """One policy's credentials in a system; `current` is what the secret holds at first."""

    current: str
    kind: type[Rotator]

    @abstractmethod
    def settings(self) -> dict[str, str]: ...

    @abstractmethod
    def admin(self) -> dict[str, str]: ...

    def rotator(self, **changes: str) -> Rotator:
        """Return Keeper's side, with some fields of settings or admin changed."""
        names = {field.name for field in self.kind.admin_fields}
        settings = self.settings() | {key: text for key, text in changes.items() if key not in names}
        admin = self.admin() | {key: text for key, text in changes.items() if key in names}
        return self.kind(settings=settings, admin=admin)

    @abstractmethod
    def works(self, value: str) -> bool:
        """Use a value as an application does."""

    @abstractmethod
    def spoiled(self, value: str) -> str:
        """Return the value with another secret."""


class DatabaseWorld(World):
    """A database server with users A and B and an administrator that has the documented rights."""

    engine: str
    host = "127.0.0.1"
    port: int
    ca: Path

    def __init__(self) -> None:
        self.mark = uuid4().hex[:8]
        self.users = [self.username(letter) for letter in "ab"]
        self.administrator, self.password = f"keeper_{self.mark}", f"p'a\"s\\s%s;$ö{self.mark}"
        self.current = json.dumps(
            {
                "engine": self.engine,
                "host": self.host,
                "port": self.port,
                "username": self.users[0],
                "password": f"first-{self.mark}",
                "dbname": f"app_{self.mark}",
                "masterarn": "arn:aws:kept",
            }
        )
        self.build()

    @abstractmethod
    def username(self, letter: str) -> str: ...

    @abstractmethod
    def build(self) -> None: ...

    @abstractmethod
    def execute(self, statement: Any, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the server's own superuser."""

    @abstractmethod
    def set_password(self, user: str, password: str) -> None:
        """Change a password as somebody would who goes round Keeper."""

    @abstractmethod
    def grant_to_a_alone(self) -> None:
        """Let A do something that B may not."""

    @abstractmethod
    def grant_to_b_too(self) -> None:
        """Let B do what A may."""

    @abstractmethod
    def logged(self) -> str:
        """Return all that the server wrote to its logs."""

    def settings(self) -> dict[str, str]:
        return {
            "host": self.host,
            "port": str(self.port),
            "ca_certificate": self.ca.read_text(),
            "login_a": self.users[0],
            "login_b": self.users[1],
        }

    def admin(self) -> dict[str, str]:
        return {"username": self.administrator, "password": self.password}

    def spoiled(self, value: str) -> str:
        return json.dumps({**json.loads(value), "password": "no-" + self.mark})


class MariaDbWorld(DatabaseWorld):
    """Accounts whose names need quoting, under modes that change what quotes mean."""

    kind = MySql
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

    plugin = "ed25519"


class PostgreSqlWorld(DatabaseWorld):
    """Roles whose names need quoting."""

    kind = PostgreSql
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


class IamWorld(World):
    """A user of a moto that checks signatures and policies, behind the layer that knows inactive keys."""

    kind = AwsIam

    def __init__(self, url: str, plan: Plan, root: Any) -> None:
        self.url, self.plan, self.root = url, plan, root
        mark = uuid4().hex[:8]
        self.user, administrator = f"app-{mark}", f"keeper-{mark}"
        for name in (self.user, administrator):
            root.create_user(UserName=name)
        (policy,) = blocks("AWS IAM", "json")
        # moto judges actions, and takes every resource of IAM for "*".
        policy = re.sub(r'"arn:[^"]*"', '"*"', policy)
        root.put_user_policy(UserName=administrator, PolicyName="rotation", PolicyDocument=policy)
        self.administrator = root.create_access_key(UserName=administrator)["AccessKey"]
        made = root.create_access_key(UserName=self.user)["AccessKey"]
        fields = {name: made[name] for name in ("UserName", "AccessKeyId", "SecretAccessKey")}
        self.current = json.dumps({**fields, "comment": "kept"})

    def settings(self) -> dict[str, str]:
        place = {"iam_endpoint": self.url, "sts_endpoint": self.url}
        return {"user_name": self.user, "region": "eu-central-1", **place}

    def admin(self) -> dict[str, str]:
        return {
            "access_key_id": self.administrator["AccessKeyId"],
            "secret_access_key": self.administrator["SecretAccessKey"],
        }

    def client(self, value: str) -> Any:
        fields = json.loads(value)
        return boto3.client(
            "sts",
            region_name="eu-central-1",
            endpoint_url=self.url,
            aws_access_key_id=fields["AccessKeyId"],
            aws_secret_access_key=fields["SecretAccessKey"],
        )

    def works(self, value: str) -> bool:
        try:
            self.client(value).get_caller_identity()
        except ClientError as error:
            if error.response["Error"]["Code"] in {"InvalidClientTokenId", "SignatureDoesNotMatch"}:
                return False
            raise
        return True

    def spoiled(self, value: str) -> str:
        return json.dumps({**json.loads(value), "SecretAccessKey": "wrong"})

    def key_ids(self) -> list[str]:
        listed = self.root.list_access_keys(UserName=self.user)["AccessKeyMetadata"]
        return [key["AccessKeyId"] for key in listed]


class GeneratedWorld(World):
    """Nothing but Keeper."""

    kind = GeneratedValue
    current = "first"

    def settings(self) -> dict[str, str]:
        return {"kind": "password"}

    def admin(self) -> dict[str, str]:
        return {}

    def works(self, value: str) -> bool:
        return True

    def spoiled(self, value: str) -> str:
        return value + "x"
