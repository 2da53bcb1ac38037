"""Registers secrets_app with Django."""

from django.apps import AppConfig


class SecretsConfig(AppConfig):
    """Configuration of secrets_app."""

    name = "secrets_app"
    default_auto_field = "django.db.models.BigAutoField"
