"""PostgreSQL: two roles take turns; the server is sent SCRAM verifiers, never a password.

Rights of the administrator: CREATEROLE, and from PostgreSQL 16 on ADMIN OPTION on both roles.
Nothing else is used.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from core.network.limits import limited
from sync_app.backends.capabilities import FormField
from sync_app.errors import (
    BadDestination,
    LoginMissing,
    PermissionMissing,
    RequestRefused,
    UnsupportedAuthPlugin,
)
from sync_app.rotators.ab_logins import LOGIN_FIELDS, AbLogins, require_client
from sync_app.rotators.base import Fence, LoginDifference
from sync_app.rotators.credential_json import DatabaseCredential
from sync_app.rotators.endpoint import Endpoint, endpoint_fields

if TYPE_CHECKING:
    from psycopg import Connection

_SPLIT_OF_ADMIN_OPTION: Final = 160_000
# Of SQLSTATE: no answer to this statement.
_LOST: Final = ("08", "57", "25")
# Of one comparison, in all databases where a login has anything.
_COMPARE_SECONDS: Final = 20
# GRANT by a role that may grant nothing of it: a warning, after which nothing was done.
_NOT_GRANTED: Final = {"01007", "01006"}
_RIGHTS: Final = """
    SELECT rolname, rolcanlogin, rolsuper, pg_has_role(rolname, 'MEMBER WITH ADMIN OPTION')
      FROM pg_roles WHERE rolname = ANY(%s)
