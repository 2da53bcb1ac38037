"""Registers keeper_project with Django, so that its commands and checks are found."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.contrib.admin import autodiscover
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core.checks import CheckMessage, Tags, register


class KeeperConfig(AppConfig):
    """Configuration of the project itself."""

    name = "keeper_project"
    verbose_name = "Keeper"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from keeper_project import checks  # noqa: F401, PLC0415 - they read settings, and register on import


class KeeperAdminConfig(admin_apps.SimpleAdminConfig):
    """Django's admin with Keeper's site; its pages are loaded with the addresses, which few commands need."""

    default = False
    default_site = "operations_app.admin_site.site.KeeperAdminSite"

    def ready(self) -> None:
        register(check_dependencies, Tags.admin)
        register(_loaded_sites, Tags.admin)


def _loaded_sites(**options: Any) -> Sequence[CheckMessage]:
    autodiscover()
    return check_admin_app(**options)
