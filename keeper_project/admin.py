"""What workers found of other systems, to look at."""

from audit_app.admin import read_only
from keeper_project.models import BackupRequest, ExternalSystem

read_only(ExternalSystem, "kind state detail failures checked_at changed_at")
read_only(BackupRequest, "requested_at person name attempts lease_until")
