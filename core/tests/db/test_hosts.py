"""Several hosts of one database: each connection takes the first one that takes writes."""

import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from core.config.database_url import database_settings
from core.db.mariadb import base
from tests.servers.mariadb import MariaDb
from tests.servers.server import free_port
from tests.servers.tcp_switch import tcp_switch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb | None]:
    """Start a second MariaDB, if the suite runs on one."""
    if "KEEPER_TEST_MARIADB_URL" not in os.environ or connection.vendor != "mysql":
        yield None
        return
    with MariaDb(tmp_path_factory.mktemp("servers")) as server:
        yield server


def first_port() -> int:
    return urlsplit(os.environ["KEEPER_TEST_MARIADB_URL"]).port or 3306


def connect(*ports: int, password: str = "") -> BaseDatabaseWrapper:
    """Return a database by a URL of these hosts."""
    base._avoided.clear()
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    entry = database_settings(f"mysql://root:{password}@{hosts}/keeper", base_dir=Path("/"))
    made = connection.copy()
    made.settings_dict = {**connection.settings_dict, **entry}
    return made


def port_of(database: BaseDatabaseWrapper) -> int:
    with database.cursor() as cursor:
        cursor.execute("SELECT @@port")
        return int(cursor.fetchone()[0])


def test_a_host_where_nothing_listens_is_passed_over(other: MariaDb | None) -> None:
    if other is None:
        return
    database = connect(free_port(), other.port, first_port())
    assert port_of(database) == other.port
    database.close()
    # It is tried last for a while, so that not each connection waits for it.
    assert [port for _, port in base._avoided] == [str(database.settings_dict["PORT"])]


def test_a_host_that_is_read_only_is_passed_over(other: MariaDb | None) -> None:
    if other is None:
        return
    database = connect(other.port, first_port())
    other._client("SET GLOBAL read_only = 1").check_returncode()
    try:
        assert port_of(database) == first_port()
        database.close()
        with pytest.raises(OperationalError, match=r"is read-only.*start one of them"):
            connect(other.port, other.port).ensure_connection()
    finally:
        other._client("SET GLOBAL read_only = 0").check_returncode()


def test_a_host_that_takes_connections_and_answers_nothing_costs_seconds(
    other: MariaDb | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if other is None:
        return
    monkeypatch.setattr(base, "HOST_SECONDS", 1.0)
    with tcp_switch(first_port()) as switch:
        switch.swallow()
        began = monotonic()
        database = connect(switch.port, other.port)
        assert port_of(database) == other.port
        assert monotonic() - began < 5
        database.close()
        monkeypatch.setattr(base, "_CONNECT_SECONDS", 1.0)
        with pytest.raises(OperationalError, match="not tried"):
            connect(switch.port, switch.port, switch.port, switch.port).ensure_connection()


def test_a_connection_that_ended_moves_to_the_next_host(other: MariaDb | None) -> None:
    if other is None:
        return
    with tcp_switch(other.port) as switch:
        database = connect(switch.port, first_port())
        assert port_of(database) == other.port
        switch.turn(free_port())
        with pytest.raises(OperationalError):
            port_of(database)
        database.close_if_unusable_or_obsolete()
        assert port_of(database) == first_port()
        database.close()


def test_the_error_names_the_hosts_and_no_password(other: MariaDb | None) -> None:
    if other is None:
        return
    dead = free_port()
    with pytest.raises(OperationalError) as caught:
        connect(dead, other.port, password="hunter2").ensure_connection()
    text = str(caught.value)
    assert f"127.0.0.1:{dead}: error 2002" in text or f"127.0.0.1:{dead}: error 2003" in text
    assert f"127.0.0.1:{other.port}: error 1045" in text
    assert "correct the URL" in text
    assert "hunter2" not in text
