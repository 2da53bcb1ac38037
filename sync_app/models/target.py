"""Targets, and what Keeper knows of each secret that it syncs with one."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, NamedTuple
from uuid import UUID

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from core.db.columns import (
    ExactCharField,
    LiveField,
    choice,
    optional_number,
    optional_text,
    optional_timestamp,
    timestamp,
)
from environments_app.models import Environment
from environments_app.models.columns import path_prefix
from secrets_app.envelope import TARGET_CREDENTIALS, Context
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.models import MAX_NAME_LENGTH, DataKey
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Conflict, Deletion, DeletionBudget, Direction, Ownership, Rules

MAX_TAGS_TEXT: Final = 512


class Target(AuthenticatedRow):
    """A place in another system that an environment is synced with.

    `live` is True, or NULL once it was removed. The destination never changes; `system` and
    `place` are its normalised key, by which overlapping destinations are found.
    """

    MAC_LABEL: ClassVar[str] = "target"
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("only_tags",)
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid", "name", "backend", "destination", "endpoint", "system", "place", "scope",
        "direction", "conflict", "deletion", "budget_number", "budget_percent", "automatic", "paused_at",
        "live",
    )  # fmt: skip

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="targets",
        help_text="The environment that is synced.",
    )
    name = ExactCharField(max_length=63, help_text="Name of the target, unique in its environment.")
    backend = models.CharField(
        max_length=32, help_text="The kind of system: Vault KV v2 or AWS Secrets Manager."
    )
    # The backend's destination fields, each of them, without credentials.
    destination = models.JSONField(
        default=dict, help_text="Where secrets are written, without credentials. It cannot be changed later."
    )
    # The normalised address that the credentials may be sent to; they are sealed for it.
    endpoint = models.CharField(max_length=2048, help_text="Address that the credentials may be sent to.")
    # Which system that is, however it is addressed (an AWS account and region, a Vault mount).
    system = ExactCharField(
        max_length=400, help_text="The system behind the address, such as an AWS account and region."
    )
    place = path_prefix("Path in the system below which the secrets are written.", verbose_name="path")
    # JSON of the backend's credential fields; an empty object: what the machine has.
    credentials = EncryptedField(
        label=TARGET_CREDENTIALS,
        context="sealing_context",
        verbose_name="encrypted credentials",
        help_text="Credentials for the system, encrypted. Never shown.",
    )
    data_key = models.ForeignKey(
        DataKey,
        to_field="uuid",
        on_delete=models.PROTECT,
        related_name="targets",
        help_text="The key that encrypts the credentials.",
    )
    scope = path_prefix("Only secrets under this path are synced. Empty: all secrets of the environment.")
    # Only secrets with one of these tags take part, separated by commas; empty: all. Chosen once.
    only_tags = ExactCharField(
        max_length=MAX_TAGS_TEXT,
        blank=True,
        default="",
        db_default="",
        verbose_name="tags",
        help_text="Only secrets with one of these tags are synced. Empty: all secrets under the path.",
    )
    direction = choice(
        Direction,
        "Whether values go to the target, come from it, or both.",
        max_length=8,
        default=Direction.PUSH,
    )
    conflict = choice(
        Conflict,
        "What happens if both sides changed.",
        max_length=16,
        default=Conflict.ASK,
        verbose_name="conflicts",
    )
    deletion = choice(
        Deletion,
        "What happens in the target if a secret is deleted in Keeper.",
        max_length=16,
        default=Deletion.NEVER,
        verbose_name="deletions",
    )
    budget_number = models.PositiveIntegerField(
        default=10,
        verbose_name="deletion limit",
        help_text="Highest number of secrets that one run may delete.",
    )
    budget_percent = models.PositiveIntegerField(
        default=10,
        verbose_name="deletion limit (percent)",
        help_text="Highest share of secrets that one run may delete.",
    )
    interval_seconds = models.PositiveIntegerField(
        default=300,
        verbose_name="interval (seconds)",
        help_text="Time between two scheduled runs. 0: after changes and manually.",
    )
    automatic = models.BooleanField(
        default=False,
        verbose_name="applies automatically",
        help_text="Whether scheduled runs apply their plan. Otherwise they only detect drift.",
    )
    live = LiveField(verbose_name="active", help_text="Yes for an active target. No once it is removed.")
    paused_at = optional_timestamp("paused", "When the target was paused, in UTC. Empty: it is not paused.")
    # When the next pass is due; a change in the environment brings it forward.
    due_at = optional_timestamp("next run", "When the next run is due, in UTC.", db_index=True)
    last_success_at = optional_timestamp("last success", "When a run last succeeded, in UTC.")
    last_failure_at = optional_timestamp("last failure", "When a run last failed, in UTC.")
    last_error = optional_text(help_text="Why the last run failed. Empty after a success.", max_length=500)
    failures = models.PositiveIntegerField(
        default=0, help_text="Number of failed runs since the last success."
    )
    created_at = timestamp("created", "When the target was created, in UTC.")
    updated_at = models.DateTimeField(
        auto_now=True, verbose_name="updated", help_text="When the target was last changed, in UTC."
    )

    class Meta:
        verbose_name = "sync target"
        verbose_name_plural = "sync targets"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["environment", "name", "live"], name="target_live_name")
        ]
        ordering: ClassVar[list[str]] = ["environment", "name"]

    def __str__(self) -> str:
        return str(self.name)

    @property
    def rules(self) -> Rules:
        """What the target's owner chose, for `reconcile`."""
        return Rules(
            direction=Direction(self.direction),
            conflict=Conflict(self.conflict),
            deletion=Deletion(self.deletion),
        )

    @property
    def tags(self) -> list[str]:
        """The tags of which a secret needs one to take part; none: every secret does."""
        return self.only_tags.split(",") if self.only_tags else []

    @property
    def budget(self) -> DeletionBudget:
        return DeletionBudget(number=self.budget_number, percent=self.budget_percent)

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="target", uuid=self.uuid, name=self.name)

    def sealing_context(self) -> Context:
        return Context(
            deployment=deployment_uuid(),
            label=TARGET_CREDENTIALS,
            row=self.uuid,
            environment=self.environment.uuid,
            parent=(str(self.endpoint).encode(),),
        )


