"""DATABASE_URL in Django's and SQLAlchemy's spelling becomes Django's settings, or is refused."""

from pathlib import Path

import pytest

from core.config.database_url import BadDatabaseUrl, database_settings

BASE = Path("/srv/keeper")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///keeper.db", "/srv/keeper/keeper.db"),
        ("sqlite:////var/lib/keeper.db", "/var/lib/keeper.db"),
        ("sqlite:///a%20b.db", "/srv/keeper/a b.db"),
        ("sqlite://", ":memory:"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_it_reads_sqlite(url: str, name: str) -> None:
    entry = database_settings(url, base_dir=BASE)
    assert (entry["ENGINE"], entry["NAME"]) == ("core.db.sqlite3", name)


def test_it_takes_sqlites_lock_when_a_transaction_begins() -> None:
    options = database_settings("sqlite:///keeper.db", base_dir=BASE)["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]
    assert "synchronous=FULL" in options["init_command"]


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mysql+mysqldb", "mariadb+pymysql"])
def test_it_reads_mysql_in_every_spelling(scheme: str) -> None:
    entry = database_settings(f"{scheme}://keeper:p%40ss%2Fword@db.example:3307/kept", base_dir=BASE)
    assert entry["ENGINE"] == "core.db.mariadb"
    assert (entry["USER"], entry["PASSWORD"]) == ("keeper", "p@ss/word")
    assert (entry["HOST"], entry["PORT"], entry["NAME"]) == ("db.example", "3307", "kept")


def test_it_accepts_sqlalchemys_pool_options_without_effect() -> None:
    url = "mysql+pymysql://keeper:pass@localhost/keeper"
    assert database_settings(f"{url}?pool_size=10&max_overflow=20", base_dir=BASE) == database_settings(
        url, base_dir=BASE
    )


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("localhost", ("127.0.0.1", "")),
        ("LOCALHOST:3307", ("127.0.0.1", "3307")),
        ("[::1]:3307", ("::1", "3307")),
        ("", ("127.0.0.1", "")),
    ],
)
def test_a_host_is_reached_by_tcp(host: str, reached: tuple[str, str]) -> None:
    entry = database_settings(f"mysql://keeper@{host}/keeper", base_dir=BASE)
    assert (entry["HOST"], entry["PORT"]) == reached
    assert "unix_socket" not in entry["OPTIONS"]


def test_several_hosts_are_tried_in_their_order() -> None:
    url = "mysql://keeper:p%2Cw,d@a:3306,b,[::1]:3307,localhost/keeper?wsrep_sync_wait=0"
    entry = database_settings(url, base_dir=BASE)
    assert entry["HOSTS"] == [("a", "3306"), ("b", ""), ("::1", "3307"), ("127.0.0.1", "")]
    assert (entry["HOST"], entry["PORT"], entry["PASSWORD"]) == ("a", "3306", "p,w,d")
    assert entry["SYNC_WAIT"] == 0
    alone = database_settings("mysql://keeper@a/keeper", base_dir=BASE)
    assert "HOSTS" not in alone
    assert alone["SYNC_WAIT"] == 1


@pytest.mark.parametrize(
    ("hosts", "query"),
    [("a,", ""), ("a,,b", ""), ("a,b:port", ""), ("a,[::1", ""), ("localhost,b", "?unix_socket=/run/s.sock"),
     ("a,b", "?wsrep_sync_wait=2")],
)  # fmt: skip
def test_hosts_that_cannot_be_read_are_refused_without_the_password(hosts: str, query: str) -> None:
    with pytest.raises(BadDatabaseUrl) as caught:
        database_settings(f"mysql://keeper:hunter2@{hosts}/keeper{query}", base_dir=BASE)
    assert "hunter" not in str(caught.value)


def test_a_socket_is_asked_for_by_its_option() -> None:
    url = "mysql+pymysql://keeper@localhost/keeper?unix_socket=/run/mysqld.sock"
    entry = database_settings(url, base_dir=BASE)
    # Django passes a host that is a path on as the socket, to its shell as well.
    assert (entry["HOST"], entry["PORT"]) == ("/run/mysqld.sock", "")


