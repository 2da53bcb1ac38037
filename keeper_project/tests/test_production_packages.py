"""What a setting asks for and is not installed is named, with the command that installs it."""

import pytest

from core.config.database_url import ENCRYPTED_MYSQL_ENGINE, MYSQL_ENGINE
from keeper_project import startup
from keeper_project.startup import missing

SQLITE = "django.db.backends.sqlite3"


@pytest.fixture
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(startup, "find_spec", lambda _name: None)
    monkeypatch.setattr(startup, "import_module", import_module)


@pytest.mark.usefixtures("_nothing_installed")
def test_it_asks_for_nothing_when_embedded() -> None:
    assert list(missing(database_engine=SQLITE, redis_url="", broker_url="memory://", traces_url="")) == []


@pytest.mark.usefixtures("_nothing_installed")
@pytest.mark.parametrize("engine", [MYSQL_ENGINE, ENCRYPTED_MYSQL_ENGINE])
def test_it_names_the_packages_of_mysqlclient(engine: str) -> None:
    (sentence,) = missing(database_engine=engine, redis_url="", broker_url="memory://", traces_url="")
    assert "apt-get install gcc pkg-config libmariadb-dev" in sentence
    assert "requirements.txt" in sentence


@pytest.mark.usefixtures("_nothing_installed")
@pytest.mark.parametrize(("cache", "broker"), [("redis://db/0", "memory://"), ("", "rediss://db/1")])
def test_it_names_redis(cache: str, broker: str) -> None:
    (sentence,) = missing(database_engine=SQLITE, redis_url=cache, broker_url=broker, traces_url="")
    assert "package redis" in sentence


@pytest.mark.usefixtures("_nothing_installed")
def test_it_names_opentelemetry() -> None:
    url = "http://127.0.0.1:4318"
    (sentence,) = missing(database_engine=SQLITE, redis_url="", broker_url="memory://", traces_url=url)
    assert "requirements-otel.txt" in sentence


def test_it_finds_what_is_installed() -> None:
    url = "redis://db/0"
    assert list(missing(database_engine=MYSQL_ENGINE, redis_url=url, broker_url=url, traces_url=url)) == []
