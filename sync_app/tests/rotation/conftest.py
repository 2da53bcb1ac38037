"""Fixtures of the tests of rotation: policies over systems whose credentials rotate."""

from sync_app.tests.rotators.conftest import database, logins, world

__all__ = ["database", "logins", "world"]
