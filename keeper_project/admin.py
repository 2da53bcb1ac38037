"""What workers found of other systems, to look at."""

from django.contrib import admin

from audit_app.admin import ReadOnlyAdmin
from keeper_project.models import ExternalSystem


@admin.register(ExternalSystem)
class ExternalSystemAdmin(ReadOnlyAdmin):
    """One row a system."""

    list_display = ("kind", "state", "detail", "failures", "checked_at", "changed_at")
