"""The key providers: the one that wraps new data keys, and during a migration the other one too."""

import os
import threading

from django.conf import settings

from secrets_app.errors import KeyUnavailable
from secrets_app.keys.providers.aws_kms.provider import KmsProvider
from secrets_app.keys.providers.aws_kms.requests import with_extended_timeout
from secrets_app.keys.providers.base import KeyProvider
from secrets_app.keys.providers.local import LocalProvider

__all__ = ["PROVIDERS", "forget_provider", "provider", "provider_named", "with_extended_timeout"]

PROVIDERS: dict[str, type[KeyProvider]] = {"local": LocalProvider, "kms": KmsProvider}

_lock = threading.Lock()
# One of each a process: they keep connections and resolved aliases.
_instances: dict[str, KeyProvider] = {}


def provider() -> KeyProvider:
    """Return the provider that wraps this process's new data keys, chosen by KEY_MANAGEMENT_BACKEND.

    Raises KeyUnavailable if there is none of that name.
    """
    return provider_named(settings.KEY_MANAGEMENT_BACKEND)


def provider_named(name: str) -> KeyProvider:
    """Return a provider of this process.

    Raises KeyUnavailable unless it is that of KEY_MANAGEMENT_BACKEND, or KEY_MIGRATION is on.
    """
    if settings.KEY_MANAGEMENT_BACKEND not in PROVIDERS:
        raise KeyUnavailable(
            f"KEY_MANAGEMENT_BACKEND names no provider: choose one of {', '.join(PROVIDERS)}", permanent=True
        )
    if name != settings.KEY_MANAGEMENT_BACKEND and not (settings.KEY_MIGRATION and name in PROVIDERS):
        known = name if name in PROVIDERS else "an unknown provider"
        raise KeyUnavailable(
            f"what {known} wraps does not open, since KEY_MANAGEMENT_BACKEND is "
            f"{settings.KEY_MANAGEMENT_BACKEND}: set it back, or migrate the keys (KEY_MIGRATION)",
            permanent=True,
        )
    if name not in _instances:
        with _lock:
            if name not in _instances:
                _instances[name] = PROVIDERS[name]()
    return _instances[name]


def forget_provider() -> None:
    """Drop the process's providers, so that the next use makes them again."""
    _instances.clear()


# A forked process has neither the connections nor the threads of the one it came from.
os.register_at_fork(after_in_child=forget_provider)
