"""A database or broker that is away is one line a minute in the log, however often it is missed."""

import errno
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings as configured
from django.db import OperationalError, connections
from django.db.backends.mysql.base import DatabaseWrapper
from django.test import Client
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError
from pytest_django import DjangoDbBlocker

from core.tests.db.test_concurrency import full
from keeper_project.observability import outages
from keeper_project.observability.logging import configure
from tests.servers.server import free_port

logger = logging.getLogger("keeper.test")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "keeper.log"
    configure({"level": "INFO", "file": str(path)})
    yield path
    configure(configured.LOGGING)


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def miss_database() -> None:
    """Ask a MariaDB where none is, as a request or a task does."""
    options = {
        **connections["default"].settings_dict,
        "NAME": "keeper",
        "HOST": "127.0.0.1",
        "PORT": free_port(),
    }
    options |= {"USER": "keeper", "PASSWORD": "canary-41cc", "OPTIONS": {}, "CONN_MAX_AGE": 0}
    with DatabaseWrapper(options, "away").cursor() as cursor:
        cursor.execute("SELECT 1")


def miss_broker() -> None:
    """Hand a task to a Redis where none is, as beat does each second."""
    with Connection(f"redis://127.0.0.1:{free_port()}/0", connect_timeout=1) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)


def test_a_database_that_is_away_is_one_line_and_no_traceback(
    log: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    for number in range(50):
        try:
            with django_db_blocker.unblock():
                miss_database()
        except OperationalError:
            logger.exception("task %s failed", number)
    (line,) = lines(log)
    assert line["message"].startswith("the database does not answer: OperationalError 200")
    assert "Traceback" not in log.read_text()
    assert "canary-41cc" not in log.read_text()


def test_after_a_minute_it_is_told_again_with_how_much_was_left_out(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OperationalError(2013, "Lost connection to server during query")
    for _ in range(3):
        logger.error("request failed", extra={"cause": error})
    later = time.monotonic() + outages.EVERY_SECONDS + 1
    monkeypatch.setattr("keeper_project.observability.outages.time.monotonic", lambda: later)
    logger.error("request failed", extra={"cause": error})
    assert [line["message"] for line in lines(log)] == [
        "the database does not answer: OperationalError 2013",
        "the database does not answer: OperationalError 2013 (2 more since the last line)",
    ]


def test_requests_that_are_refused_meanwhile_are_counted(log: Path) -> None:
    requests = logging.getLogger("django.request")
    requests.error("Service Unavailable: /before", extra={"status_code": 503})
    logger.error("request failed", extra={"cause": OperationalError(2002, "no")})
    for _ in range(5):
        requests.error("Service Unavailable: /readyz", extra={"status_code": 503})
    requests.error("Internal Server Error: /", extra={"status_code": 500})
    assert [line["message"].partition(":")[0] for line in lines(log)] == [
        "Service Unavailable",
        "the database does not answer",
        "Internal Server Error",
    ]


def test_a_broker_that_is_away_is_one_line_beside_the_databases(log: Path) -> None:
    for _ in range(3):
        try:
            miss_broker()
        except BrokerError:
            logging.getLogger("celery.beat").exception("Message Error: %s", "a stack of many lines")
    try:
        redis.Redis(port=free_port()).ping()
    except redis.ConnectionError:
        logger.exception("the cache does not answer")
    logging.getLogger("celery.worker.consumer.consumer").error(
        "consumer: Cannot connect to %s: %s.\n%s", "redis://127.0.0.1:1//", "refused", "Trying again"
    )
    logger.error("request failed", extra={"cause": OperationalError(2002, "no")})
    assert [line["message"] for line in lines(log)] == [
        "the broker does not answer; what is due is kept in the database: OperationalError",
        "the database does not answer: OperationalError 2002",
    ]


def test_a_full_disk_is_one_line(log: Path) -> None:
    for error in (
        full(),
        OperationalError(1114, "The table is full"),
        OSError(errno.ENOSPC, "No space left"),
    ):
        try:
            raise error
        except (OperationalError, OSError):
            logger.exception("task failed")
    (line,) = lines(log)
    assert line["message"] == (
        "the disk of the database or of KEEPER_DATA_DIR is full: free space on it: OperationalError"
    )


def test_other_faults_keep_their_tracebacks(log: Path) -> None:
    for error in (
        OperationalError(1213, "Deadlock found"),
        OperationalError("no such table"),
        ValueError("x"),
    ):
        try:
            raise error
        except (OperationalError, ValueError):
            logger.exception("failed")
    assert log.read_text().count("Traceback") == 3


def test_a_password_that_is_rejected_is_said(log: Path) -> None:
    rejected = BrokerError("wrapped")
    rejected.__cause__ = redis.AuthenticationError("invalid username-password pair")
    logger.error("request failed", extra={"cause": rejected})
    logging.getLogger("celery.worker.consumer.consumer").error(
        "consumer: Cannot connect to %s: %s.\n%s", "redis://127.0.0.1:1//", rejected.__cause__, "Trying again"
    )
    (line,) = lines(log)
    assert line["message"].startswith("Redis rejects the username or password of REDIS_URL")


def test_requests_for_another_host_are_one_line_a_minute(log: Path, client: Client) -> None:
    for number in range(20):
        client.get("/sign-in", HTTP_HOST=f"stranger{number}.example")

    [line] = lines(log)
    assert "ALLOWED_HOSTS" in line["message"]
    assert "Traceback" not in log.read_text()
