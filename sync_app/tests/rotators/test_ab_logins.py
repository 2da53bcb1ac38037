"""What the rotators of databases share, without a server."""

import json
import sys

import pytest

from sync_app.errors import ClientMissing
from sync_app.rotators.ab_logins import AbLogins
from sync_app.rotators.mysql.rotator import MySql
from sync_app.rotators.postgresql.rotator import PostgreSql

SETTINGS = {"host": "localhost", "login_a": "app_a", "login_b": "app_b"}
ADMIN = {"username": "keeper", "password": "canary"}
VALUE = json.dumps({"username": "app_a", "password": "canary"})


@pytest.mark.parametrize(
    ("rotator", "package", "more"),
    [(MySql, "pymysql", {}), (PostgreSql, "psycopg", {"database": "app"})],
    ids=["MySQL", "PostgreSQL"],
)
def test_a_client_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, rotator: type[AbLogins], package: str, more: dict[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    # As in a process that has not imported it: the package keeps a module that was.
    place = rotator.__module__.rpartition(".")[0]
    monkeypatch.delitem(sys.modules, f"{place}.client", raising=False)
    monkeypatch.delattr(sys.modules[place], "client", raising=False)
    made = rotator(settings=SETTINGS | more, admin=ADMIN)
    with pytest.raises(ClientMissing, match=rf"(?i)needs {package}.*requirements\.txt"):
        made.check_setup(VALUE)
