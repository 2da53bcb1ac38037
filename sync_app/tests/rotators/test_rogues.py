"""No server gets a password out of Keeper, nor more time than it has."""

import json
from typing import Any

import pytest

from sync_app.errors import ServerUntrusted, TargetUnreachable
from sync_app.rotators.base import LoginAnswer
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.rotators.postgresql.tests.world import PostgreSqlWorld
from sync_app.tests.rotators import rogues
from sync_app.tests.rotators.worlds import DatabaseWorld

PLUGINS = ["mysql_clear_password", "dialog", "sha256_password", "mysql_old_password", "caching_sha2_password"]


def refused(world: DatabaseWorld, rogue: rogues.Rogue, **changes: str) -> None:
    rotator = world.rotator(port=str(rogue.port), **changes)
    with pytest.raises(ServerUntrusted) as caught:
        rotator.check_setup(world.current)
    assert rotator.probe(world.current).answer is LoginAnswer.UNKNOWN
    passwords = [world.password, json.loads(world.current)["password"]]
    assert rogue.connections >= 2
    for password in passwords:
        assert password.encode() not in rogue.received
        assert password not in str(caught.value)


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("when", ["at first", "later"])
def test_mysql_gets_no_password_in_clear(mariadb: MariaDbWorld, plugin: str, when: str) -> None:
    first, switch = (plugin, None) if when == "at first" else ("mysql_native_password", plugin)
    with rogues.serving(rogues.mysql(first, switch, b"\x04")) as rogue:
        if plugin in PLUGINS[:3] or when == "later":
            refused(mariadb, rogue, tls="off")
        refused(mariadb, rogue)


@pytest.mark.parametrize(
    "request_", [(3).to_bytes(4), (5).to_bytes(4) + b"salt", (0).to_bytes(4)], ids=["clear", "md5", "trust"]
)
def test_postgresql_gets_no_password_in_clear(postgres: PostgreSqlWorld, request_: bytes) -> None:
    with rogues.serving(rogues.postgresql(request_)) as rogue:
        refused(postgres, rogue, tls="off")
        refused(postgres, rogue)


def test_a_silent_server_gets_no_more_time_than_it_has(
    database: DatabaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = database.kind
    monkeypatch.setattr(kind, "probe_seconds", 1)
    with rogues.serving(rogues.silent) as rogue:
        rotator = database.rotator(port=str(rogue.port), tls="off")
        assert rotator.probe(database.current).answer is LoginAnswer.UNKNOWN
        with pytest.raises(TargetUnreachable):
            rotator.check_setup(database.current)


def test_a_server_of_another_name_is_refused(database: DatabaseWorld) -> None:
    """The certificate is for the address only."""
    with pytest.raises(ServerUntrusted):
        database.rotator(host="localhost").check_setup(database.current)
    database.rotator(host="localhost", tls="verify-ca").check_setup(database.current)


@pytest.mark.parametrize("tls", ["verify-identity", "verify-ca"])
def test_a_certificate_of_an_authority_that_is_not_ours_is_refused(database: DatabaseWorld, tls: str) -> None:
    with pytest.raises(ServerUntrusted):
        database.rotator(ca_certificate="", tls=tls).check_setup(database.current)
