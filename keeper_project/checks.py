"""System checks: combinations of settings that are unsafe, or that cannot work."""

import os
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, register
from django.core.checks import Warning as CheckWarning

from keeper_project.startup import missing, renamed, unread

KEY_CHARACTERS: Final = 32
KEY_VARIETY: Final = 8
# What people copy out of examples.
_PLACEHOLDERS: Final = ("your-secret-key", "django-insecure", "change-me", "changeme", "secret-key-here")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1", "testserver", ".localhost"})


@register(Tags.security)
def debug_is_for_development(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse DEBUG where real keys are, or where others can reach it: its pages show values."""
    found: list[CheckMessage] = []
    if settings.DEBUG and settings.KEY_MANAGEMENT_BACKEND == "kms":
        found.append(
            Error(
                "DEBUG is on while KEY_MANAGEMENT_BACKEND is kms.",
                hint="DEBUG shows local variables in error pages. Set DEBUG=false, or use local keys.",
                id="keeper.E001",
            )
        )
    if settings.DEBUG and _served_to_others():
        found.append(
            Error(
                "DEBUG is on while ALLOWED_HOSTS names more than this machine.",
                hint="Set DEBUG=false, or leave ALLOWED_HOSTS unset.",
                id="keeper.E003",
            )
        )
    return found


@register(Tags.security)
def secret_key_is_a_secret(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse a SECRET_KEY that can be guessed: it signs sessions."""
    key = str(settings.SECRET_KEY)
    weak = len(key) < KEY_CHARACTERS or len(set(key)) < KEY_VARIETY
    if not weak and not any(text in key.lower() for text in _PLACEHOLDERS):
        return []
    return [
        Error(
            "SECRET_KEY is short, repetitive or copied from an example.",
            hint=f"Leave it unset, and Keeper makes one; or give {KEY_CHARACTERS} random characters or more.",
            id="keeper.E002",
        )
    ]


@register(Tags.security)
def plain_http_stays_here(**_kwargs: Any) -> list[CheckMessage]:
    """Warn of values and sessions that would cross a network in clear."""
    if settings.KEEPER_TLS or not _served_to_others():
        return []
    return [
        CheckWarning(
            "KEEPER_TLS is off while ALLOWED_HOSTS names more than this machine.",
            hint="Serve Keeper by TLS, or behind a proxy that ends it (KEEPER_TRUSTED_PROXIES).",
            id="keeper.W004",
        )
    ]


@register(Tags.compatibility)
def asked_for_packages(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse settings that need a package which is not installed."""
    sentences = missing(
        database_engine=settings.DATABASES["default"]["ENGINE"],
        redis_url=settings.REDIS_URL,
        broker_url=settings.CELERY_BROKER_URL,
        traces_url=settings.KEEPER_TRACES_URL,
    )
    return [Error(sentence, id="keeper.E005") for sentence in sentences]


@register(Tags.compatibility)
def broker_of_files(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse the broker of files that Keeper had: Kombu's own loses messages and reads half of one."""
    if not settings.CELERY_BROKER_URL.startswith("filesystem:"):
        return []
    return [
        Error(
            "CELERY_BROKER_URL names a folder.",
            hint="Leave it unset: the worker of `keeper run` needs no broker. Others need Redis.",
            id="keeper.E009",
        )
    ]


@register(Tags.compatibility)
def shared_state(**_kwargs: Any) -> list[CheckMessage]:
    """Warn where several processes would each count refusals and heartbeats for themselves."""
    engine = settings.DATABASES["default"]["ENGINE"]
    if engine.endswith("sqlite3") or settings.REDIS_URL:
        return []
    return [
        CheckWarning(
            "DATABASE_URL names a server while REDIS_URL is unset.",
            hint="Without Redis, processes share no cache, and only `keeper run` can run a worker.",
            id="keeper.W006",
        )
    ]


@register(Tags.compatibility)
def known_variables(**_kwargs: Any) -> list[CheckMessage]:
    """Name variables that are set and not read, and what to set instead."""
    return [
        Info(f"{name} is set, and Keeper does not read it.", hint=advice, id="keeper.I007")
        if name.startswith("VAULT_")
        else CheckWarning(f"{name} is set, and Keeper does not read it.", hint=advice, id="keeper.W007")
        for name, advice in unread(os.environ)
    ]


@register(Tags.compatibility)
def renamed_variables(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse variables that are set by their old name: the default would be used in their place."""
    return [
        Error(f"{old} has another name.", hint=f"Set {new} instead.", id="keeper.E020")
        for old, new in renamed(os.environ)
    ]


@register(Tags.compatibility)
def key_management_backend(**_kwargs: Any) -> list[CheckMessage]:
    """Warn of production's database under keys that lie in a file beside it."""
    engine = settings.DATABASES["default"]["ENGINE"]
    if engine.endswith("sqlite3") or settings.KEY_MANAGEMENT_BACKEND != "local":
        return []
    return [
        CheckWarning(
            "DATABASE_URL names a server while KEY_MANAGEMENT_BACKEND is local.",
            hint="Every machine needs the same key file (KEEPER_LOCAL_KEY_FILE); kms needs none.",
            id="keeper.W008",
        )
    ]


def _served_to_others() -> bool:
    return any(host not in _LOOPBACK for host in settings.ALLOWED_HOSTS)
