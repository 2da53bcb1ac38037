"""Fixtures of the access tests."""

from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.models import Environment, User
from environments_app.principals import system_principal
from environments_app.tests.cast import Cast, make_cast
from environments_app.tokens import issue


@pytest.fixture(autouse=True)
def _fresh(settings: Settings) -> Iterator[None]:
    settings.SECURE_SSL_REDIRECT = False
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def sql() -> Callable[..., None]:
    """Write to the database as somebody would who goes round Keeper."""

    def run(statement: str, *parameters: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    return run


@pytest.fixture
def events() -> Callable[..., list[AuditEvent]]:
    """Return the events of an action, oldest first."""

    def find(action: str, **conditions: object) -> list[AuditEvent]:
        return list(AuditEvent.objects.filter(action=action, **conditions).order_by("id"))

    return find


@pytest.fixture
def signed_in() -> Callable[[User], Client]:
    """Return a browser in which somebody is signed in."""

    def start(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="environments_app.local_login.LocalBackend")
        return client

    return start


@pytest.fixture
def bearer() -> Callable[..., Client]:
    """Return a client that sends a new service token."""

    def start(role: str, environment: Environment | None = None, **options: object) -> Client:
        actor = system_principal(is_admin=True)
        _, text = issue(actor=actor, environment=environment, role=role, name=f"{role}-token", **options)
        return Client(headers={"authorization": f"Bearer {text}"})

    return start
