"""Asking an operator before a command destroys what a database holds."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

from django.core.management.base import CommandError
from django.db import connection


def database_name() -> str:
    """Return what the operator has to type: the file's name for SQLite, the database's else."""
    return Path(str(connection.settings_dict["NAME"])).name


def ask_for_name() -> None:
    """Let the operator type the name of the database. Raises CommandError unless it is typed."""
    if answer_to("Type the name of the database to go on: ") != database_name():
        raise CommandError("The name doesn't match. Nothing was changed.")


def answer_to(question: str) -> str:
    """Return what the operator answers, and nothing at the end of the input.

    Standard output is for what the command found, so the question is on standard error.
    """
    try:
        with redirect_stdout(sys.stderr):
            return input(question).strip()
    except EOFError:
        return ""
