"""Registers keeper_project with Django, so that its commands and checks are found."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps

from keeper_project.left_out import load_without

# The schema of the API needs the test client, which looks for drivers and for what renders; the AWS SDK
# takes TLS from Python.
load_without("rest_framework.test", "jinja2", "psycopg", "psycopg2", "pygments")
load_without("botocore.httpsession", "OpenSSL")


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
