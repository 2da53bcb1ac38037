"""PostgreSQL: two roles take turns; the server is sent SCRAM verifiers, never a password.

Rights of the administrator: CREATEROLE, and from PostgreSQL 16 on ADMIN OPTION on both roles.
Nothing else is used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sync_app.backends.base import FormField
from sync_app.errors import BadDestination, LoginMissing, PermissionMissing, UnsupportedAuthPlugin
from sync_app.rotators.ab_logins import LOGIN_FIELDS, AbLogins, require_client
from sync_app.rotators.base import Fence
from sync_app.rotators.credential_json import DatabaseCredential
from sync_app.rotators.endpoint import endpoint_fields

if TYPE_CHECKING:
    from psycopg import Connection

_SPLIT_OF_ADMIN_OPTION: Final = 160_000
# The longest list of missing rights that helps an operator.
_SHOWN: Final = 20
# What one role may do and the other may not, by whatever way it came to it.
_MISSING: Final = """
    WITH place AS (
        SELECT 'DATABASE' AS kind, current_database()::text AS name, NULL::oid AS id, privilege
          FROM unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) AS privilege
        UNION ALL
        SELECT 'SCHEMA', quote_ident(nspname), oid, privilege
          FROM pg_namespace, unnest(ARRAY['USAGE', 'CREATE']) AS privilege
         WHERE nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
        UNION ALL
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, pg_class.oid::regclass::text,
               pg_class.oid, privilege
          FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace,
               unnest(CASE relkind WHEN 'S' THEN ARRAY['USAGE', 'SELECT', 'UPDATE'] ELSE
                      ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'] END)
               AS privilege
         WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
           AND nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
        UNION ALL
        SELECT 'FUNCTION', pg_proc.oid::regprocedure::text, pg_proc.oid, 'EXECUTE'
          FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
         WHERE nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
    ), judged AS (
        SELECT privilege || ' ON ' || kind || ' ' || name AS right_, CASE kind
            WHEN 'DATABASE' THEN has_database_privilege(%(old)s, current_database(), privilege)
                AND NOT has_database_privilege(%(new)s, current_database(), privilege)
            WHEN 'SCHEMA' THEN has_schema_privilege(%(old)s, id, privilege)
                AND NOT has_schema_privilege(%(new)s, id, privilege)
            WHEN 'SEQUENCE' THEN has_sequence_privilege(%(old)s, id, privilege)
                AND NOT has_sequence_privilege(%(new)s, id, privilege)
            WHEN 'FUNCTION' THEN has_function_privilege(%(old)s, id, privilege)
                AND NOT has_function_privilege(%(new)s, id, privilege)
            ELSE has_table_privilege(%(old)s, id, privilege)
                AND NOT has_table_privilege(%(new)s, id, privilege) END AS lacks
          FROM place
    )
    SELECT right_ FROM judged WHERE lacks ORDER BY right_ LIMIT %(shown)s
"""
_RIGHTS: Final = """
    SELECT rolname, rolcanlogin, rolsuper, pg_has_role(rolname, 'MEMBER WITH ADMIN OPTION')
      FROM pg_roles WHERE rolname = ANY(%s)
"""


class PostgreSql(AbLogins):
    """Two roles of one PostgreSQL server."""

    label: ClassVar[str] = "PostgreSQL logins"
    engines: ClassVar[frozenset[str]] = frozenset({"postgres", "postgresql"})
    settings_fields: ClassVar[tuple[FormField, ...]] = (
        *endpoint_fields(5432),
        FormField(
            name="database", label="Database", default="postgres", help="Where the administrator connects."
        ),
        *LOGIN_FIELDS,
    )

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

    def missing_rights(self, value: str, *, current: str) -> tuple[str, ...]:
        """Ask the server, in the value's database, what the one role may do and the other may not."""
        new, old = self._credential(value), self._credential(current)
        with self._open_session(new) as connection:
            connection.execute(f"SET statement_timeout = {self.probe_seconds * 1000}")
            names = {"old": old.username, "new": new.username, "shown": _SHOWN}
            return tuple(row[0] for row in connection.execute(_MISSING, names).fetchall())

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
                limit = max(250, fence.seconds * 1000 // 4)
                for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                    connection.execute(f"SET LOCAL {name} = {limit}")
                key = int.from_bytes(self._lock_digest()[:8], signed=True)
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
                fence.require_held()

                connection.execute(
                    sql.SQL("ALTER ROLE {} WITH PASSWORD {}").format(
                        sql.Identifier(username), sql.Literal(hashed)
                    )
                )

    def _log_in(self, credential: DatabaseCredential) -> None:
        with self._open_session(credential):
            return

    @contextmanager
    def _open_session(self, credential: DatabaseCredential) -> Iterator["Connection[Any]"]:
        database = credential.dbname or self.settings["database"]
        with self._connect(
            credential.username, credential.password, self.probe_seconds, database
        ) as connection:
            yield connection

    @contextmanager
    def _session(self, seconds: int) -> Iterator["Connection[Any]"]:
        with self._connect(
            self._admin["username"], self._admin["password"], seconds, self.settings["database"]
        ) as connection:
            yield connection

    @contextmanager
    def _connect(
        self, username: str, password: str, seconds: int, database: str
    ) -> Iterator["Connection[Any]"]:
        with require_client("the rotator for PostgreSQL needs psycopg"):
            from sync_app.rotators.postgresql.client import connect
        with connect(
            self.server, username=username, password=password, seconds=seconds, database=database
        ) as connection:
            yield connection