class Intent(NamedTuple):
    """The base that a write would make: Keeper's version, the target's, and the number of Keeper's."""

    keeper: str = ""
    target: str = ""
    number: int | None = None


NO_INTENT: Final = Intent()
_CLAIMED: Final = ("ownership", "remote_id", "base_keeper", "base_target", "base_number", "secret_uuid")


class SyncEntry(AuthenticatedRow):
    """What Keeper stores of one name at one target: ownership, last synced versions, state.

    `base_*` are the versions of both sides when they last held the same value, empty while
    unknown. Whether a secret may be touched is decided by `ownership` and the mark on the secret.
    """

    # Each pass writes many; runs record the work.
    RECORDED: ClassVar[bool] = False
    MAC_LABEL: ClassVar[str] = "sync-entry"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "target.uuid", "name", "secret_uuid", "remote_id", "ownership", "base_keeper", "base_target",
    )  # fmt: skip
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = (
        "intended_keeper",
        "intended_target",
        "claimed_from",
        "base_form",
    )

    target = models.ForeignKey(
        Target,
        on_delete=models.PROTECT,
        related_name="entries",
        help_text="The target that holds or will hold the secret.",
    )
    name = ExactCharField(max_length=MAX_NAME_LENGTH, help_text="Name of the secret.")
    secret_uuid = models.UUIDField(
        null=True,
        db_index=True,
        verbose_name="secret UUID",
        help_text="Identifier of the secret in Keeper. Empty if Keeper has none.",
    )
    # The ARN, or Vault's time of creation: another secret of the same name has another one.
    remote_id = optional_text(
        "remote ID", "Identifier of the secret in the target, such as an ARN.", max_length=2048
    )
    ownership = choice(
        Ownership,
        "Whether Keeper created, adopted or does not own the secret in the target.",
        max_length=8,
        default=Ownership.NONE,
    )
    base_keeper = optional_text(
        "synced version in Keeper",
        "Version in Keeper when both sides last held the same value.",
        max_length=64,
    )
    base_target = optional_text(
        "synced version in the target",
        "Version in the target when both sides last held the same value.",
        max_length=64,
    )
    base_number = optional_number("synced number", "Number of the version that both sides last held.")
    # The form in which a JSON object was written (Backend.value_form), or `entry_rows.STAND_IN`.
    base_form = optional_text(
        "form of objects",
        "How a JSON object was last written in the target. Empty for one text.",
        max_length=8,
        db_default="",
    )
    # The base that a write under way would make, noted before it; empty once its outcome is known.
    intended_keeper = optional_text(
        "version being written", "Version in Keeper of a write that is under way.", max_length=64
    )
    intended_target = optional_text(
        "version being replaced", "Version in the target that a write under way replaces.", max_length=64
    )
    intended_number = optional_number("number being written", "Number of the version that is being written.")
    # What the entry knew of a secret that was not found there and is about to be created, as JSON; empty
    # once that is settled. A system that answers 404 for a while has it all the same.
    claimed_from = models.TextField(
        blank=True,
        default="",
        db_default="",
        verbose_name="state before creation",
        help_text="What was stored before a creation that is not settled, as JSON.",
    )
    # Keeper's version stored there as pending, and its version there; the mark on the secret proves it before
    # any act. `pending_at` is when that version was made, NULL
    # while it is only intended.
    pending_keeper = optional_text(
        "pending version in Keeper", "Version that a rotation stored in the target as pending.", max_length=64
    )
    pending_target = optional_text(
        "pending version in the target", "The target's own version of the pending value.", max_length=64
    )
    pending_at = optional_timestamp("pending since", "When the pending version was written, in UTC.")
    state = choice(
        DeliveryState,
        "State of the secret in the target at the last check.",
        max_length=16,
        default=DeliveryState.PENDING,
    )
    # Words of Keeper's own about the state: a reason of `reconcile` or an operator's sentence.
    reason = optional_text(help_text="Why the secret has this state.", max_length=500)
    # Passes in a row that left it undelivered: an alert follows after PASSES_UNTIL_ALERT.
    undelivered = models.PositiveIntegerField(
        default=0,
        db_default=0,
        verbose_name="passes without delivery",
        help_text="Number of runs in a row that did not deliver it.",
    )
    checked_at = optional_timestamp("checked", "When the target was last checked for this secret, in UTC.")
    synced_at = optional_timestamp("synced", "When both sides last held the same value, in UTC.")

    class Meta:
        verbose_name = "synced secret"
        verbose_name_plural = "synced secrets"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["target", "name"], name="sync_entry_name")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["target", "state", "name"], name="sync_entry_by_state")
        ]
        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return str(self.name)

    def set_baseline(self, *, keeper: str, target: str, number: int | None) -> None:
        """Note which versions of both sides hold the same value, which settles what was intended."""
        self.base_keeper, self.base_target, self.base_number = keeper, target, number
        self.claimed_from = ""
        self.clear_intent()

    def claim(self, secret: UUID | None) -> Mapping[str, Any]:
        """Call the secret ours, should the answer to its creation be lost; return what was known before.

        The previous state of an existing secret is kept with the entry until the creation is settled.
        """
        if not self.claimed_from:
            known = {name: getattr(self, name) for name in _CLAIMED}
            known["secret_uuid"] = self.secret_uuid.hex if self.secret_uuid else None
            if not self.remote_id:
                self._set_claimed(secret)
                return known
            self.claimed_from = json.dumps(known)
        self._set_claimed(secret)
        return self.claimed_from_state

    @property
    def claimed_from_state(self) -> Mapping[str, Any]:
        """The state of an existing secret before it was claimed; empty if it is not claimed."""
        known: dict[str, Any] = json.loads(self.claimed_from) if self.claimed_from else {}
        return known

    def restore_claimed_from(self, known: Mapping[str, Any]) -> None:
        for name in _CLAIMED:
            setattr(self, name, known[name])
        self.secret_uuid = UUID(known["secret_uuid"]) if known["secret_uuid"] else None
        self.claimed_from = ""

    def _set_claimed(self, secret: UUID | None) -> None:
        if self.ownership == Ownership.NONE:
            self.ownership = Ownership.CREATED
        self.remote_id = self.base_keeper = self.base_target = ""
        self.secret_uuid = secret
        self.state = DeliveryState.PENDING

    @property
    def intent(self) -> Intent:
        """The write under way, or of which it is not known what became of it."""
        return Intent(self.intended_keeper, self.intended_target, self.intended_number)

    def record_intent(self, intent: Intent) -> None:
        """Note what is about to be written, or was and may be there."""
        self.intended_keeper, self.intended_target, self.intended_number = intent

    def clear_intent(self) -> None:
        self.record_intent(NO_INTENT)

    def next_version_at(self, apart: timedelta, now: datetime) -> datetime:
        """Return when a system that takes one new version in so long a time takes another of this secret."""
        # What is later than it can be was noted before the clock was put back.
        made = [at for at in (self.synced_at, self.pending_at) if at is not None and at <= now + apart]
        return max(made) + apart if made else now