@pytest.mark.parametrize(
    ("query", "passed"),
    [
        ("ssl_ca=/ca.pem", {"ssl_mode": "VERIFY_IDENTITY", "ssl": {"ca": "/ca.pem"}}),
        ("ssl_ca=/ca.pem&ssl_mode=VERIFY_CA", {"ssl_mode": "VERIFY_CA", "ssl": {"ca": "/ca.pem"}}),
        (
            "ssl_ca=/ca.pem&ssl_cert=/c.pem&ssl_key=/k.pem",
            {"ssl_mode": "VERIFY_IDENTITY", "ssl": {"ca": "/ca.pem", "cert": "/c.pem", "key": "/k.pem"}},
        ),
        ("ssl_mode=REQUIRED", {"ssl_mode": "REQUIRED"}),
        ("ssl_mode=DISABLED", {"ssl_mode": "DISABLED"}),
        ("charset=utf8mb4", {}),
    ],
)
def test_what_it_asks_of_tls_is_passed_on(query: str, passed: dict[str, object]) -> None:
    options = database_settings(f"mysql://k@db/k?{query}", base_dir=BASE)["OPTIONS"]
    assert {name: options[name] for name in options if name.startswith("ssl")} == passed
    assert options["charset"] == "utf8mb4"


def test_a_mode_that_verifies_takes_the_systems_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "mysql://k@db/k?ssl_mode=VERIFY_IDENTITY"
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    assert database_settings(url, base_dir=BASE)["OPTIONS"]["ssl"] == {"ca": __file__}
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    monkeypatch.setenv("SSL_CERT_DIR", str(Path(__file__).parents[1]))
    assert database_settings(url, base_dir=BASE)["OPTIONS"]["ssl"] == {
        "capath": str(Path(__file__).parents[1])
    }
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    with pytest.raises(BadDatabaseUrl, match="ssl_ca"):
        database_settings(url, base_dir=BASE)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("local_infile=1", "local_infile"),
        ("sslmode=require", "sslmode"),
        ("ssl_mode=", "ssl_mode"),
        ("ssl_mode", "ssl_mode"),
        ("pool_size=", "pool_size"),
        ("ssl_mode=REQUIRED&ssl_mode=DISABLED", "ssl_mode"),
        ("ssl_mode=PREFERRED", "ssl_mode"),
        ("ssl_mode=required", "ssl_mode"),
        ("ssl_mode=REQUIRED&ssl_ca=/ca.pem", "ssl_ca"),
        ("ssl_mode=DISABLED&ssl_ca=/ca.pem", "ssl_ca"),
        ("ssl_ca=/ca.pem&ssl_cert=/c.pem", "ssl_key"),
        ("ssl_ca=/ca.pem&ssl_key=/c.pem", "ssl_cert"),
        ("charset=latin1", "charset"),
        ("unix_socket=mysqld.sock", "unix_socket"),
        ("unix_socket=/run/mysqld.sock&ssl_mode=REQUIRED", "unix_socket"),
        ("unix_socket=/run/mysqld.sock&ssl_ca=/ca.pem", "unix_socket"),
    ],
)
def test_an_option_that_would_be_dropped_is_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(BadDatabaseUrl, match=rf"^DATABASE_URL: .*\b{named}\b") as caught:
        database_settings(f"mysql://keeper:hunter2@localhost/keeper?{query}", base_dir=BASE)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["db", "localhost:3306", "127.0.0.1"])
def test_a_socket_beside_a_host_or_a_port_is_refused(address: str) -> None:
    with pytest.raises(BadDatabaseUrl, match="unix_socket"):
        database_settings(f"mysql://keeper@{address}/keeper?unix_socket=/run/mysqld.sock", base_dir=BASE)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://keeper:hunter2@db/keeper",
        "hunter2",
        "sqlite:///keeper.db?hunter2=1",
        "sqlite://keeper.db",
        "sqlite:///keeper#1.db",
        "mysql://keeper:hunter2@db/keeper?local_infile=1",
        "mysql://keeper:hunter2@db",
        "mysql://keeper:hunter2@db/",
        "mysql://keeper:hunter2@db/keeper/other",
        "mysql://keeper:hunter2@db:port/keeper",
        "mysql://keeper:hunter2@[::1/keeper",
    ],
)
def test_it_refuses_what_it_does_not_know(url: str) -> None:
    with pytest.raises(BadDatabaseUrl, match=r"^DATABASE_URL: "):
        database_settings(url, base_dir=BASE)


@pytest.mark.parametrize("special", ["/", "?", "#", "[", "]", "?a=", "/?", "\uff0f", "@/", ":/"])
def test_it_never_repeats_a_password(special: str) -> None:
    for url in (
        f"mysql://keeper:hunter2{special}hunter3@db:3306/keeper",
        f"mysql://keeper:{special}hunter2@db/keeper?ssl_mode=VERIFY_IDENTITY",
    ):
        with pytest.raises(BadDatabaseUrl, match="Percent-encode") as caught:
            database_settings(url, base_dir=BASE)
        assert "hunter" not in str(caught.value)
        # A traceback would print the one that it came from.
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    with pytest.raises(BadDatabaseUrl) as caught:
        database_settings("postgresql://keeper:hunter2@db/keeper?x=hunter2", base_dir=BASE)
    assert "hunter2" not in str(caught.value)
