"""The settings as they are in force, and where each comes from; what may be secret is never shown.

Numbers and booleans are shown, and texts only if they are listed here: a new setting is shown as "set"
until it is listed.
"""

from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

from keeper_project.config.env import Source
from keeper_project.config.variables import ENV

# Texts that hold no credential: an address may hold one, so that none is here.
PLAIN: Final = frozenset(
    {
        "ALLOWED_HOSTS",
        "AWS_REGION",
        "DEFAULT_FROM_EMAIL",
        "EMAIL_HOST",
        "KEEPER_BACKUP_DIR",
        "KEEPER_DATA_DIR",
        "KEEPER_FORWARDED_HEADER",
        "KEEPER_LOG_LEVEL",
        "KEEPER_METRICS_ALLOWED",
        "KEEPER_OUTBOUND_ALLOWED",
        "KEEPER_REPORT_SCHEDULE",
        "KEEPER_TRUSTED_PROXIES",
        "KEY_MANAGEMENT_BACKEND",
    }
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One variable of the environment; `shown` is its value, or only whether there is one."""

    name: str
    shown: str
    source: Source


def shown_settings() -> list[Setting]:
    """Return every variable that the settings asked for, by name."""
    return [
        Setting(name=name, shown=_shown(name, getattr(settings, name, None), source), source=source)
        for name, source in sorted(ENV.sources.items())
    ]


def _shown(name: str, value: Any, source: Source) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if name in PLAIN:
        words = map(str, value) if isinstance(value, list | tuple) else [str(value or "")]
        return ", ".join(words) or "empty"
    given = bool(value) if value is not None else source is not Source.DEFAULT
    return "set" if given else "empty"
