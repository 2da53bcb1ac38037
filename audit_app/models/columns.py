"""The columns that most rows have: times that Keeper sets, and what is empty until there is something."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeAlias

from django.db import models
from django.db.models.expressions import Combinable
from django.utils import timezone

_Given: TypeAlias = str | datetime | date | Combinable


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
