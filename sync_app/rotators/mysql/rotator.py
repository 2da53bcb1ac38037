"""MySQL and MariaDB: two accounts take turns; the server is sent hashes, never a password.

Grants of the administrator: CREATE USER ON *.*, and SELECT (User, Host, plugin) ON mysql.user.
Nothing else is used. Neither server has a finer right to change another account's password; MySQL 8
protects accounts that hold SYSTEM_USER from it, MariaDB protects none.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from sync_app.backends.base import FormField
from sync_app.errors import BadDestination, LoginMissing, PermissionMissing, TargetBusy, UnsupportedAuthPlugin
from sync_app.rotators.ab_logins import LOGIN_FIELDS, AbLogins, require_client
from sync_app.rotators.base import Fence, Login
from sync_app.rotators.credential_json import DatabaseCredential
from sync_app.rotators.endpoint import endpoint_fields
from sync_app.rotators.mysql.accounts import (
    ALL,
    Account,
    describe_missing_privileges,
    parse_grants,
    quote_account,
)

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


class MySql(AbLogins):
    """Two accounts of one MySQL or MariaDB server."""

    label: ClassVar[str] = "MySQL or MariaDB logins"
    engines: ClassVar[frozenset[str]] = frozenset({"mysql", "mariadb"})
    settings_fields: ClassVar[tuple[FormField, ...]] = (*endpoint_fields(3306), *LOGIN_FIELDS)

    @property
    def endpoint(self) -> str:
        return f"mysql://{self.server.host}:{self.server.port}"

    @classmethod
    def logins_of(cls, settings: Mapping[str, str]) -> frozenset[Login]:
        accounts = (Account.parse(settings[field], field=field) for field in ("login_a", "login_b"))
        return frozenset(Login(account.user, account.host or "") for account in accounts)

    def check_setup(self, current: str) -> None:
        """Log in as the administrator, read its grants, and find both accounts."""
        self._credential(current)
        with self._session(self.probe_seconds) as cursor:
            rights = _grants(cursor)
            if not {("CREATE USER", "*.*"), (ALL, "*.*")} & rights:
                raise PermissionMissing("the administrator lacks a grant of its own: CREATE USER ON *.*")
            for login in self.logins:
                self._hosts(cursor, login)

    def missing_rights(self, value: str, *, current: str) -> tuple[str, ...]:
        """Compare the results of SHOW GRANTS for each login."""
        granted = []
        for login in map(self._credential, (value, current)):
            with (
                self._connect(login.username, login.password, self.probe_seconds) as connection,
                connection.cursor() as cursor,
            ):
                granted.append(_grants(cursor))
        new, old = granted
        return describe_missing_privileges(old, new)

    def _usernames(self) -> tuple[str, str]:
        accounts = [Account.parse(self.settings[field], field=field) for field in ("login_a", "login_b")]
        self._accounts = {account.user: account for account in accounts}
        if self._admin["username"] in self._accounts:
            raise BadDestination("choose an administrator login other than A and B", field="username")
        return accounts[0].user, accounts[1].user

    def _change_password(self, username: str, password: str, *, fence: Fence, locked: bool) -> None:
        with self._session(fence.seconds) as cursor:
            hosts = self._hosts(cursor, username)
            hashes = _hashes()
            parts = [
                f"{quote_account(username, host)} IDENTIFIED WITH {plugin} AS '{hashes[plugin](password)}'"
                for host, plugin in hosts
            ]
            self._lock(cursor, max(1, fence.seconds // 2))
            fence.require_held()
            cursor.execute(f"ALTER USER {', '.join(parts)} ACCOUNT {'LOCK' if locked else 'UNLOCK'}")

    def _log_in(self, credential: DatabaseCredential) -> None:
        with self._connect(credential.username, credential.password, self.probe_seconds):
            return

    def _hosts(self, cursor: "Cursor", username: str) -> list[tuple[str, str]]:
        """Return host part and plug-in of each account that the policy means by a user name.

        Raises LoginMissing if there is none, UnsupportedAuthPlugin if one has no password of ours to set.
        """
        cursor.execute("SELECT Host, plugin FROM mysql.user WHERE User = %s AND Host <> ''", (username,))
        wanted = self._accounts[username].host
        found = [(host, plugin) for host, plugin in cursor.fetchall() if wanted in {None, host.lower()}]
        if not found:
            raise LoginMissing(f"there is no account {username}@{wanted or '%'}: create it, with A's grants")
        for host, plugin in found:
            if plugin not in _hashes():
                raise UnsupportedAuthPlugin(
                    f"{username}@{host} authenticates by {plugin}, not by one of {', '.join(_hashes())}"
                )
        return found

    def _lock(self, cursor: "Cursor", seconds: int) -> None:
        """Take the lock of these two logins, in a session that the server ends when it is left idle."""
        is_mariadb = "MariaDB" in cursor.connection.server_version
        limits = ["wait_timeout", "lock_wait_timeout", *(["max_statement_time"] if is_mariadb else [])]
        cursor.execute("SET " + ", ".join(f"SESSION {limit} = {seconds}" for limit in limits))
        cursor.execute("SELECT GET_LOCK(%s, %s)", (f"keeper:{self._lock_digest().hex()[:48]}", seconds / 2))
        if cursor.fetchone() != (1,):
            raise TargetBusy("another worker holds the lock of these logins on the server: try again")

    @contextmanager
    def _session(self, seconds: int) -> Iterator["Cursor"]:
        with (
            self._connect(self._admin["username"], self._admin["password"], seconds) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor

    @contextmanager
    def _connect(self, username: str, password: str, seconds: int) -> Iterator["Connection"]:
        with require_client("the rotator for MySQL needs PyMySQL and PyNaCl"):
            from sync_app.rotators.mysql.client import connect
        with connect(self.server, username=username, password=password, seconds=seconds) as connection:
            yield connection


def _grants(cursor: "Cursor") -> set[tuple[str, str]]:
    cursor.execute("SHOW GRANTS")
    return parse_grants(row[0] for row in cursor.fetchall())


def _hashes() -> Any:
    from sync_app.rotators.mysql.password_hashes import HASHES

    return HASHES
