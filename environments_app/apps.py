"""Registers environments_app with Django."""

from django.apps import AppConfig
from django.core.checks import Tags, register


class EnvironmentsConfig(AppConfig):
    name = "environments_app"
    verbose_name = "People and environments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from environments_app import checks  # noqa: PLC0415 - settings are loaded only now

        register(checks.token_peppers, Tags.security)
        register(checks.read_approval_minutes, Tags.security)
        register(checks.requirements, Tags.security)
        register(checks.strictness, Tags.security)
