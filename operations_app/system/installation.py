"""What this installation is: its version, schema, check results, and the settings in force.

Each setting shows where it comes from; what may be secret is never shown. Numbers and booleans are shown,
and texts only if they are listed here: a new setting is shown as "set" until it is listed.
"""

import platform
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core import checks
from django.db import connection
from django.utils import timezone

from core.config.variables import GROUPS, SOURCES, Group, Source, Variable
from operations_app.health.schema import installed_version, missing_migrations

_DATABASES: Final = {"sqlite": "SQLite", "mysql": "MariaDB"}
_LEVELS: Final = {checks.WARNING: "warning", checks.ERROR: "error", checks.CRITICAL: "critical"}


@dataclass(frozen=True, kw_only=True)
class DeploymentFinding:
    """What a system check found, with what to do."""

    id: str
    level: str
    text: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Build:
    """The versions of Keeper and what it runs on, and the migrations that the database lacks."""

    version: str
    python: str
    django: str
    database: str
    now: datetime
    unapplied: list[str]


def build() -> Build:
    """Return the version and the state of the schema."""
    return Build(
        version=installed_version(),
        python=platform.python_version(),
        django=django.get_version(),
        database=f"{_DATABASES[connection.vendor]} {'.'.join(map(str, connection.get_database_version()))}",
        now=timezone.now(),
        unapplied=missing_migrations(),
    )


def deployment_findings() -> list[DeploymentFinding]:
    """Return what `check --deploy` finds."""
    findings = checks.run_checks(include_deployment_checks=True)
    return [
        DeploymentFinding(
            id=message.id or "",
            level=_LEVELS.get(message.level, "info"),
            text=str(message.msg),
            hint=str(message.hint or ""),
        )
        for message in findings
        if not message.is_silenced()
    ]


# Texts that hold no credential.
PLAIN: Final = frozenset({
    "ALLOWED_HOSTS", "AWS_DEFAULT_REGION", "AWS_REGION", "CSRF_TRUSTED_ORIGINS", "DEFAULT_FROM_EMAIL",
    "EMAIL_HOST", "EMAIL_HOST_USER", "KEEPER_ADMIN_USERNAME", "KEEPER_ALERT_EMAILS",
    "KEEPER_AUDIT_ARCHIVE_DIR", "KEEPER_BACKUP_DIR", "KEEPER_DATA_DIR",
    "KEEPER_DEFAULT_TARGET_ENVIRONMENT", "KEEPER_DIGEST_HOUR", "KEEPER_FORWARDED_HEADER",
    "KEEPER_LEASE_FILE", "KEEPER_LISTEN", "KEEPER_LOCAL_KEY_FILE", "KEEPER_LOG_FILE", "KEEPER_LOG_LEVEL",
    "KEEPER_METRICS_ALLOWED", "KEEPER_METRICS_LISTEN", "KEEPER_OUTBOUND_ALLOWED", "KEEPER_REPORT_EMAILS",
    "KEEPER_REPORT_SCHEDULE", "KEEPER_SAML_CERTIFICATE_FILE", "KEEPER_SAML_EMAIL_ATTRIBUTE",
    "KEEPER_SAML_ENTITY_ID", "KEEPER_SAML_GROUPS_ATTRIBUTE", "KEEPER_SAML_IDP_ENTITY_ID",
    "KEEPER_SAML_KEY_FILE", "KEEPER_SAML_METADATA_FILE", "KEEPER_SAML_NAME_ATTRIBUTE",
    "KEEPER_SAML_USERNAME_ATTRIBUTE", "KEEPER_TRUSTED_PROXIES", "KEY_MANAGEMENT_BACKEND",
    "KMS_ALLOWED_KEYS", "KMS_KEY_ALIAS", "KMS_KEY_ID", "OKTA_CLIENT_ID", "PROMETHEUS_MULTIPROC_DIR",
    "STATIC_ROOT", "VAULT_MOUNT_POINT",
})  # fmt: skip
# Addresses that may hold a credential: scheme, host and port are shown.
ADDRESSES: Final = frozenset({
    "AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_STS",
    "CELERY_BROKER_URL", "DATABASE_URL", "KEEPER_AUDIT_SINKS", "KEEPER_DOCUMENTATION_URL",
    "KEEPER_EVENT_SINKS", "KEEPER_SAML_METADATA_URL", "KEEPER_URL", "OKTA_ISSUER", "REDIS_URL",
    "VAULT_URL",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One variable of the environment; `shown` is its value, or only whether there is one.

    `default` is as it is written in the environment, or describes what applies without it.
    """

    name: str
    shown: str
    source: Source
    default: str = ""
    help: str = ""
    group: str = ""

    @property
    def changed(self) -> bool:
        return self.source is not Source.DEFAULT

    def matches(self, text: str) -> bool:
        return text.casefold() in f"{self.name} {self.help} {self.group}".casefold()


def shown_settings() -> list[Setting]:
    """Return every variable that the settings asked for, by name."""
    declared = {variable.name: (group, variable) for group in GROUPS for variable in group.variables}
    return [
        _setting(name, source, *declared.get(name, (None, None))) for name, source in sorted(SOURCES.items())
    ]


def _setting(name: str, source: Source, group: Group | None, variable: Variable | None) -> Setting:
    text = _shown(name, getattr(settings, name, None), source)
    if variable is None or group is None:
        return Setting(name=name, shown=text, source=source)
    return Setting(
        name=name,
        shown=text,
        source=source,
        default=variable.unset or variable.default or "none",
        help=variable.help,
        group=group.title,
    )


def _shown(name: str, value: Any, source: Source) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if name in PLAIN:
        words = map(str, value) if isinstance(value, list | tuple) else [str(value or "")]
        return ", ".join(words) or "empty"
    if name in ADDRESSES and isinstance(value, str | list | tuple):
        words = [value] if isinstance(value, str) else map(str, value)
        return ", ".join(_without_credentials(word) for word in words if word) or "empty"
    is_set = bool(value) if value is not None else source is not Source.DEFAULT
    return "set" if is_set else "empty"


def _without_credentials(address: str) -> str:
    """Return scheme, host and port: a user, a path or a query may be a credential."""
    parts = urlsplit(address)
    if not parts.scheme:
        return "set"
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}" if place else f"{parts.scheme}:"
