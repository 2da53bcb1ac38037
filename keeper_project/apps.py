"""Registers keeper_project with Django, so that its commands and checks are found."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class KeeperConfig(AppConfig):
    """Configuration of the project itself."""

    name = "keeper_project"
    verbose_name = "Keeper"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from keeper_project import checks  # noqa: F401, PLC0415 - they read settings, and register on import


class KeeperAdminConfig(admin_apps.AdminConfig):
    """Django's admin with Keeper's site."""

    default = False
    default_site = "operations_app.admin_site.site.KeeperAdminSite"
