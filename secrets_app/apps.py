"""Registers secrets_app with Django."""

from django.apps import AppConfig
from django.core.checks import Tags, register


class SecretsConfig(AppConfig):
    """Configuration of secrets_app."""

    name = "secrets_app"
    verbose_name = "Secrets"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secrets_app import checks  # noqa: PLC0415 - models are loaded only now

        register(checks.keys, Tags.security)
