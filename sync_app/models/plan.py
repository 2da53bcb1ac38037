"""Plans: what a pass would do with each secret, stored and masked, and how far it was carried out."""

from enum import StrEnum
from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.drafts import AuditObject
from core.db.columns import (
    ExactCharField,
    choice,
    optional_number,
    optional_text,
    optional_timestamp,
    timestamp,
)
from secrets_app.models import MAX_NAME_LENGTH
from sync_app.domain.reconciliation import Ownership
from sync_app.models.target import Target


class PlanKind(StrEnum):
    """What a plan is for."""

    SYNC = "sync"
    # To take over secrets that exist in the target.
    ADOPT = "adopt"
    # To take leave of the target: leave, or withdraw, what was written there.
    DISCONNECT = "disconnect"


class PlanState(StrEnum):
    """How far a plan has come."""

    MAKING = "making"
    READY = "ready"
    APPLYING = "applying"
    # Every item is accounted for; some may have failed.
    DONE = "done"
    FAILED = "failed"
    # A newer plan of the target took its place, or it was discarded.
    SUPERSEDED = "superseded"


class Act(StrEnum):
    """What a plan's item does; the first twelve are the outcomes of `reconcile`."""

    UNCHANGED = "unchanged"
    CREATE = "create"
    UPDATE = "update"
    PULL = "pull"
    CONFLICT = "conflict"
    DRIFTED = "drifted"
    MISSING = "missing"
    DELETE = "delete"
    UNMANAGED = "unmanaged"
    REFUSED = "refused"
    OWNERSHIP_LOST = "ownership_lost"
    UNKNOWN = "unknown"
    # Put our mark on it, and note what both sides hold.
    ADOPT = "adopt"
    # Take our mark off, and leave it as it is.
    RELEASE = "release"


class ItemState(StrEnum):
    """What became of an item."""

    PLANNED = "planned"
    # The intent is committed and the act may have happened.
    INTENDED = "intended"
    DONE = "done"
    FAILED = "failed"
    # Nothing to do, or either side changed since the plan was made.
    SKIPPED = "skipped"


class Plan(AuthenticatedRow):
    """What one pass over a target found, and what it would do. It holds no value.

    What it is for is authenticated; its items are not, and are proved again when applied.
    """

    MAC_LABEL: ClassVar[str] = "sync-plan"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("target.uuid", "kind", "options", "made_by_kind", "made_by_uuid")

    target = models.ForeignKey(
        Target, on_delete=models.PROTECT, related_name="plans", help_text="The target that the plan is for."
    )
    kind = choice(
        PlanKind,
        "Whether the plan syncs, adopts existing secrets or disconnects the target.",
        max_length=12,
        default=PlanKind.SYNC,
    )
    state = choice(
        PlanState,
        "Whether the plan is in preparation, ready, applied, failed or superseded.",
        max_length=12,
        default=PlanState.MAKING,
    )
    options = models.JSONField(default=dict, blank=True, help_text="Options of an adoption or disconnection.")
    rules = models.JSONField(
        default=dict, blank=True, help_text="Rules of the target when the plan was made."
    )
    # How many items of each act, also of those that are not stored one by one.
    counts = models.JSONField(default=dict, blank=True, help_text="Number of secrets by action.")
    keeper_complete = models.BooleanField(
        default=False, verbose_name="Keeper complete", help_text="Whether every secret of Keeper was listed."
    )
    target_complete = models.BooleanField(
        default=False,
        help_text="Whether every secret of the target was listed. Without it nothing is deleted.",
    )
    made_by = models.CharField(
        max_length=150,
        verbose_name="requested by",
        help_text="Name of the person or program that requested the plan.",
    )
    made_by_kind = models.CharField(
        max_length=16,
        verbose_name="kind of requester",
        help_text="Whether a person, a token or Keeper requested it.",
    )
    made_by_uuid = models.UUIDField(
        verbose_name="requester UUID", help_text="Identifier of the account or token that requested it."
    )
    created_at = timestamp("created", "When the plan was requested, in UTC.")
    ready_at = optional_timestamp("ready", "When the plan was complete, in UTC.")
    finished_at = optional_timestamp("finished", "When the plan was applied or ended, in UTC.")
    error = optional_text(help_text="Why the plan failed.", max_length=500)

    class Meta:
        verbose_name = "sync plan"
        verbose_name_plural = "sync plans"
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"plan {self.pk}"

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="plan", uuid=self.uuid, name=self.target.name)


class PlanItem(models.Model):
    """The planned act for one secret, and its outcome. Unchanged ones are only counted."""

    plan = models.ForeignKey(
        Plan, on_delete=models.CASCADE, related_name="items", help_text="The plan that the item belongs to."
    )
    name = ExactCharField(max_length=MAX_NAME_LENGTH, help_text="Name of the secret.")
    act = choice(Act, "What is done with this secret.", max_length=16, verbose_name="action")
    reason = optional_text(help_text="Why this action was planned.", max_length=200)
    state = choice(
        ItemState,
        "Whether the action is planned, started, done, failed or skipped.",
        max_length=12,
        default=ItemState.PLANNED,
    )
    secret_uuid = models.UUIDField(
        null=True,
        verbose_name="secret UUID",
        help_text="Identifier of the secret in Keeper. Empty if Keeper has none.",
    )
    # What was seen when it was planned; applying re-checks each.
    keeper_version = optional_text(
        "version in Keeper", "Version in Keeper when the plan was made.", max_length=64
    )
    keeper_number = optional_number("number in Keeper", "Number of that version in Keeper.")
    there_number = optional_number(
        "number in the target", "Number of Keeper's version that the target held, if known."
    )
    target_version = optional_text(
        "version in the target", "The target's own version when the plan was made.", max_length=64
    )
    target_presence = optional_text("presence", "Whether the target had the secret.", max_length=12)
    remote_id = optional_text(
        "remote ID", "Identifier of the secret in the target, such as an ARN.", max_length=2048
    )
    target_keeps = models.PositiveIntegerField(
        default=0,
        db_default=0,
        verbose_name="versions kept",
        help_text="How many versions the target keeps. 0: not set for this secret.",
    )
    ownership = choice(
        Ownership,
        "Whether Keeper created, adopted or does not own the secret in the target.",
        max_length=8,
        default=Ownership.NONE,
    )
    # Makes a repeated write idempotent: stored before the call, and recomputed by a repetition.
    token = optional_text("write token", "Makes a repeated write harmless. Never shown.", max_length=64)
    attempts = models.PositiveIntegerField(default=0, help_text="Number of attempts.")
    # The operator's sentence, and whether trying again can help.
    error = optional_text(help_text="Why the last attempt failed.", max_length=500)
    permanent = models.BooleanField(default=False, help_text="Whether another attempt cannot help.")
    finished_at = optional_timestamp("finished", "When the action ended, in UTC.")

    class Meta:
        verbose_name = "planned action"
        verbose_name_plural = "planned actions"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["plan", "name"], name="plan_item_name")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["plan", "state", "id"], name="plan_item_by_state"),
            models.Index(fields=["plan", "act", "name", "id"], name="plan_item_by_act"),
        ]
        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return f"{self.act} {self.name}"
