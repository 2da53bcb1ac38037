"""Fixtures of the browser tests; KEEPER_SCREENSHOTS names a directory for pictures of the pages."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connections
from django.test import override_settings
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from environments_app.models import Environment, User
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from tests.browser.visitor import PATIENCE_MILLISECONDS, Visitor

# The one without windows, where it is packaged: the same engine for half of the CPU.
CHROMIUM = shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No page lives as long as it takes for compiling its scripts twice to pay.
    "--js-flags=--no-opt",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(f"{here}{os.sep}"):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    # Playwright's loop runs in this thread, in which the tests use the ORM between its calls.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, chromium_sandbox=False, args=ARGUMENTS
        )
        yield launched
        launched.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def without_tls() -> Iterator[None]:
    """The settings of the embedded start; middleware reads them once, when the server starts."""
    with override_settings(SECURE_SSL_REDIRECT=False, SECURE_HSTS_SECONDS=0, SESSION_COOKIE_SECURE=False):
        yield


@pytest.fixture(scope="session")
def live_server(without_tls: None, live_server: LiveServer) -> LiveServer:
    return live_server


@pytest.fixture
def site(live_server: LiveServer) -> str:
    """The address of a running Keeper."""
    return str(live_server.url)


@pytest.fixture
def visitor(browser: Browser, site: str) -> Iterator[Visitor]:
    """Opens pages; the test fails if one of them logged an error, broke the policy or asked elsewhere."""
    directory = os.environ.get("KEEPER_SCREENSHOTS")
    shots = Path(directory) if directory else None
    if shots is not None:
        shots.mkdir(parents=True, exist_ok=True)
    opened = Visitor(browser, site, shots)
    yield opened
    assert opened.close() == []


@pytest.fixture
def secret(cast: Cast) -> Callable[..., Secret]:
    """Store a secret as its owner would."""

    def make(
        name: str = "payments/db",
        value: str = "s3cr3t-Kx9",
        *,
        secret_type: SecretType = SecretType.PASSWORD,
        environment: Environment | None = None,
        user: User | None = None,
    ) -> Secret:
        return write.create(
            actor=cast.principal(user or cast.alice),
            environment=environment or cast.development,
            name=name,
            secret_type=secret_type,
            value=value,
        )

    return make


@pytest.fixture
def page(visitor: Visitor, cast: Cast) -> Page:
    """A window in which alice, who manages both environments, sees the dashboard."""
    return visitor.open("/", user=cast.alice)


@pytest.fixture(autouse=True)
def _closed_connections() -> Iterator[None]:
    yield
    connections.close_all()
