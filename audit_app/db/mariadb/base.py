"""Begins a transaction by one statement, and ends it by one.

Django switches autocommit off for each transaction and on again after it: two ways to the server, and a
third for the COMMIT.
"""

from django.db.backends.mysql import base
from django.db.backends.utils import debug_transaction


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to MariaDB or MySQL whose server stays in autocommit outside of transactions."""

    def _start_transaction_under_autocommit(self) -> None:
        """Begin one; Django calls this in place of switching autocommit off."""
        with self.wrap_database_errors, debug_transaction(self, "BEGIN"):
            self.connection.query("START TRANSACTION")
