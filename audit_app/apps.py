"""Registers audit_app with Django."""

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.models.signals import post_save, pre_save


class AuditConfig(AppConfig):
    name = "audit_app"
    verbose_name = "Audit log"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and tie django-auditlog's entries into the chain."""
        from audit_app import checks  # noqa: PLC0415 - models are loaded only now
        from audit_app.integrity import config_history  # noqa: PLC0415 - models are loaded only now

        register(checks.wiring)
        register(checks.trusted_proxies, Tags.security)
        register(checks.outbound_networks, Tags.security)
        register(checks.sinks, Tags.security)
        register(checks.retention, Tags.security)
        register(checks.configuration_history, Tags.security)
        pre_save.connect(
            config_history.attribute_entry, sender="auditlog.LogEntry", dispatch_uid="audit_app.attribute"
        )
        post_save.connect(config_history.tie_entry, sender="auditlog.LogEntry", dispatch_uid="audit_app.tie")
