"""Model fields that behave the same on every database."""

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

# NO PAD, so that trailing spaces count too.
_MARIADB_EXACT = "utf8mb4_nopad_bin"
_MYSQL_EXACT = "utf8mb4_0900_bin"


class ExactCharField(models.CharField):  # type: ignore[type-arg]  # not subscriptable at run time
    """A character field that compares, sorts and is unique byte for byte.

    The default collations of MariaDB and MySQL equate case, accents and full-width letters;
    this field chooses its collation when the column is made, by the vendor of the database.
    SQLite's default is already exact.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, str | None]:
        """Add the exact collation of `connection`'s vendor to the column's parameters."""
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            is_mariadb = getattr(connection, "mysql_is_mariadb", False)
            parameters["collation"] = _MARIADB_EXACT if is_mariadb else _MYSQL_EXACT
        return parameters
