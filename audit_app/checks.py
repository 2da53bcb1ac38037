"""System checks: what the audit log needs to be set up rightly."""

from typing import Any

from auditlog.registry import auditlog
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string

from audit_app.errors import BadSink
from audit_app.integrity.config_history import exposed_fields
from audit_app.retention.prune import MINIMUM_DAYS
from audit_app.sinks.registry import checkpoint_sinks, configured_event_sinks
from core.network.client_address import networks
from core.network.outbound import allowed_networks

# Columns whose text is a credential or its hash; binary columns are refused by their type.
SECRET_COLUMNS = frozenset({"password", "secret_hash", "session_key"})
_WIRING = (
    "KEEPER_KEYRING",
    "KEEPER_AUDIT_ACCESS_POLICY",
    "KEEPER_AUDIT_ALERTS",
    "KEEPER_STORED_EVENT_SINKS",
)
_WIRING_LISTS = (
    "KEEPER_INTEGRITY_CHECKS",
    "KEEPER_REPORT_SECTIONS",
    "KEEPER_NOTIFIERS",
    "KEEPER_SECRET_PANELS",
    "KEEPER_ENVIRONMENT_PANELS",
)


def wiring(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse a dotted path that leads nowhere: what it injects would be missed only when used."""
    paths = [(name, getattr(settings, name, "")) for name in _WIRING]
    paths += [(name, path) for name in _WIRING_LISTS for path in getattr(settings, name, [])]
    return [
        Error(
            f"{name} names {path!r}, which cannot be imported.",
            hint=f"Set {name} to the dotted path of something that exists.",
            id="audit_app.E001",
        )
        for name, path in paths
        if not _importable(path)
    ]


def trusted_proxies(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse an entry of KEEPER_TRUSTED_PROXIES that is neither address nor network."""
    try:
        networks(tuple(settings.KEEPER_TRUSTED_PROXIES))
    except ValueError as error:
        return [
            Error(
                f"KEEPER_TRUSTED_PROXIES: {error}.",
                hint="List addresses or networks, such as 10.0.0.5,192.168.0.0/16, or 'unix' for a socket.",
                id="audit_app.E002",
            )
        ]
    return []


def outbound_networks(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse an entry of KEEPER_OUTBOUND_ALLOWED that is no network, before a connection finds out."""
    try:
        allowed_networks(tuple(settings.KEEPER_OUTBOUND_ALLOWED))
    except ValueError as error:
        return [
            Error(
                f"KEEPER_OUTBOUND_ALLOWED: {error}.",
                hint="List addresses or networks, such as 10.20.0.0/16,192.168.7.9, separated by commas.",
                id="audit_app.E004",
            )
        ]
    return []


def sinks(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse what is no sink, before the audit log goes unsigned or events wait."""
    name = "KEEPER_EVENT_SINKS"
    try:
        configured_event_sinks()
        name = "KEEPER_AUDIT_SINKS"
        readable = checkpoint_sinks()
    except BadSink as error:
        return [
            Error(
                f"{name}: {error}.",
                hint="List sinks, such as file:/var/lib/keeper-anchors, separated by commas.",
                id="audit_app.E005",
            )
        ]
    if not any(sink.readable for sink in readable):
        return [
            checks.Warning(
                "KEEPER_AUDIT_SINKS names no sink that can be read back.",
                hint="Add a file or an S3 bucket: without, a log that was set back is signed again.",
                id="audit_app.W001",
            )
        ]
    return []


def retention(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse a retention of the audit log that is shorter than what has to be at hand."""
    if not 0 < settings.KEEPER_AUDIT_RETENTION_DAYS < MINIMUM_DAYS:
        return []
    return [
        Error(
            f"KEEPER_AUDIT_RETENTION_DAYS is shorter than {MINIMUM_DAYS} days.",
            hint=f"Give {MINIMUM_DAYS} days or more, or 0 to keep everything.",
            id="audit_app.E006",
        )
    ]


def configuration_history(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse a followed model whose sealed or secret columns would be copied into its history."""
    return [
        Error(
            f"The history of {model._meta.label} would copy: {', '.join(exposed)}.",
            hint="Name them in the exclude_fields of AUDITLOG_INCLUDE_TRACKING_MODELS.",
            obj=model,
            id="audit_app.E003",
        )
        for model in auditlog.get_models()
        if (exposed := exposed_fields(model, SECRET_COLUMNS))
    ]


def _importable(path: str) -> bool:
    try:
        import_string(path)
    except ImportError:
        return False
    return True
