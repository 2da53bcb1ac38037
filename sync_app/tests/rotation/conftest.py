"""Fixtures of the tests of rotation: policies over systems whose credentials rotate."""

from sync_app.tests.rotators.conftest import (
    _loopback_allowed,
    database,
    generated,
    iam,
    logins,
    mariadb,
    mariadb_ed25519,
    postgres,
    postgresql,
    rotated_mariadb,
    strict_iam,
    world,
)

__all__ = [
    "_loopback_allowed",
    "database",
    "generated",
    "iam",
    "logins",
    "mariadb",
    "mariadb_ed25519",
    "postgres",
    "postgresql",
    "rotated_mariadb",
    "strict_iam",
    "world",
]
