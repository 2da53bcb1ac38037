"""DATABASE_URL in Django's and SQLAlchemy's spelling becomes Django's settings, or is refused."""

from pathlib import Path

import pytest

from keeper_project.database_url import BadDatabaseUrl, database_settings

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
    assert (entry["ENGINE"], entry["NAME"]) == ("audit_app.sqlite3", name)


def test_it_takes_sqlites_lock_when_a_transaction_begins() -> None:
    options = database_settings("sqlite:///keeper.db", base_dir=BASE)["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]
    assert "synchronous=FULL" in options["init_command"]


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mysql+mysqldb", "mariadb+pymysql"])
def test_it_reads_mysql_in_every_spelling(scheme: str) -> None:
    entry = database_settings(f"{scheme}://keeper:p%40ss%2Fword@db.example:3307/kept", base_dir=BASE)
    assert entry["ENGINE"] == "django.db.backends.mysql"
    assert (entry["USER"], entry["PASSWORD"]) == ("keeper", "p@ss/word")
    assert (entry["HOST"], entry["PORT"], entry["NAME"]) == ("db.example", "3307", "kept")


def test_it_accepts_sqlalchemys_pool_options_without_effect() -> None:
    url = "mysql+pymysql://keeper:pass@localhost/keeper"
    assert database_settings(f"{url}?pool_size=10&max_overflow=20", base_dir=BASE) == database_settings(
        url, base_dir=BASE
    )


def test_it_verifies_the_server_when_a_ca_is_given() -> None:
    options = database_settings("mysql://k@db/k?ssl_ca=/etc/ca.pem", base_dir=BASE)["OPTIONS"]
    assert options["ssl"] == {"ca": "/etc/ca.pem"}
    assert options["ssl_mode"] == "VERIFY_IDENTITY"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://keeper:hunter2@db/keeper",
        "hunter2",
        "sqlite:///keeper.db?hunter2=1",
        "mysql://keeper:hunter2@db/keeper?local_infile=1",
    ],
)
def test_it_refuses_what_it_does_not_know(url: str) -> None:
    with pytest.raises(BadDatabaseUrl, match=r"^DATABASE_URL: "):
        database_settings(url, base_dir=BASE)


def test_it_never_repeats_a_password() -> None:
    with pytest.raises(BadDatabaseUrl) as caught:
        database_settings("postgresql://keeper:hunter2@db/keeper?x=hunter2", base_dir=BASE)
    assert "hunter2" not in str(caught.value)
