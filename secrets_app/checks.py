"""Refuses settings of the key layer that are unsafe or cannot work, before anything is served."""

import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet
from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from secrets_app.keys.providers.registry import PROVIDERS
from secrets_app.keys.wrapping import RESERVED_PREFIX

# A key's ARN, or account and region as the start of one.
_ALLOWED: Final = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:(key/[A-Za-z0-9-]+)?")
_LIMITS: Final = (
    "KMS_DEK_CACHE_TTL",
    "KMS_DEK_CACHE_SIZE",
    "KMS_DEK_CACHE_USES",
    "KMS_DATA_KEY_MAX_AGE_DAYS",
    "KMS_TIMEOUT_SECONDS",
)


def keys(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """Check the settings of the key layer, whatever `app_configs` asks for."""
    del app_configs
    return [
        *_backend(),
        *_kms(),
        *_encryption_context(),
        *_allowed_keys(),
        *_limits(),
        *_local_key_file(),
        *_legacy_keys(),
    ]


def _backend() -> Iterator[checks.CheckMessage]:
    if settings.KEY_MANAGEMENT_BACKEND not in PROVIDERS:
        yield checks.Error(
            "KEY_MANAGEMENT_BACKEND names no key provider.",
            hint=f"Set it to one of: {', '.join(PROVIDERS)}.",
            id="keeper.E010",
        )


def _legacy_keys() -> Iterator[checks.CheckMessage]:
    try:
        for key in settings.LEGACY_FERNET_KEYS:
            Fernet(key)
    except ValueError:
        yield checks.Error(
            "LEGACY_FERNET_KEYS holds what is no Fernet key.",
            hint="A Fernet key is 32 bytes in URL-safe base64; separate several by commas.",
            id="keeper.E018",
        )


def _kms() -> Iterator[checks.CheckMessage]:
    if settings.KEY_MANAGEMENT_BACKEND != "kms" and not settings.KEY_MIGRATION:
        return
    if settings.DEBUG:
        yield checks.Error(
            "DEBUG is on while keys are kept in KMS: an error page would show what production holds.",
            hint="Set DEBUG=false, or KEY_MANAGEMENT_BACKEND=local.",
            id="keeper.E017",
        )
    if not (settings.KMS_KEY_ID or settings.KMS_KEY_ALIAS):
        yield checks.Error(
            "No KMS key is configured.", hint="Set KMS_KEY_ID or KMS_KEY_ALIAS.", id="keeper.E011"
        )
    if settings.KMS_KEY_ID and settings.KMS_KEY_ALIAS:
        yield checks.Warning(
            "KMS_KEY_ID and KMS_KEY_ALIAS are both set: the alias is ignored.",
            hint="Set one of them.",
            id="keeper.W011",
        )
    if not settings.AWS_REGION:
        yield checks.Error("No AWS region is configured.", hint="Set AWS_REGION.", id="keeper.E012")


def _encryption_context() -> Iterator[checks.CheckMessage]:
    pairs = settings.KMS_ENCRYPTION_CONTEXT
    if not isinstance(pairs, dict) or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in pairs.items()
    ):
        yield checks.Error(
            "KMS_ENCRYPTION_CONTEXT is not a JSON object of text to text.",
            hint='Write it as {"application":"keeper"}.',
            id="keeper.E013",
        )
    elif any(name.startswith(RESERVED_PREFIX) for name in pairs):
        yield checks.Error(
            f"KMS_ENCRYPTION_CONTEXT uses a name that begins with {RESERVED_PREFIX!r}.",
            hint="Choose another name: Keeper sets those itself, to bind each data key to its place.",
            id="keeper.E014",
        )


def _allowed_keys() -> Iterator[checks.CheckMessage]:
    if not all(_ALLOWED.fullmatch(entry) for entry in settings.KMS_ALLOWED_KEYS):
        yield checks.Error(
            "KMS_ALLOWED_KEYS holds what is neither a key's ARN nor the start of one.",
            hint="Write arn:aws:kms:REGION:ACCOUNT:key/ID, or arn:aws:kms:REGION:ACCOUNT: for all of them.",
            id="keeper.E015",
        )


def _limits() -> Iterator[checks.CheckMessage]:
    for name in _LIMITS:
        if getattr(settings, name) <= 0:
            yield checks.Error(
                f"{name} is not a positive number.", hint="Unset it for the default.", id="keeper.E016"
            )


def _local_key_file() -> Iterator[checks.CheckMessage]:
    if settings.KEY_MANAGEMENT_BACKEND != "local" and not settings.KEY_MIGRATION:
        return
    path = Path(settings.KEEPER_LOCAL_KEY_FILE)
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield checks.Warning(
            "The local key file may be read by others than its owner.",
            hint=f"Run chmod 600 {path}, and rotate what it protects if others have read it.",
            id="keeper.W010",
        )
