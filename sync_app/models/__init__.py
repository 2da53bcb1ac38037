"""What sync keeps: targets, what was last synced with them, plans, and the runs that make and apply plans."""

from sync_app.models.plan import Plan, PlanItem
from sync_app.models.run import Run, SyncPause
from sync_app.models.target import SyncEntry, Target

__all__ = ["Plan", "PlanItem", "Run", "SyncEntry", "SyncPause", "Target"]
