"""The key providers, and the one that this installation is configured for."""

import threading

from django.conf import settings

from secrets_app.errors import KeyUnavailable
from secrets_app.key_providers.aws_kms import KmsProvider
from secrets_app.key_providers.base import KeyProvider
from secrets_app.key_providers.local import LocalProvider

PROVIDERS: dict[str, type[KeyProvider]] = {
    "local": LocalProvider,
    "kms": KmsProvider,
}

_lock = threading.Lock()
_instance: KeyProvider | None = None


def provider() -> KeyProvider:
    """Return the one provider of this process, chosen by KEY_MANAGEMENT_BACKEND.

    Raises KeyUnavailable if there is none of that name.
    """
    global _instance  # noqa: PLW0603 - one a process: it keeps connections and resolved aliases
    if _instance is None:
        with _lock:
            if _instance is None:
                _instance = _configured()
    return _instance


def forget_provider() -> None:
    """Drop the process's provider, so that the next use reads the settings anew (for tests)."""
    global _instance  # noqa: PLW0603
    _instance = None


def _configured() -> KeyProvider:
    name = settings.KEY_MANAGEMENT_BACKEND
    if name not in PROVIDERS:
        raise KeyUnavailable(
            f"KEY_MANAGEMENT_BACKEND names no provider: choose one of {', '.join(PROVIDERS)}", permanent=True
        )
    return PROVIDERS[name]()
