"""Begins a transaction along with its first statement, and ends it by one; connects to one of several hosts.

Django switches autocommit off for each transaction and on again after it: two ways to the server, and a
third for the COMMIT.

DATABASE_URL may name several hosts of one database, such as the nodes of a Galera cluster. Each connection
takes the first one that takes writes.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from math import ceil, inf
from time import monotonic
from typing import Any, Final

from django.db import OperationalError as DatabaseAway
from django.db.backends.mysql import base
from django.db.backends.utils import debug_transaction
from MySQLdb import DataError, Error, IntegrityError, OperationalError, ProgrammingError, connections
from MySQLdb.constants import FIELD_TYPE
from MySQLdb.times import DateTime_or_None

from core.db.concurrency import AWAY, WORK
from core.db.mariadb.schema import DatabaseSchemaEditor
from core.db.mariadb.waiting import HOST_SECONDS, WatchedConnection

# A request asks before its first statement whether its connection has been closed while it was idle.
_FRESH_SECONDS: Final = 1.0
# What all hosts together may take to connect, as may an only one.
_CONNECT_SECONDS: Final = 10.0
# For so long a host that failed is tried after the others.
_AVOIDED_SECONDS: Final = 15.0
_avoided: Final[dict[tuple[str, str], float]] = {}
# The server refused them: nothing of the statement is stored. A COMMIT is refused by 1213 alone.
_REFUSED: Final = frozenset({1020, 1205, 1213})
_COMMIT_REFUSED: Final = 1213
_WAITED_IN_VAIN: Final = 1205
# Whether a server is a member of a cluster that takes writes, or a replica.
_ASK_MEMBER: Final = b"""SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'read_only');
SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_local_state')"""
_SYNCED: Final = "4"
# As the client's library numbers a host that it cannot reach; and ours alone.
_NO_HOST: Final = 2003
_NO_MEMBER: Final = -1


def _time(text: str) -> datetime:
    """Return a time; what is none, such as 0000-00-00, as the first that there is.

    The driver says None, which SQL's IS NULL denies: a token with such a `revoked_at` was neither revoked nor
    could be. No row that Keeper wrote has this time, so that its MAC fails.
    """
    return DateTime_or_None(text) or datetime.min  # noqa: DTZ901 - Django makes it aware


class LazyConnection(WatchedConnection):
    """A connection whose transaction begins with the first statement in it.

    Read committed sees what is committed when a statement runs, so that it makes no difference when the
    transaction began. One without statements never reaches the server.
    """

    begins = False
    # Whether COMMIT went along with the last statements of the transaction.
    committed = False
    # When the server last answered, by the clock of this process.
    answered = -inf

    # Whether a transaction is open, and whether it has written.
    within = writes = False
    # Whether the server has said that it takes no work.
    is_away = False
    # Where its server is, if there are several hosts.
    place: tuple[str, str] | None = None
    # Whether it is a node of a cluster; and may have left it, where a read waits in vain for the other nodes.
    is_node = may_have_left = False

    def query(self, query: str | bytes) -> None:
        """Send a statement; every cursor does it here. Raises what the driver raises for it."""
        text = query.encode() if isinstance(query, str) else query
        begins, self.begins = self.begins, False
        self.within = self.within or begins
        stored = WORK.stored
        # SELECT, SET, SHOW and SAVEPOINT: whatever else there is may write.
        if text[:1] not in b"Ss":
            self.writes = self.within
            WORK.stored = stored or not self.within
        try:
            if begins:
                super().query(b"START TRANSACTION; " + text)
                # The beginning has no rows. What fails of the statement itself is raised here.
                self.next_result()
            else:
                super().query(text)
        except Error as error:
            self.is_away = bool(AWAY.intersection(error.args[:1]))
            self.may_have_left = self.is_node and error.args[:1] == (_WAITED_IN_VAIN,)
            if is_refused(error):
                WORK.stored = stored
            raise
        self.answered = monotonic()

    def commit(self) -> None:
        """Commit what was begun and is not committed yet."""
        stored = WORK.stored
        try:
            if not self.committed:
                WORK.stored = stored or self.writes
                self._end(super().commit)
        except Error as error:
            if error.args[:1] == (_COMMIT_REFUSED,):
                WORK.stored = stored
            raise
        finally:
            self.committed = False

    def rollback(self) -> None:
        self.committed = False
        self._end(super().rollback)

    def _end(self, end: Callable[[], None]) -> None:
        self.within = self.writes = False
        if self.begins:
            self.begins = False
        else:
            end()


# The driver's function `connect`, which tracing wraps, makes what this name says.
connections.Connection = LazyConnection