"""


class PostgreSql(AbLogins):
    """Two roles of one PostgreSQL server."""

    label: ClassVar[str] = "PostgreSQL logins"
    icon: ClassVar[str] = "database"
    engines: ClassVar[frozenset[str]] = frozenset({"postgres", "postgresql"})
    settings_fields: ClassVar[tuple[FormField, ...]] = (
        *endpoint_fields(5432),
        FormField(
            name="database", label="Database", default="postgres", help="Where the administrator connects."
        ),
        *LOGIN_FIELDS,
    )
    not_compared: ClassVar[str] = "pg_hba.conf, unless Keeper's administrator may read pg_hba_file_rules"

    @property
    def endpoint(self) -> str:
        return f"postgresql://{self.server.host}:{self.server.port}"

    def check_setup(self, current: str) -> None:
        """Log in as the administrator, and look at its rights and both roles."""
        self._credential(current)
        with self._session(self.probe_seconds) as connection:
            attributes = connection.execute(
                "SELECT rolcreaterole, rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            may_create, is_superuser = attributes or (False, False)
            if not (may_create or is_superuser):
                raise PermissionMissing("the administrator lacks the attribute CREATEROLE")
            split = connection.info.server_version >= _SPLIT_OF_ADMIN_OPTION
            roles = {row[0]: row[1:] for row in connection.execute(_RIGHTS, (list(self.logins),)).fetchall()}
            for login in self.logins:
                if login not in roles:
                    raise LoginMissing(f"there is no role {login}: create it, with A's grants")
                can_log_in, login_is_superuser, is_admin_of = roles[login]
                if not can_log_in:
                    raise UnsupportedAuthPlugin(f"the role {login} has NOLOGIN: ALTER ROLE {login} LOGIN")
                if not is_superuser and (login_is_superuser or (split and not is_admin_of)):
                    raise PermissionMissing(f"the administrator lacks ADMIN OPTION on the role {login}")

    def compare_logins(self, current: str) -> tuple[LoginDifference, ...]:
        """Compare by the catalogues, read as the served login wherever one of both has anything."""
        from sync_app.rotators.postgresql import grants, logins

        served = self._credential(current)
        old, new = self._turns(current)
        found: list[LoginDifference] = []
        with limited(_COMPARE_SECONDS):
            with self._session(self.probe_seconds) as connection:
                found += logins.compare_addresses(connection, old=old, new=new)
            with self._open_catalogues(served) as connection:
                found += logins.compare_roles(connection, old=old, new=new)
                found += grants.compare_in_database(connection, old=old, new=new)
                others = logins.other_databases(connection, old=old, new=new)
            for database in others:
                there = replace(served, dbname=database)
                with self._open_catalogues(there) as connection:
                    found += grants.compare_in_database(connection, old=old, new=new)
        return tuple(found)

    def align_logins(
        self,
        differences: Sequence[LoginDifference],
        *,
        current: str,
        allowed: Callable[[], None] | None = None,
    ) -> tuple[LoginDifference, ...]:
        """Run each statement behind a savepoint; unless it is `allowed`, all of it is rolled back."""
        self._turns(current)
        done = list(differences)
        with limited(_COMPARE_SECONDS), ExitStack() as held:
            if allowed is not None:
                # Advisory locks are those of one database: here the one in which passwords are changed.
                holder = held.enter_context(self._session(_COMPARE_SECONDS))
                held.enter_context(holder.transaction())
                self._lock(holder, _COMPARE_SECONDS * 1000)
                allowed()
            places = dict.fromkeys(each.database or self.settings["database"] for each in done if each.sql)
            for place in places:
                here = [
                    number
                    for number, each in enumerate(done)
                    if each.sql and (each.database or self.settings["database"]) == place
                ]
                try:
                    self._align_in(place, done, here, keep=allowed is not None)
                except (RequestRefused, PermissionMissing) as error:
                    # No session in this database.
                    for number in here:
                        done[number] = replace(done[number], refused=str(error))
        return tuple(done)

    def _align_in(
        self, database: str, done: list[LoginDifference], here: Sequence[int], *, keep: bool
    ) -> None:
        import psycopg

        name, password = self._admin["username"], self._admin["password"]
        with self._connect(self.server, name, password, self.probe_seconds, database) as connection:
            warned: set[str] = set()
            connection.add_notice_handler(lambda notice: warned.add(notice.sqlstate or ""))
            with connection.transaction(force_rollback=not keep):
                self._limit_waits(connection, self.probe_seconds * 1000 // 2)
                for number in here:
                    warned.clear()
                    refused = ""
                    try:
                        with connection.transaction():
                            connection.execute(done[number].sql.encode())
                    except psycopg.Error as error:
                        if error.sqlstate is None or error.sqlstate.startswith(_LOST):
                            raise
                        refused = f"Keeper's administrator may not run it ({error.sqlstate})"
                    if warned & _NOT_GRANTED:
                        refused = "Keeper's administrator has no right to grant it"
                    done[number] = replace(done[number], refused=refused)

    def _limit_waits(self, connection: "Connection[Any]", milliseconds: int) -> None:
        """Let the server end a transaction that waits, or is left."""
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(f"SET LOCAL {name} = {milliseconds}")

    def _lock(self, connection: "Connection[Any]", milliseconds: int) -> None:
        """Take the lock of these two logins until the end of the transaction."""
        self._limit_waits(connection, milliseconds)
        key = int.from_bytes(self._lock_digest()[:8], signed=True)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (key,))

    def _usernames(self) -> tuple[str, str]:
        if self._admin["username"] in {self.settings["login_a"], self.settings["login_b"]}:
            raise BadDestination("choose an administrator login other than A and B", field="username")
        return self.settings["login_a"], self.settings["login_b"]

    def _change_password(self, username: str, password: str, *, fence: Fence, locked: bool) -> None:
        """Change the password in a transaction that holds the lock, and that the server ends if left.

        A role is not given NOLOGIN: the server would report it only after a correct password, and with an
        error that pg_hba.conf causes as well, so no probe could prove anything.
        """
        del locked
        with self._session(fence.seconds) as connection:
            from psycopg import sql

            from sync_app.rotators.postgresql.client import compute_verifier

            hashed = compute_verifier(connection, username=username, password=password)
            with connection.transaction():
                self._lock(connection, max(250, fence.seconds * 1000 // 4))
                fence.require_held()

                connection.execute(
                    sql.SQL("ALTER ROLE {} WITH PASSWORD {}").format(
                        sql.Identifier(username), sql.Literal(hashed)
                    )
                )

    def _log_in(self, server: Endpoint, credential: DatabaseCredential) -> None:
        with self._open_session(server, credential) as connection:
            connection.execute("SELECT 1")

    @contextmanager
    def _open_session(self, server: Endpoint, credential: DatabaseCredential) -> Iterator["Connection[Any]"]:
        database = credential.dbname or self.settings["database"]
        with self._connect(
            server, credential.username, credential.password, self.probe_seconds, database
        ) as connection:
            yield connection

    @contextmanager
    def _open_catalogues(self, credential: DatabaseCredential) -> Iterator["Connection[Any]"]:
        """Log in to read catalogues: names come with their schema, and no setting of the login counts."""
        with self._open_session(self.server, credential) as connection:
            connection.execute(
                "SET ROLE NONE; SET search_path = pg_catalog; SET jit = off; "
                f"SET statement_timeout = {self.probe_seconds * 1000}"
            )
            yield connection

    @contextmanager
    def _session(self, seconds: int) -> Iterator["Connection[Any]"]:
        with self._connect(
            self.server, self._admin["username"], self._admin["password"], seconds, self.settings["database"]
        ) as connection:
            yield connection

    @contextmanager
    def _connect(
        self, server: Endpoint, username: str, password: str, seconds: int, database: str
    ) -> Iterator["Connection[Any]"]:
        with require_client("the rotator for PostgreSQL needs psycopg"):
            from sync_app.rotators.postgresql.client import connect
        with connect(
            server, username=username, password=password, seconds=seconds, database=database
        ) as connection:
            yield connection
