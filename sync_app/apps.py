"""Registers sync_app with Django."""

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """Configuration of sync_app."""

    name = "sync_app"
    verbose_name = "Sync"
    default_auto_field = "django.db.models.BigAutoField"