def is_refused(error: Exception) -> bool:
    """Return whether a server carried out nothing of a statement, nor what follows it in a message."""
    return isinstance(error, IntegrityError | ProgrammingError | DataError) or bool(
        _REFUSED.intersection(error.args[:1])
    )


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to MariaDB or MySQL whose server stays in autocommit outside of transactions."""

    SchemaEditorClass = DatabaseSchemaEditor
    # Whether the server had ended the transaction when a savepoint of it was returned to.
    _is_overtaken = False

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        kinds = (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP)
        return {**parameters, "conv": {**parameters["conv"], **dict.fromkeys(kinds, _time)}}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection to the first host that takes writes. Raises OperationalError if none does."""
        hosts = self.settings_dict.get("HOSTS")
        if not hosts:
            only = {"connect_timeout": ceil(_CONNECT_SECONDS)}
            return self._prepared(self._connect({**only, **conn_params}), is_only=True)
        ends, reasons = monotonic() + _CONNECT_SECONDS, []
        for host, port in sorted(hosts, key=lambda each: _avoided.get(each, -inf) > monotonic()):
            seconds = min(HOST_SECONDS, ends - monotonic())
            if seconds <= 0:
                reasons.append(f"{host}: not tried, the others took {_CONNECT_SECONDS:.0f} s")
                continue
            place = {"host": host, "connect_timeout": ceil(seconds), **({"port": int(port)} if port else {})}
            try:
                connection = self._prepared(self._connect({**conn_params, **place}), is_only=False)
            except OperationalError as error:
                _avoided[host, port] = monotonic() + _AVOIDED_SECONDS
                # The driver's own text may name the account: its number is enough.
                reason = error.args[1] if error.args[0] == _NO_MEMBER else f"error {error.args[0]}"
                reasons.append(f"{host}:{port or 3306}: {reason}")
            else:
                connection.place = (host, port)
                return connection
        tried = "; ".join(reasons)
        raise OperationalError(
            _NO_HOST, f"no host of DATABASE_URL takes writes ({tried}): start one of them, or correct the URL"
        )

    def _connect(self, conn_params: dict[str, Any]) -> Any:
        return super().get_new_connection(conn_params)

    def _prepared(self, connection: Any, *, is_only: bool) -> Any:
        """Return a connection that reads what other nodes have committed before.

        Raises OperationalError if its server takes no writes, and another host may.
        """
        with connection.at_most(HOST_SECONDS):
            states = _states(connection)
        connection.is_node = is_node = states.get("wsrep_on") == "ON"
        is_synced = not is_node or _is_synced(states)
        if not is_only and not (is_synced and states.get("read_only", "OFF") == "OFF"):
            connection.close()
            state = "is read-only" if is_synced else "is not a synced member of its cluster"
            raise OperationalError(_NO_MEMBER, state)
        if is_node and self.settings_dict.get("SYNC_WAIT"):
            connection.query(b"SET SESSION wsrep_sync_wait = 1")
        return connection

    def _is_member(self) -> bool:
        """Return whether a node that could not read still belongs to the cluster."""
        self.connection.may_have_left = False
        try:
            return _is_synced(_states(self.connection))
        except Error:
            return False

    def is_usable(self) -> bool:
        """Return whether the server still answers; it is not asked if it has just done so."""
        if self.connection.is_away:
            return False
        with self.connection.at_most(HOST_SECONDS):
            if self.connection.may_have_left and not self._is_member():
                return False
            if not self.errors_occurred and monotonic() - self.connection.answered < _FRESH_SECONDS:
                return True
            is_usable = bool(super().is_usable())
        if self.connection.is_silent and self.connection.place:
            # It would as well be silent to a new connection.
            _avoided[self.connection.place] = monotonic() + _AVOIDED_SECONDS
        return is_usable

    def _savepoint_rollback(self, sid: str) -> None:
        try:
            super()._savepoint_rollback(sid)  # type: ignore[misc]  # unknown to the stubs
        except DatabaseAway:
            self._is_overtaken = True
            raise

    def validate_no_broken_transaction(self) -> None:
        """Raise what a collision raises if another writer ended the transaction, with its savepoints."""
        if self.needs_rollback and self._is_overtaken:
            raise DatabaseAway(_COMMIT_REFUSED, "another writer ended the transaction before its savepoint")
        super().validate_no_broken_transaction()

    def _start_transaction_under_autocommit(self) -> None:
        """Begin one; Django calls this in place of switching autocommit off."""
        self._is_overtaken = False
        with self.wrap_database_errors, debug_transaction(self, "BEGIN"):
            self.connection.begins = True


def _states(connection: Any) -> dict[str, str]:
    """Return what a server says of itself as a member or replica; what it does not know is missing."""
    found: dict[str, str] = {}
    connection.query(_ASK_MEMBER)
    while True:
        for name, state in connection.store_result().fetch_row(0):
            found[_text(name)] = _text(state)
        if connection.next_result() != 0:
            return found


def _is_synced(states: Mapping[str, str]) -> bool:
    return (states.get("wsrep_ready"), states.get("wsrep_local_state")) == ("ON", _SYNCED)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
