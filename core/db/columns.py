"""Columns that most rows have, such as times that Keeper sets, and that behave the same on every database."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeAlias

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Combinable
from django.db.models.lookups import BuiltinLookup, Exact
from django.utils import timezone

_Given: TypeAlias = str | datetime | date | Combinable
# NO PAD, so that trailing spaces count too.
_MARIADB_EXACT = "utf8mb4_nopad_bin"
_MYSQL_EXACT = "utf8mb4_0900_bin"


def timestamp(
    verbose_name: str | None = None, help_text: str = ""
) -> "models.DateTimeField[_Given, datetime]":
    """Return the column of a time that Keeper sets, at first to the present."""
    return models.DateTimeField(verbose_name, default=timezone.now, editable=False, help_text=help_text)


def optional_timestamp(
    verbose_name: str, help_text: str, **options: Any
) -> "models.DateTimeField[_Given | None, datetime | None]":
    """Return the column of a time that is empty until there is one."""
    return models.DateTimeField(verbose_name, null=True, blank=True, help_text=help_text, **options)


def optional_text(
    verbose_name: str | None = None, help_text: str = "", *, max_length: int, **options: Any
) -> "models.CharField[str | int | Combinable, str]":
    """Return the column of a text that is empty until there is one."""
    return models.CharField(
        verbose_name, max_length=max_length, blank=True, default="", help_text=help_text, **options
    )


def choice(
    choices: type[StrEnum], help_text: str, *, max_length: int, **options: Any
) -> "models.CharField[str | int | Combinable, str]":
    """Return the column of one word of an enumeration."""
    words = [(word, word) for word in choices]
    return models.CharField(max_length=max_length, choices=words, help_text=help_text, **options)


def optional_number(
    verbose_name: str, help_text: str
) -> "models.PositiveIntegerField[float | int | str | Combinable | None, int | None]":
    """Return the column of a number that is empty until there is one."""
    return models.PositiveIntegerField(verbose_name, null=True, blank=True, help_text=help_text)


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
