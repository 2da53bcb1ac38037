"""The same database by another address is the same installation; a copy of it is another one."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pytest
from django.db import connection

from audit_app.events import actors
from audit_app.integrity.active_installation import activate, is_active, note_marks
from tests.processes import dumped, load
from tests.servers.mariadb import MariaDb
from tests.servers.tcp_switch import tcp_switch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
KEEPER = actors.system()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb | None]:
    """Start a second MariaDB, if the suite runs on one."""
    if connection.vendor != "mysql":
        yield None
        return
    with MariaDb(tmp_path_factory.mktemp("servers")) as server:
        yield server


@pytest.fixture
def at() -> Iterator[Callable[..., bool]]:
    """Return what tells whether a process that connects to such an address belongs to the active installation."""
    own = dict(connection.settings_dict)

    def asked(port: int, name: str = "") -> bool:
        connection.close()
        connection.settings_dict.update(PORT=str(port), NAME=name or own["NAME"])
        try:
            return is_active()
        finally:
            connection.close()
            connection.settings_dict.update(own)

    yield asked
    connection.close()
    connection.settings_dict.update(own)


def own_url() -> SplitResult:
    settings = connection.settings_dict
    return urlsplit(f"mysql://root@127.0.0.1:{settings['PORT']}/{settings['NAME']}")


def test_the_same_server_by_another_address_is_the_same_installation(
    other: MariaDb | None, at: Callable[..., bool]
) -> None:
    if other is None:
        return
    activate(actor=KEEPER)
    with tcp_switch(own_url().port or 0) as switch:
        assert at(switch.port)
        # The server is not asked under an address that was noted.
        note_marks(actor=KEEPER)
        assert at(switch.port)
    assert is_active()


def test_a_dump_in_another_server_or_under_another_name_is_a_copy(
    other: MariaDb | None, at: Callable[..., bool]
) -> None:
    if other is None:
        return
    activate(actor=KEEPER)
    name = f"copied_{os.getpid()}"
    contents, port = dumped(own_url()), own_url().port or 0
    there = own_url()._replace(netloc=f"root@127.0.0.1:{other.port}", path=f"/{own_url().path[1:]}")
    other._client(f"CREATE DATABASE {there.path[1:]}").check_returncode()
    load(there, contents)
    assert not at(other.port)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    try:
        load(own_url()._replace(path=f"/{name}"), contents)
        assert not at(port, name)
        # Loaded anew in its own place, it is that place's again.
        assert at(port)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")
        other._client(f"DROP DATABASE {there.path[1:]}").check_returncode()


def test_the_files_of_a_server_elsewhere_are_a_copy(
    other: MariaDb | None, at: Callable[..., bool], tmp_path: Path
) -> None:
    if other is None:
        return
    activate(actor=KEEPER)
    name = own_url().path[1:]
    other._client(f"CREATE DATABASE {name}").check_returncode()
    load(own_url()._replace(netloc=f"root@127.0.0.1:{other.port}"), dumped(own_url()))
    connection.settings_dict.update(PORT=str(other.port))
    connection.close()
    activate(actor=KEEPER)
    other.kill()
    copied = MariaDb(tmp_path)
    try:
        copied.directory.mkdir(parents=True)
        shutil.copytree(other.directory / "data", copied.directory / "data")
        copied._run()
        copied.until(copied.ready)
        assert not at(copied.port)
    finally:
        copied.stop()
        other.start_again()
    assert at(other.port)
    other._client(f"DROP DATABASE {name}").check_returncode()
