"""What sync keeps: targets, what was last synced with them, plans, runs; rotation policies and rotations."""

from sync_app.models.kept_copy import KeptCopy
from sync_app.models.migration import Migration, MigrationLine, MountRule, SourceCredentials
from sync_app.models.plan import Plan, PlanItem
from sync_app.models.reference_consent import ReferenceConsent
from sync_app.models.rotation import Acknowledgement, Rotation, RotationPolicy
from sync_app.models.run import Run, SyncPause
from sync_app.models.target import SyncEntry, Target
