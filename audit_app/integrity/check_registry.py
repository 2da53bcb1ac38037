"""Whether what is stored is what Keeper wrote: the checks that each app contributes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from django.conf import settings
from django.db import DatabaseError
from django.utils.module_loading import import_string

from audit_app.errors import AuditError
from audit_app.interfaces import KeyringUnavailable
from core.errors import BadDetails

# What reading a value raises that Keeper never wrote; other exceptions are defects of the check.
_DATA_ERRORS = (ValueError, TypeError, KeyError, AuditError, BadDetails)


def is_damage(error: Exception) -> bool:
    """Return whether the database cannot read what it stores; SQLite's drivers have no class of their own."""
    return type(error) is DatabaseError


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem; `stream` and `sequence` locate it, if it is in the audit log."""

    kind: str
    object: str
    message: str
    stream: str = ""
    sequence: int | None = None


def run_checks() -> Iterator[Problem]:
    """Run every check of settings.KEEPER_INTEGRITY_CHECKS, in order, yielding what each finds."""
    for path in settings.KEEPER_INTEGRITY_CHECKS:
        check = cast("Callable[[], Iterator[Problem]]", import_string(path))
        yield from readable(check(), f"check {path}")


def readable(found: Iterator[Problem], what: str) -> Iterator[Problem]:
    """Yield a check's findings; if the data makes it fail, that is its last finding.

    Raises KeyringUnavailable if the keys are not open, which is no finding about the data.
    """
    try:
        yield from found
    except KeyringUnavailable:
        raise
    except (*_DATA_ERRORS, DatabaseError) as error:
        if isinstance(error, DatabaseError) and not is_damage(error):
            raise
        message = f"it cannot go on: something stored cannot be read ({type(error).__name__})"
        yield Problem(kind="unreadable", object=what, message=message)
