"""Says what is missing when a setting asks for a package that only production installs."""

from collections.abc import Iterator
from importlib.util import find_spec

from keeper_project.database_url import ENCRYPTED_MYSQL_ENGINE, MYSQL_ENGINE


def missing(*, database_engine: str, redis_url: str, broker_url: str) -> Iterator[str]:
    """Yield a sentence for each package that is asked for and not installed."""
    if database_engine in {MYSQL_ENGINE, ENCRYPTED_MYSQL_ENGINE} and find_spec("MySQLdb") is None:
        yield (
            "DATABASE_URL names MariaDB or MySQL, which needs mysqlclient: "
            "apt-get install gcc pkg-config libmariadb-dev python3-dev, then "
            "pip install -r requirements.txt."
        )
    if find_spec("redis") is None and any(url.startswith("redis") for url in (redis_url, broker_url)):
        yield (
            "REDIS_URL or CELERY_BROKER_URL names Redis, which needs the package redis: "
            "pip install -r requirements.txt."
        )
