"""Begins a transaction along with its first statement, and ends it by one.

Django switches autocommit off for each transaction and on again after it: two ways to the server, and a
third for the COMMIT.
"""

from collections.abc import Callable
from datetime import datetime
from math import inf
from time import monotonic
from typing import Any, Final

from django.db.backends.mysql import base
from django.db.backends.utils import debug_transaction
from MySQLdb.connections import Connection
from MySQLdb.constants import FIELD_TYPE
from MySQLdb.times import DateTime_or_None

# A request asks before its first statement whether its connection has been closed while it was idle.
_FRESH_SECONDS: Final = 1.0


def _time(text: str) -> datetime:
    """Return a time; what is none, such as 0000-00-00, as the first that there is.

    The driver says None, which SQL's IS NULL denies: a token with such a `revoked_at` was neither revoked nor
    could be. No row that Keeper wrote has this time, so that its MAC fails.
    """
    return DateTime_or_None(text) or datetime.min  # noqa: DTZ901 - Django makes it aware


class LazyConnection(Connection):  # type: ignore[misc]  # the driver has no types
    """A connection whose transaction begins with the first statement in it.

    Read committed sees what is committed when a statement runs, so that it makes no difference when the
    transaction began. One without statements never reaches the server.
    """

    begins = False
    # Whether COMMIT went along with the last statements of the transaction.
    committed = False
    # When the server last answered, by the clock of this process.
    answered = -inf

    def query(self, query: str | bytes) -> None:
        """Send a statement; every cursor does it here. Raises what the driver raises for it."""
        if self.begins:
            self.begins = False
            super().query(b"START TRANSACTION; " + (query.encode() if isinstance(query, str) else query))
            # The beginning has no rows. What fails of the statement itself is raised here.
            self.next_result()
        else:
            super().query(query)
        self.answered = monotonic()

    def commit(self) -> None:
        """Commit what was begun and is not committed yet."""
        if not self.committed:
            self._end(super().commit)
        self.committed = False

    def rollback(self) -> None:
        self.committed = False
        self._end(super().rollback)

    def _end(self, end: Callable[[], None]) -> None:
        if self.begins:
            self.begins = False
        else:
            end()


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to MariaDB or MySQL whose server stays in autocommit outside of transactions."""

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        kinds = (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP)
        return {**parameters, "conv": {**parameters["conv"], **dict.fromkeys(kinds, _time)}}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        # The driver's own function has made it, which tracing wraps: what it gave becomes of our kind.
        connection.__class__ = LazyConnection
        return connection

    def is_usable(self) -> bool:
        """Return whether the server still answers; it is not asked if it has just done so."""
        if not self.errors_occurred and monotonic() - self.connection.answered < _FRESH_SECONDS:
            return True
        return bool(super().is_usable())

    def _start_transaction_under_autocommit(self) -> None:
        """Begin one; Django calls this in place of switching autocommit off."""
        with self.wrap_database_errors, debug_transaction(self, "BEGIN"):
            self.connection.begins = True
