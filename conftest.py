"""How the suite is run: in which order, without a network; `tests.fixtures` has its fixtures."""

import gc
import re
from pathlib import Path

import hypothesis
import pytest
import pytest_socket
from django.contrib import admin
from django.contrib.auth.hashers import Argon2PasswordHasher

from tests import bytecode

pytest_plugins = ["tests.fixtures"]
LOOPBACK = ["127.0.0.1", "::1", "localhost"]
# Found out once a process, and not before each test.
_ADDRESSES: dict[str, set[str]] = {}
# A module's tests bear these by its own text alone.
_MARKS_IN_THE_TEXT = {"every_database", "every_database_weekly"}
# Where the files are that take longest: one that begins last must not leave the other processes alone.
SLOW_FOLDERS = (
    "tests/browser",
    "tests/production",
    "keeper_project/tests/processes",
    "tests/operation",
    "tests/api",
    "tests/access",
    "sync_app",
    "keeper_project/tests/runtime",
    # In each of these a single test takes a quarter of a minute.
    "keeper_project/tests/management",
    "tests/database",
    "tests/people",
    "tests/distribution",
    "secrets_app/tests/key_operations",
    "audit_app/tests/retention",
    "operations_app/tests/backup",
    "client",
)

# How fast an example runs says something of the machine, and nothing of the code. The suite tries the same
# examples for the same code, so that its verdict is the commit's; the long forms try others each time.
hypothesis.settings.register_profile(
    "keeper", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], derandomize=True
)
hypothesis.settings.register_profile("torture", hypothesis.settings.get_profile("keeper"), derandomize=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-torture", action="store_true", help="run the long forms of tests as well")


def pytest_configure(config: pytest.Config) -> None:
    bytecode.keep()
    # The same algorithm with less work: a hash of full cost takes as long as ten tests.
    Argon2PasswordHasher.time_cost = Argon2PasswordHasher.parallelism = 1
    Argon2PasswordHasher.memory_cost = 8
    hypothesis.settings.load_profile("torture" if config.getoption("--run-torture") else "keeper")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Load no module of which `-m every_database` leaves no test."""
    wanted = set(re.split(r"\W+or\W+", config.getoption("markexpr")))
    if not wanted <= _MARKS_IN_THE_TEXT or not collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    return None if any(re.search(rf"\bmark\.{mark}\b", text) for mark in wanted) else True


def pytest_collection() -> None:
    # Cases are made of the admin's pages, which a process loads with its addresses.
    admin.autodiscover()
    # What is loaded and collected stays: the collector would go over all of it, and free nothing.
    gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Stable: in each folder files stay in the order of pytest-randomly.
    items.sort(key=lambda item: [not item.nodeid.startswith(folder) for folder in SLOW_FOLDERS])
    for item in items:
        # Without a test that asks for a database, pytest-django makes none, and there is nothing to copy.
        asked, marked = getattr(item, "fixturenames", ()), item.get_closest_marker("django_db")
        if "django_db_setup" in asked and "_django_db_helper" not in asked and not marked:
            # What a test itself copies, SQLite copies in no transaction.
            item.add_marker(pytest.mark.django_db(transaction="schema" not in asked))
    if config.getoption("--run-torture"):
        return
    long = [item for item in items if item.get_closest_marker("torture")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_runtest_setup() -> None:
    pytest_socket.socket_allow_hosts(LOOPBACK, allow_unix_socket=True, resolution_cache=_ADDRESSES)
