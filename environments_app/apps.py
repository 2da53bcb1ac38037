"""Registers environments_app with Django."""

from django.apps import AppConfig


class EnvironmentsConfig(AppConfig):
    """Configuration of environments_app."""

    name = "environments_app"
    default_auto_field = "django.db.models.BigAutoField"
