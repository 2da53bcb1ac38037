"""Plans: what a pass would do with each secret, stored and masked, and how far it was carried out."""

from enum import StrEnum
from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.recorder import AuditObject
from environments_app.fields import ExactCharField
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
    """What a plan's item does; the first eleven are the outcomes of `reconcile`."""

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
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "target.uuid",
        "kind",
        "options",
        "made_by_kind",
        "made_by_uuid",
    )

    target = models.ForeignKey(Target, on_delete=models.PROTECT, related_name="plans")
    kind = models.CharField(max_length=12, choices=[(k, k) for k in PlanKind], default=PlanKind.SYNC)
    state = models.CharField(max_length=12, choices=[(s, s) for s in PlanState], default=PlanState.MAKING)
    # The options of an adoption or a disconnection.
    options = models.JSONField(default=dict, blank=True)
    # The rules that it was made under, as they were then.
    rules = models.JSONField(default=dict, blank=True)
    # How many items of each act, also of those that are not stored one by one.
    counts = models.JSONField(default=dict, blank=True)
    keeper_complete = models.BooleanField(default=False)
    target_complete = models.BooleanField(default=False)
    made_by = models.CharField(max_length=150)
    made_by_kind = models.CharField(max_length=16)
    made_by_uuid = models.UUIDField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ready_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        """The newest first."""

        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"plan {self.pk}"

    @property
    def audit_object(self) -> AuditObject:
        """How events name this plan."""
        return AuditObject(kind="plan", uuid=self.uuid, name=self.target.name)


class PlanItem(models.Model):
    """The planned act for one secret, and its outcome. Unchanged ones are only counted."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="items")
    name = ExactCharField(max_length=MAX_NAME_LENGTH)
    act = models.CharField(max_length=16, choices=[(a, a) for a in Act])
    reason = models.CharField(max_length=200, blank=True, default="")
    state = models.CharField(max_length=12, choices=[(s, s) for s in ItemState], default=ItemState.PLANNED)
    secret_uuid = models.UUIDField(null=True)
    # What was seen when it was planned; applying re-checks each.
    keeper_version = models.CharField(max_length=64, blank=True, default="")
    keeper_number = models.PositiveIntegerField(null=True, blank=True)
    # Keeper's version in the target at that time, as far as known.
    there_number = models.PositiveIntegerField(null=True, blank=True)
    target_version = models.CharField(max_length=64, blank=True, default="")
    target_presence = models.CharField(max_length=12, blank=True, default="")
    remote_id = models.CharField(max_length=2048, blank=True, default="")
    # How many versions the target keeps of this secret, if that was set for it.
    target_keeps = models.PositiveIntegerField(default=0)
    ownership = models.CharField(max_length=8, choices=[(o, o) for o in Ownership], default=Ownership.NONE)
    # Makes a repeated write idempotent: stored before the call, and recomputed by a repetition.
    token = models.CharField(max_length=64, blank=True, default="")
    attempts = models.PositiveIntegerField(default=0)
    # The operator's sentence, and whether trying again can help.
    error = models.CharField(max_length=500, blank=True, default="")
    permanent = models.BooleanField(default=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """One item a name and plan; those still to be done are found by state."""

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
