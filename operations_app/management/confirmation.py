"""Asking an operator before a command destroys what a database holds."""

from pathlib import Path

from django.core.management.base import CommandError
from django.db import connection


def database_name() -> str:
    """Return what the operator has to type: the file's name for SQLite, the database's else."""
    return Path(str(connection.settings_dict["NAME"])).name


def ask_for_name() -> None:
    """Let the operator type the name of the database. Raises CommandError unless it is typed."""
    try:
        answer = input("Type the name of the database to go on: ")
    except EOFError:
        answer = ""
    if answer.strip() != database_name():
        raise CommandError("The name doesn't match. Nothing was changed.")
