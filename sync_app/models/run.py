"""Runs: work on a target that any worker may claim, continue, and finish after another was killed."""

from enum import StrEnum
from typing import ClassVar, Final

from django.db import models

from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import AuthenticatedRow
from core.db.columns import choice, optional_text, optional_timestamp, timestamp
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
    # Sign in and ask for the permissions that the target's rules need; nothing is read or written.
    TEST = "test"


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

    target = models.ForeignKey(
        Target, on_delete=models.PROTECT, related_name="runs", help_text="The target that the run works on."
    )
    plan = models.ForeignKey(
        Plan,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="runs",
        help_text="The plan that the run makes or applies.",
    )
    kind = choice(
        RunKind, "Whether the run plans, applies, syncs, checks or tests the connection.", max_length=8
    )
    state = choice(
        RunState,
        "Whether the run is queued, running, done, failed or canceled.",
        max_length=12,
        default=RunState.QUEUED,
    )
    active = models.BooleanField(null=True, default=True, help_text="Yes while the run is queued or running.")
    trigger = choice(Trigger, "Whether the schedule, a change or a person started it.", max_length=12)
    # Who started it; asked again what they may do when it runs.
    actor_kind = models.CharField(
        max_length=16,
        verbose_name="kind of actor",
        help_text="Whether a person, a token or Keeper started it.",
    )
    actor_uuid = models.UUIDField(
        verbose_name="actor UUID", help_text="Identifier of the account or token that started it."
    )
    actor_name = models.CharField(
        max_length=150, verbose_name="started by", help_text="Name of the person or program that started it."
    )
    request_id = optional_text("request ID", "Identifier of the request that started it.", max_length=64)
    lease_owner = optional_text("worker", "The worker that holds the run.", max_length=100)
    lease_until = optional_timestamp(
        "claimed until", "Until when the worker holds it, in UTC.", db_index=True
    )
    epoch = models.PositiveIntegerField(
        default=0,
        verbose_name="claim number",
        help_text="Counts the claims by workers. An older worker cannot write.",
    )
    attempts = models.PositiveIntegerField(default=0, help_text="Number of attempts.")
    # Not before this time (back-off after a failure that may pass).
    not_before = optional_timestamp("next attempt", "When the next attempt may begin, in UTC.")
    total = models.PositiveIntegerField(
        default=0, verbose_name="secrets", help_text="Number of secrets that the run handles."
    )
    finished = models.PositiveIntegerField(default=0, help_text="Number of secrets that are done.")
    failed = models.PositiveIntegerField(default=0, help_text="Number of secrets that failed.")
    skipped = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Number of secrets that were left alone."
    )
    error = optional_text(help_text="Why the run failed, or what a test found.", max_length=500)
    created_at = timestamp("requested", "When the run was requested, in UTC.")
    started_at = optional_timestamp("started", "When a worker began, in UTC.")
    finished_at = optional_timestamp("ended", "When the run ended, in UTC.")

    class Meta:
        verbose_name = "sync run"
        verbose_name_plural = "sync runs"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["target", "active"], name="run_one_active")
        ]
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def written(self) -> int:
        """How many secrets were written: of those that are done, what neither failed nor was left alone."""
        return self.finished - self.failed - self.skipped

    @property
    def actor(self) -> Actor:
        return Actor(
            kind=ActorKind(self.actor_kind),
            uuid=self.actor_uuid,
            name=self.actor_name,
            request_id=self.request_id,
        )


class SyncPause(models.Model):
    """The row whose presence pauses all of the sync, in every environment."""

    id = models.PositiveSmallIntegerField(
        primary_key=True,
        default=1,
        editable=False,
        verbose_name="ID",
        help_text="Always 1: there is one pause for the installation.",
    )
    paused_at = timestamp("paused", "When all sync was paused, in UTC.")
    paused_by = models.CharField(max_length=150, help_text="Name of the person who paused all sync.")

    class Meta:
        verbose_name = "pause of all sync"
        verbose_name_plural = "pauses of all sync"

    def __str__(self) -> str:
        return f"paused by {self.paused_by}"
