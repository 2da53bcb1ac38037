"""Runs: work on a target that any worker may claim, continue, and finish after another was killed."""

from enum import StrEnum
from typing import ClassVar, Final

from django.db import models
from django.utils import timezone

from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import AuthenticatedRow
from sync_app.models.plan import Plan
from sync_app.models.target import Target


class RunKind(StrEnum):
    """What a run does."""

    # Make a plan, and stop.
    PLAN = "plan"
    # Carry out a plan that is ready.
    APPLY = "apply"
    # Make a plan and carry it out.
    SYNC = "sync"
    # Read metadata only, and store the state of each secret.
    CHECK = "check"


# What writes to a target or to Keeper.
WRITING: Final = frozenset({RunKind.SYNC, RunKind.APPLY})


class RunState(StrEnum):
    """How far a run has come."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Trigger(StrEnum):
    """What asked for a run."""

    SCHEDULE = "schedule"
    CHANGE = "change"
    PERSON = "person"


class Run(AuthenticatedRow):
    """One piece of work on one target, held by a lease in database time.

    It names the actor of the work, and so is authenticated. `active` is True while queued
    or running, else NULL, so that a target has one at a time.
    `epoch` grows with each claim: a worker with an older epoch can write nothing.
    """

    MAC_LABEL: ClassVar[str] = "sync-run"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("target.uuid", "plan.uuid", "kind", "actor_kind", "actor_uuid")

    target = models.ForeignKey(Target, on_delete=models.PROTECT, related_name="runs")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, blank=True, related_name="runs")
    kind = models.CharField(max_length=8, choices=[(k, k) for k in RunKind])
    state = models.CharField(max_length=12, choices=[(s, s) for s in RunState], default=RunState.QUEUED)
    active = models.BooleanField(null=True, default=True)
    trigger = models.CharField(max_length=12, choices=[(t, t) for t in Trigger])
    # Who started it; asked again what they may do when it runs.
    actor_kind = models.CharField(max_length=16)
    actor_uuid = models.UUIDField()
    actor_name = models.CharField(max_length=150)
    request_id = models.CharField(max_length=64, blank=True, default="")
    lease_owner = models.CharField(max_length=100, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True, db_index=True)
    epoch = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    # Not before this time (back-off after a failure that may pass).
    not_before = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField(default=0)
    finished = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """One active run a target; the newest first."""

        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["target", "active"], name="run_one_active")
        ]
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def actor(self) -> Actor:
        """Who started it."""
        return Actor(
            kind=ActorKind(self.actor_kind),
            uuid=self.actor_uuid,
            name=self.actor_name,
            request_id=self.request_id,
        )


class SyncPause(models.Model):
    """The row whose presence pauses all of the sync, in every environment."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    paused_at = models.DateTimeField(default=timezone.now, editable=False)
    paused_by = models.CharField(max_length=150)

    def __str__(self) -> str:
        return f"paused by {self.paused_by}"
