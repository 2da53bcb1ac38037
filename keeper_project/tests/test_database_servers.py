"""DATABASE_URL reaches the server that it names, or none: real MariaDB servers say which of them answered."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

from tests.servers.mariadb import MariaDb, RotatedMariaDb
from tests.servers.server import free_port

PASSWORD: Final = "p@ss/w?rd#%:[]"
_ACCOUNT: Final = f"asked:{quote(PASSWORD, safe='')}"
# For each line, forks a process that prints the port of the server that answered, and the cipher. The client
# library, which reads MYSQL_UNIX_PORT once, is loaded in that process only.
_PROGRAM: Final = """
import json, os, pathlib, sys
from django.conf import settings
from django.db import OperationalError, connection
from core.config.database_url import database_settings

def answer(url):
    settings.configure(DATABASES={"default": database_settings(url, base_dir=pathlib.Path("/"))})
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@port, @@character_set_client")
            port, charset = cursor.fetchone()
            cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            return {"port": port, "charset": charset, "encrypted": bool(cursor.fetchone()[1])}
    except OperationalError as error:
        return {"refused": str(error)}

for line in sys.stdin:
    if os.fork() == 0:
        url, variables = json.loads(line)
        os.environ.update(variables)
        assert "MySQLdb" not in sys.modules
        print(json.dumps(answer(url)), flush=True)
        os._exit(0)
    if os.wait()[1]:
        sys.exit("an answer failed")
"""
Connect = Callable[..., dict[str, object]]


class PlainMariaDb(MariaDb):
    """A MariaDB that speaks no TLS, and answers at the IPv6 loopback address as well."""

    name = "plain-mariadb"

    def command(self) -> list[str]:
        return [*super().command(), "--skip-ssl", "--bind-address=127.0.0.1,::1"]

    def prepare_running(self) -> None:
        super().prepare_running()
        account = f"CREATE USER asked IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON keeper.* TO asked"
        self._client(account).check_returncode()

    @property
    def socket(self) -> Path:
        return self.directory / "mariadb.sock"


class TlsMariaDb(RotatedMariaDb):
    """A MariaDB whose certificate names 127.0.0.1, and which answers at 127.0.0.2 as well."""

    name = "tls-mariadb"

    def command(self) -> list[str]:
        return [*super().command(), "--bind-address=127.0.0.1,127.0.0.2"]

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainMariaDb]:
    with PlainMariaDb(tmp_path_factory.mktemp("servers")) as server:
        yield server


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsMariaDb]:
    with TlsMariaDb(tmp_path_factory.mktemp("servers")) as server:
        yield server


@pytest.fixture(scope="module")
def connected() -> Iterator[Connect]:
    """Connect in a process of its own, with more variables, and return what it found."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asked, answers = process.stdin, process.stdout
        assert asked
        assert answers

        def connect(url: str, **variables: str) -> dict[str, object]:
            asked.write(json.dumps([url, variables]) + "\n")
            asked.flush()
            found: dict[str, object] = json.loads(answers.readline())
            return found

        yield connect


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mysql+mysqldb"])
def test_localhost_with_a_port_is_that_port_beside_another_server_at_the_default_socket(
    connected: Connect, plain: PlainMariaDb, tls: TlsMariaDb, scheme: str
) -> None:
    url = f"{scheme}://root@localhost:{tls.port}/keeper?pool_size=10&max_overflow=20"
    assert connected(url, MYSQL_UNIX_PORT=str(plain.socket))["port"] == tls.port


@pytest.mark.parametrize("host", ["localhost", ""])
def test_no_port_is_the_default_port_and_not_the_default_socket(
    connected: Connect, plain: PlainMariaDb, host: str
) -> None:
    # MYSQL_TCP_PORT is the library's default port: nobody listens there, and the socket does not stand in.
    nobody = str(free_port())
    found = connected(f"mysql://root@{host}/keeper", MYSQL_UNIX_PORT=str(plain.socket), MYSQL_TCP_PORT=nobody)
    assert "2002" in str(found["refused"])
    port = str(plain.port)
    assert connected(f"mysql://root@{host}/keeper", MYSQL_TCP_PORT=port)["port"] == plain.port


def test_a_socket_is_reached_if_the_url_names_it(
    connected: Connect, plain: PlainMariaDb, tls: TlsMariaDb
) -> None:
    other = str(tls.directory / "mariadb.sock")
    url = f"mysql+pymysql://root@localhost/keeper?unix_socket={quote(str(plain.socket), safe='')}"
    assert connected(url, MYSQL_UNIX_PORT=other)["port"] == plain.port


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_and_a_percent_encoded_password_are_taken(
    connected: Connect, plain: PlainMariaDb, host: str
) -> None:
    found = connected(f"mysql://{_ACCOUNT}@{host}:{plain.port}/keeper?charset=utf8mb4")
    assert found == {"port": plain.port, "charset": "utf8mb4", "encrypted": False}


def test_a_server_whose_certificate_names_its_address_is_taken(connected: Connect, tls: TlsMariaDb) -> None:
    url = f"mysql://root@127.0.0.1:{tls.port}/keeper?ssl_mode=VERIFY_IDENTITY&ssl_ca={tls.ca}"
    assert connected(url) == {"port": tls.port, "charset": "utf8mb4", "encrypted": True}


@pytest.mark.parametrize("options", ["ssl_mode=VERIFY_IDENTITY&", ""])
def test_a_server_of_another_name_is_refused(connected: Connect, tls: TlsMariaDb, options: str) -> None:
    found = connected(f"mysql://root@127.0.0.2:{tls.port}/keeper?{options}ssl_ca={tls.ca}")
    assert "Hostname verification failed" in str(found["refused"])


@pytest.mark.parametrize("mode", ["VERIFY_CA", "VERIFY_IDENTITY"])
def test_the_systems_authorities_verify_where_the_url_names_none(
    connected: Connect, tls: TlsMariaDb, mode: str
) -> None:
    url = f"mysql://root@127.0.0.1:{tls.port}/keeper?ssl_mode={mode}"
    assert "self-signed" in str(connected(url)["refused"])
    assert connected(url, SSL_CERT_FILE=str(tls.ca))["encrypted"] is True


@pytest.mark.parametrize("mode", ["REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"])
def test_a_server_without_tls_is_refused(
    connected: Connect, plain: PlainMariaDb, tls: TlsMariaDb, mode: str
) -> None:
    authority = f"&ssl_ca={tls.ca}" if mode != "REQUIRED" else ""
    found = connected(f"mysql://root@127.0.0.1:{plain.port}/keeper?ssl_mode={mode}{authority}")
    assert "TLS" in str(found["refused"]) or "SSL" in str(found["refused"])


def test_required_encrypts_without_asking_who_answers(connected: Connect, tls: TlsMariaDb) -> None:
    assert connected(f"mysql://root@127.0.0.2:{tls.port}/keeper?ssl_mode=REQUIRED")["encrypted"] is True


def test_a_clients_certificate_is_passed_on(connected: Connect, tls: TlsMariaDb) -> None:
    base = f"mysql://root@127.0.0.1:{tls.port}/keeper?ssl_ca={tls.ca}&ssl_cert={tls.directory}/server.pem"
    assert connected(f"{base}&ssl_key={tls.directory}/server.key")["encrypted"] is True
    assert "refused" in connected(f"{base}&ssl_key={tls.ca}")
