"""Registers audit_app with Django."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Configuration of audit_app."""

    name = "audit_app"
    default_auto_field = "django.db.models.BigAutoField"
