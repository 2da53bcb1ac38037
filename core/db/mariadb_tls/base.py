"""Makes sure that a connection is encrypted.

With MariaDB's client library, mysqlclient treats ssl_mode=REQUIRED as a preference: it continues without TLS
if the server offers none.
"""

from typing import Any

from MySQLdb import OperationalError

from core.db.mariadb import base
from core.db.mariadb.waiting import HOST_SECONDS


class DatabaseWrapper(base.DatabaseWrapper):
    """Refuses the connection of a server that speaks no TLS."""

    def _connect(self, conn_params: dict[str, Any]) -> Any:
        """Return a new encrypted connection. Raises the driver's OperationalError if it is not encrypted."""
        connection = super()._connect(conn_params)
        with connection.at_most(HOST_SECONDS), connection.cursor() as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            encrypted = bool(cursor.fetchone()[1])
        if not encrypted:
            connection.close()
            raise OperationalError(2026, "DATABASE_URL asks for TLS (ssl_mode), and the server offers none")
        return connection
