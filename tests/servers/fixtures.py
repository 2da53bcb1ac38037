"""The servers as fixtures: those of the runner, or else ones that are started for the session."""

import os
import threading
from collections.abc import Iterator

import pytest

from tests.aws_strict.faults import Plan
from tests.aws_strict.server import serving
from tests.servers.mariadb import RotatedMariaDb
from tests.servers.moto_in_turn import moto_server
from tests.servers.openbao import OpenBao
from tests.servers.postgresql import PostgreSql


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    if given := os.environ.get("KEEPER_TEST_MOTO_URL"):
        yield given
        return
    server = moto_server(0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def strict_aws(moto_url: str) -> Iterator[tuple[str, Plan]]:
    with serving(moto_url) as served:
        yield served


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    if given := os.environ.get("KEEPER_TEST_OPENBAO_URL"):
        yield given, os.environ["KEEPER_TEST_OPENBAO_TOKEN"]
        return
    with OpenBao(tmp_path_factory.mktemp("servers")) as server:
        addresses = server.environment()
        yield addresses["KEEPER_TEST_OPENBAO_URL"], addresses["KEEPER_TEST_OPENBAO_TOKEN"]


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if "KEEPER_TEST_POSTGRESQL_PORT" in os.environ:
        yield {name: value for name, value in os.environ.items() if name.startswith("KEEPER_TEST_POSTGRESQL")}
        return
    with PostgreSql(tmp_path_factory.mktemp("servers")) as server:
        yield server.environment()


@pytest.fixture(scope="session")
def rotated_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RotatedMariaDb]:
    """Start a MariaDB of its own: its log and its modes would be in other tests' way."""
    with RotatedMariaDb(tmp_path_factory.mktemp("servers")) as server:
        yield server
