"""Unsafe and impossible combinations of settings are found when Keeper starts."""

from collections.abc import Callable

import pytest
from django.core.checks import CheckMessage
from pytest_django import Settings

from core.config.database_url import MYSQL_ENGINE
from keeper_project import checks, startup

MYSQL = {"default": {"ENGINE": MYSQL_ENGINE}}
CHECKS: list[Callable[..., list[CheckMessage]]] = [
    checks.debug_is_for_development,
    checks.secret_key_is_a_secret,
    checks.plain_http_stays_here,
    checks.asked_for_packages,
    checks.broker_of_files,
    checks.shared_state,
    checks.known_variables,
    checks.renamed_variables,
    checks.key_management_backend,
]


@pytest.fixture(autouse=True)
def _sound(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DEBUG = False
    settings.KEEPER_TLS = True
    settings.ALLOWED_HOSTS = ["localhost"]
    settings.SECRET_KEY = "b7Yq-0fVw3nXk9sLe2RtUa8HcMzPgJdQ"
    settings.KEY_MANAGEMENT_BACKEND = "local"
    settings.REDIS_URL = ""
    settings.CELERY_BROKER_URL = "memory://"
    # The settings fixture may not replace DATABASES of the running tests.
    monkeypatch.setattr(
        checks, "settings", Overlay(settings, DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}})
    )
    for name in ("FLASK_ENV", "VAULT_TOKEN"):
        monkeypatch.delenv(name, raising=False)


class Overlay:
    """Settings with some values of its own."""

    def __init__(self, settings: Settings, **own: object) -> None:
        self.__dict__.update(own)
        self._settings = settings

    def __getattr__(self, name: str) -> object:
        return getattr(self._settings, name)


def found() -> set[str]:
    return {str(message.id) for check in CHECKS for message in check()}


def on_mysql(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(checks, "settings", Overlay(settings, DATABASES=MYSQL))


def test_sound_settings_pass() -> None:
    assert found() == set()


def test_debug_is_refused_with_kms(settings: Settings) -> None:
    settings.DEBUG, settings.KEY_MANAGEMENT_BACKEND = True, "kms"
    assert found() == {"keeper.E001"}


def test_debug_is_refused_where_others_are_served(settings: Settings) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, ["keeper.example.com"]
    assert found() == {"keeper.E003"}


def test_debug_is_accepted_on_this_machine(settings: Settings) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, ["localhost", "127.0.0.1", "[::1]"]
    assert found() == set()


@pytest.mark.parametrize(
    "key",
    [
        "short",
        "a" * 60,
        "your-secret-key-here-and-some-more-text",
        "django-insecure-b7Yq0fVw3nXk9sLe2RtUa8Hc",
    ],
)
def test_a_weak_secret_key_is_refused(settings: Settings, key: str) -> None:
    settings.SECRET_KEY = key
    assert found() == {"keeper.E002"}


def test_plain_http_for_others_is_warned_of(settings: Settings) -> None:
    settings.KEEPER_TLS, settings.ALLOWED_HOSTS = False, ["localhost", "keeper.example.com"]
    assert found() == {"keeper.W004"}


def test_packages_that_are_missing_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "find_spec", lambda _name: None)
    settings.REDIS_URL = "redis://localhost"
    assert found() == {"keeper.E005"}


def test_a_server_without_redis_or_kms_is_warned_of(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_mysql(monkeypatch, settings)
    assert found() == {"keeper.W006", "keeper.W008"}


def test_a_broker_of_files_is_refused(settings: Settings) -> None:
    settings.CELERY_BROKER_URL = "filesystem:///var/messages"
    assert found() == {"keeper.E009"}


def test_production_passes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    on_mysql(monkeypatch, settings)
    settings.REDIS_URL = settings.CELERY_BROKER_URL = "redis://localhost"
    settings.KEY_MANAGEMENT_BACKEND = "kms"
    assert found() == set()


def test_variables_that_nobody_reads_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_ENV", "development")
    monkeypatch.setenv("VAULT_TOKEN", "hvs.hunter2")
    assert found() == {"keeper.W007", "keeper.I007"}
    assert "hunter2" not in repr(checks.known_variables())


@pytest.mark.parametrize("suffix", ["", "_FILE"])
def test_a_variable_by_its_old_name_is_refused(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setenv(f"KEEPER_RETENTION_DAYS{suffix}", "0")
    (refused,) = checks.renamed_variables()
    assert (refused.id, refused.hint) == (
        "keeper.E020",
        f"Set KEEPER_DELETED_RETENTION_DAYS{suffix} instead.",
    )
    assert refused.is_serious()
