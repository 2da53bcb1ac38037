"""Model fields that behave the same on every database."""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.lookups import BuiltinLookup, Exact

from environments_app.names import MAX_PREFIX

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


def path_prefix(help_text: str, *, verbose_name: str = "path prefix") -> ExactCharField:
    """Return the column of a path that limits something to the names under it, by whole segments."""
    return ExactCharField(verbose_name, max_length=MAX_PREFIX, blank=True, default="", help_text=help_text)


def public_id_field(help_text: str) -> ExactCharField:
    """Return the column of the part of a token that identifies it."""
    return ExactCharField("public ID", max_length=22, unique=True, editable=False, help_text=help_text)


def pepper_id_field() -> "models.CharField[str, str]":
    """Return the column that names the pepper of a token's hash."""
    told = "Identifier of the pepper that the hash was made with. Never shown."
    return models.CharField("pepper ID", max_length=32, editable=False, help_text=told)


def secret_hash_field(help_text: str) -> "models.CharField[str, str]":
    """Return the column of a token's peppered hash: HMAC-SHA256 in hexadecimal."""
    return models.CharField("hash", max_length=64, editable=False, help_text=help_text)


class LiveField(models.BooleanField):  # type: ignore[type-arg]  # not subscriptable at run time
    """True, or NULL for what is no longer; `filter(live=True)` is answered by indexes that begin with it.

    Django's own field writes `WHERE live`, for which SQLite goes through the whole table and sorts what
    it finds; for `live = 1` it takes the index. The column is that of any boolean, to migrations as well.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"null": True, "default": True, **options})

    def deconstruct(self) -> Any:
        """Return the field as migrations know it."""
        name, _, arguments, options = super().deconstruct()
        return name, "django.db.models.BooleanField", arguments, options


@LiveField.register_lookup
class _Compared(Exact):
    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        return BuiltinLookup.as_sql(self, compiler, connection)
