"""Gives every test of audit_app its own keyring, and a process that remembers nothing."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from pytest_django import Settings

from audit_app.interfaces import forget_keyring
from audit_app.models import forget_deployment


@pytest.fixture(autouse=True)
def fresh_process(settings: Settings) -> Iterator[None]:
    settings.KEEPER_KEYRING = "audit_app.tests.keyring.ToyKeyring"
    settings.KEEPER_AUDIT_ACCESS_POLICY = "audit_app.tests.keyring.OpenPolicy"
    settings.KEEPER_INTEGRITY_CHECKS = []
    _forget()
    yield
    _forget()


def _forget() -> None:
    forget_keyring()
    forget_deployment()
    cache.clear()
