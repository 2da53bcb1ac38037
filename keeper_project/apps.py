"""Registers keeper_project with Django, so that its commands and checks are found."""

from django.apps import AppConfig


class KeeperConfig(AppConfig):
    """Configuration of the project itself."""

    name = "keeper_project"
    verbose_name = "Keeper"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from keeper_project import checks  # noqa: F401, PLC0415 - they read settings, and register on import
