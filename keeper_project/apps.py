"""Registers keeper_project with Django, so that its commands and checks are found."""

from django.apps import AppConfig


class KeeperConfig(AppConfig):
    """Configuration of the project itself."""

    name = "keeper_project"
    verbose_name = "Keeper"
    default_auto_field = "django.db.models.BigAutoField"
