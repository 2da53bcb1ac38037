"""What workers found of other systems, to look at."""

from django.contrib import admin

from audit_app.admin import ReadOnlyAdmin
from keeper_project.models import BackupRequest, ExternalSystem


@admin.register(ExternalSystem)
class ExternalSystemAdmin(ReadOnlyAdmin):
    """One row a system."""

    list_display = ("kind", "state", "detail", "failures", "checked_at", "changed_at")


@admin.register(BackupRequest)
class BackupRequestAdmin(ReadOnlyAdmin):
    """The backups and proofs that people asked for and that no worker has finished, to look at."""

    list_display = ("requested_at", "person", "name", "attempts", "lease_until")
