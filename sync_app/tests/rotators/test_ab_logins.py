"""What the rotators of databases share, without a server."""

import json
import sys
from uuid import uuid4

import pytest

from sync_app.errors import ClientMissing, StillAccepted, TargetUnreachable
from sync_app.rotators.ab_logins import AbLogins
from sync_app.rotators.base import Fence
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


@pytest.mark.parametrize(
    ("rotator", "more"), [(MySql, {}), (PostgreSql, {"database": "app"})], ids=["MySQL", "PostgreSQL"]
)
def test_an_old_password_that_nobody_could_try_does_not_count_as_locked_out(
    monkeypatch: pytest.MonkeyPatch, rotator: type[AbLogins], more: dict[str, str]
) -> None:
    """The server was reached to lock it, and not to see that it is refused."""

    def away(*_: object) -> None:
        raise TargetUnreachable("no connection")

    monkeypatch.setattr(rotator, "_change_password", lambda *_, **__: None)
    monkeypatch.setattr(rotator, "_log_in", away)
    made = rotator(settings=SETTINGS | more, admin=ADMIN)
    fence = Fence(run=uuid4(), epoch=1, seconds=20, is_held=lambda: True)
    served = json.dumps({"username": "app_b", "password": "canary"})
    with pytest.raises(StillAccepted, match="app_a is not proven to be locked out"):
        made.retire(VALUE, current=served, fence=fence)
