"""MySQL and MariaDB: two accounts take turns; the server is sent hashes, never a password.

Grants of the administrator: CREATE USER ON *.*, and SELECT ON mysql.*, by which the logins are compared.
Nothing else is needed. Neither server has a finer right to change another account's password; MySQL 8
protects accounts that hold SYSTEM_USER from it, MariaDB protects none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from core.network.limits import limited
from sync_app.backends.capabilities import FormField
from sync_app.errors import (
    BadDestination,
    LoginMissing,
    PermissionMissing,
    RequestRefused,
    TargetBusy,
    UnsupportedAuthPlugin,
)
from sync_app.rotators.ab_logins import LOGIN_FIELDS, AbLogins, require_client
from sync_app.rotators.base import Fence, Login, LoginDifference
from sync_app.rotators.credential_json import DatabaseCredential
from sync_app.rotators.endpoint import Endpoint, endpoint_fields
from sync_app.rotators.mysql import logins
from sync_app.rotators.mysql.accounts import ALL, Account, quote_account

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

# Of one comparison.
_COMPARE_SECONDS: Final = 20
# Of the error numbers: the server's own, and from where on they are the client's.
_FIRST_OF_SERVER: Final = 1000
_FIRST_OF_CLIENT: Final = 2000


class MySql(AbLogins):
    """Two accounts of one MySQL or MariaDB server."""

    label: ClassVar[str] = "MySQL or MariaDB logins"
    icon: ClassVar[str] = "database"
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
            if not any("CREATE USER" in given or ALL in given for given, _ in _grants_everywhere(cursor)):
                raise PermissionMissing("the administrator lacks a grant of its own: CREATE USER ON *.*")
            self._require_hashes_allowed(cursor)
            for login in self.logins:
                self._hosts(cursor, login)

    def compare_logins(self, current: str) -> tuple[LoginDifference, ...]:
        """Compare what the server keeps of both; what the served login defined, it shows itself."""
        old, new = self._turns(current)
        found: list[LoginDifference] = []
        with limited(_COMPARE_SECONDS):
            with self._session(self.probe_seconds) as cursor:
                pairs = list(self._pairs(cursor, old, new, found))
                for theirs, mine in pairs:
                    found += self._compare_accounts(cursor, (old, theirs), (new, mine))
            served = self._credential(current)
            with (
                self._connect(
                    self.server, served.username, served.password, self.probe_seconds
                ) as connection,
                connection.cursor() as cursor,
            ):
                definers = logins.read_definers(cursor)
            for theirs, mine in pairs:
                found += logins.compare_definers(definers, old=(old, theirs), new=(new, mine))
        return tuple(found)

    def _pairs(
        self, cursor: "Cursor", old: str, new: str, found: list[LoginDifference]
    ) -> Iterator[tuple[str, str]]:
        """Yield the host parts to compare; put into `found` in which hosts the logins differ."""
        theirs, mine = ({host for host, _ in self._hosts(cursor, login)} for login in (old, new))
        yield from ((host, host) for host in sorted(theirs & mine))
        if theirs == mine:
            return
        only, other = sorted(theirs - mine), sorted(mine - theirs)
        sql, todo = "", f"create the missing accounts of {new}, and drop those that {old} has not"
        if len(only) == len(other) == 1:
            yield only[0], other[0]
            if self._accounts[new].host is None:
                sql, todo = f"RENAME USER {quote_account(new, other[0])} TO {quote_account(new, only[0])}", ""
        words = [", ".join(sorted(hosts)) for hosts in (theirs, mine)]
        what = f"{old} logs in from {words[0]} and {new} from {words[1]}"
        found.append(LoginDifference(what=what, sql=sql, todo=todo))

    def _compare_accounts(
        self, cursor: "Cursor", old: tuple[str, str], new: tuple[str, str]
    ) -> Iterator[LoginDifference]:
        account = quote_account(*new)
        kept = [logins.read_account(cursor, *each) for each in (old, new)]
        yield from logins.compare_attributes(old[0], kept[0], new[0], kept[1], account=account)
        granted = [logins.read_grants(cursor, *each) for each in (old, new)]
        yield from logins.compare_grants(old[0], granted[0], new[0], granted[1], account=account)
        yield from logins.compare_other_tables(cursor, old=old, new=new)

    def align_logins(
        self,
        differences: Sequence[LoginDifference],
        *,
        current: str,
        allowed: Callable[[], None] | None = None,
    ) -> tuple[LoginDifference, ...]:
        """Run each statement; unless it is `allowed`, find by the administrator's grants which it may run.

        The server has no transaction for them. A host part is changed last: the others name the account.
        """
        self._turns(current)
        done = list(differences)
        with limited(_COMPARE_SECONDS), self._session(self.probe_seconds) as cursor:
            may_grant = _may_grant_all(cursor)
            if allowed is not None:
                self._lock(cursor, self.probe_seconds)
                allowed()
            for number in sorted(range(len(done)), key=lambda each: done[each].sql.startswith("RENAME")):
                sql = done[number].sql
                if not sql:
                    continue
                if allowed is None:
                    if not may_grant and not sql.startswith(("ALTER USER", "RENAME USER")):
                        refused = "Keeper's administrator has not all privileges with the right to grant them"
                        done[number] = replace(done[number], refused=refused)
                    continue
                done[number] = replace(done[number], refused=_run(cursor, sql))
        return tuple(done)

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

    def _log_in(self, server: Endpoint, credential: DatabaseCredential) -> None:
        """Log in and ask for something: a login whose password is expired may do nothing."""
        with (
            self._connect(server, credential.username, credential.password, self.probe_seconds) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT 1")

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
            logins.read_account(cursor, username, host)
            if plugin not in _hashes():
                raise UnsupportedAuthPlugin(
                    f"{username}@{host} authenticates by {plugin}, not by one of {', '.join(_hashes())}"
                )
        return found

    def _require_hashes_allowed(self, cursor: "Cursor") -> None:
        """Raise RequestRefused if MariaDB would refuse a hash: it cannot validate what it does not see."""
        if "MariaDB" not in cursor.connection.server_version:
            return
        cursor.execute(
            "SELECT count(*) FROM information_schema.plugins WHERE plugin_type = 'PASSWORD VALIDATION'"
            " AND plugin_status = 'ACTIVE' AND @@strict_password_validation"
        )
        if cursor.fetchone() != (0,):
            raise RequestRefused(
                "strict_password_validation is ON, and the server would refuse Keeper's hashes: Keeper sends "
                "no password. SET GLOBAL strict_password_validation = OFF, and set it in the server's options"
            )

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
            self._connect(
                self.server, self._admin["username"], self._admin["password"], seconds
            ) as connection,
            connection.cursor() as cursor,
        ):
            # What the server quotes, and how it reads what is quoted, is then the same everywhere.
            modes = "NO_BACKSLASH_ESCAPES"
            if "MariaDB" in connection.server_version:
                modes += ",NO_AUTO_CREATE_USER"
            cursor.execute(f"SET SESSION sql_mode = '{modes}'")
            yield cursor

    @contextmanager
    def _connect(
        self, server: Endpoint, username: str, password: str, seconds: int
    ) -> Iterator["Connection"]:
        with require_client("the rotator for MySQL needs PyMySQL and PyNaCl"):
            from sync_app.rotators.mysql.client import connect
        with connect(server, username=username, password=password, seconds=seconds) as connection:
            yield connection


def _grants_everywhere(cursor: "Cursor") -> list[tuple[str, str]]:
    """Return what the session's account is granted on *.*, and what follows its name there."""
    cursor.execute("SHOW GRANTS")
    lines = (row[0].partition(" ON *.* TO ") for row in cursor.fetchall())
    return [(given, rest) for given, found, rest in lines if found]


def _may_grant_all(cursor: "Cursor") -> bool:
    return any(ALL in given and "GRANT OPTION" in rest for given, rest in _grants_everywhere(cursor))


def _run(cursor: "Cursor", sql: str) -> str:
    """Run a statement; return why the server refuses it, or nothing."""
    import pymysql

    try:
        cursor.execute(sql)
    except pymysql.MySQLError as error:
        code = error.args[0] if error.args else 0
        if not isinstance(code, int) or not _FIRST_OF_SERVER <= code < _FIRST_OF_CLIENT:
            raise
        return f"Keeper's administrator may not run it (error {code})"
    return ""


def _hashes() -> Any:
    from sync_app.rotators.mysql.accounts import HASHES

    return HASHES
