"""Rotation policies, each of one secret; their rotations; and the version that each consumer confirmed."""

from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from core.db.columns import LiveField, choice, optional_number, optional_text, optional_timestamp, timestamp
from environments_app.models import Environment
from secrets_app.envelope import ROTATOR_CREDENTIALS, Context
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.models import DataKey, Secret
from sync_app.domain.rotation_state import ENDED, SERVED, OperatorAction, Slot, Step, allowed_actions
from sync_app.models.run import Trigger


class RotationPolicy(AuthenticatedRow):
    """How the value of one secret is rotated: by which rotator, where, how often, with which grace.

    It decides where values and an administrator's credential go, and so is authenticated. `live` is
    True, or NULL once it was removed. A policy outlives its secret, whose uuid it keeps.
    """

    MAC_LABEL: ClassVar[str] = "rotation-policy"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "environment.uuid", "secret_id", "rotator", "settings", "endpoint", "interval_seconds", "cron",
        "window", "time_zone", "grace_seconds", "waits_for_consumers", "suspended_at", "live",
    )  # fmt: skip

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="rotation_policies",
        help_text="The environment of the secret.",
    )
    secret = models.ForeignKey(
        Secret,
        to_field="uuid",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="rotation_policies",
        help_text="The secret whose value is rotated.",
    )
    rotator = models.CharField(max_length=32, help_text="The kind of system whose credential is rotated.")
    settings = models.JSONField(default=dict, help_text="Settings of the rotator, without credentials.")
    # The normalised address that the administrator's credential may be sent to; it is sealed for it.
    endpoint = optional_text(
        help_text="Address that the administrator's credential may be sent to.", max_length=2048
    )
    credentials = EncryptedField(
        label=ROTATOR_CREDENTIALS,
        context="sealing_context",
        verbose_name="encrypted credential",
        help_text="The administrator's credential, encrypted. Never shown.",
    )
    data_key = models.ForeignKey(
        DataKey,
        to_field="uuid",
        on_delete=models.PROTECT,
        related_name="rotation_policies",
        help_text="The key that encrypts the credential.",
    )
    # Cadence: every so many seconds, or by a cron line; with neither, by hand only.
    interval_seconds = models.PositiveIntegerField(
        default=0,
        verbose_name="interval (seconds)",
        help_text="Time between two rotations. 0: by the cron expression, or manually.",
    )
    cron = optional_text(
        "cron expression",
        "When rotations are due, as five cron fields. Empty: by the interval.",
        max_length=100,
    )
    window = optional_text(
        help_text="When scheduled rotations may begin, such as mon-fri 01:00-05:00. Empty: at any time.",
        max_length=64,
    )
    time_zone = models.CharField(
        max_length=64, default="UTC", help_text="Time zone of the cron expression and the window."
    )
    grace_seconds = models.PositiveIntegerField(
        default=24 * 3600,
        verbose_name="overlap (seconds)",
        help_text="How long the previous value keeps working.",
    )
    waits_for_consumers = models.BooleanField(
        default=False,
        help_text="Whether the previous value is retired only after every consumer confirmed the new one.",
    )
    suspended_at = optional_timestamp(
        "suspended", "When an operator suspended the policy, in UTC. Empty: it is not suspended."
    )
    live = LiveField(verbose_name="active", help_text="Yes for an active policy. No once it is removed.")
    due_at = optional_timestamp(
        "next rotation", "When the next rotation is due, in UTC. Empty: manual rotations only.", db_index=True
    )
    last_rotated_at = optional_timestamp("last rotation", "When the value was last rotated, in UTC.")
    created_at = timestamp("created", "When the policy was created, in UTC.")
    updated_at = models.DateTimeField(
        auto_now=True, verbose_name="updated", help_text="When the policy was last changed, in UTC."
    )

    # Of one that was just created: in what its logins differ. It is not stored, since it changes elsewhere.
    differences: tuple[Any, ...] = ()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["secret", "live"], name="rotation_policy_live")
        ]
        ordering: ClassVar[list[str]] = ["id"]
        verbose_name_plural = "rotation policies"

    def __str__(self) -> str:
        return f"rotation policy {self.pk}"

    @property
    def audit_object(self) -> AuditObject:
        """How events name this policy: by its secret's name, until that is purged."""
        try:
            name = self.secret.name
        except Secret.DoesNotExist:
            name = ""
        return AuditObject(kind="rotation-policy", uuid=self.uuid, name=name)

    def sealing_context(self) -> Context:
        return Context(
            deployment=deployment_uuid(),
            label=ROTATOR_CREDENTIALS,
            row=self.uuid,
            environment=self.environment.uuid,
            parent=(str(self.endpoint).encode(),),
        )


class Rotation(AuthenticatedRow):
    """One rotation under a policy, held by a lease in database time, at a step of `rotation.states`.

    `slot` is at work, or waiting behind the one at work; NULL once ended, so that a policy
    has one of each. `epoch` grows with each claim: a worker with an older epoch can write nothing.
    A stopped one waits for an operator.
    """

    MAC_LABEL: ClassVar[str] = "rotation"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "policy.uuid", "step", "reverted", "emergency", "actor_kind", "actor_uuid", "from_number",
        "to_number", "login", "keys_before", "grace_until", "cut",
    )  # fmt: skip

    # Added later, so that what was stored before stays genuine.
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("leaves",)

    policy = models.ForeignKey(
        RotationPolicy,
        on_delete=models.PROTECT,
        related_name="rotations",
        help_text="The policy that the rotation follows.",
    )
    step = choice(Step, "How far the rotation has come.", max_length=12, default=Step.WAITING)
    slot = models.CharField(  # noqa: DJ001  NULLs are distinct
        max_length=8,
        choices=[(s, s) for s in Slot],
        null=True,
        default=Slot.WAITING,
        help_text="Whether it is running or waits behind another one. Empty once it has ended.",
    )
    trigger = choice(Trigger, "Whether the schedule, a change or a person started it.", max_length=12)
    # Without a grace period, and regardless of windows and targets: explicitly requested.
    emergency = models.BooleanField(
        default=False, help_text="Whether it ignores windows and leaves no overlap."
    )
    # The step at which it was given up, if that left a login valid: ended by the next rotation, or by hand.
    leaves = optional_text(
        "abandoned in step", "Step at which it was abandoned with a login that is still valid.", max_length=12
    )
    reverted = models.BooleanField(
        default=False, verbose_name="rolled back", help_text="Whether the previous value is delivered again."
    )
    # An operator ended the grace early, or an emergency waits behind it.
    cut = models.BooleanField(
        default=False,
        verbose_name="overlap ended early",
        help_text="Whether an operator ended the overlap early.",
    )
    # Who asked for it; asked again what they may do when it begins.
    actor_kind = models.CharField(
        max_length=16,
        verbose_name="kind of actor",
        help_text="Whether a person, a token or Keeper requested it.",
    )
    actor_uuid = models.UUIDField(
        verbose_name="actor UUID", help_text="Identifier of the account or token that requested it."
    )
    actor_name = models.CharField(
        max_length=150,
        verbose_name="requested by",
        help_text="Name of the person or program that requested it.",
    )
    request_id = optional_text("request ID", "Identifier of the request that started it.", max_length=64)
    reason = optional_text(help_text="Why it was requested.", max_length=200)
    # The versions before and after; the latter is the pending one until it is served.
    from_number = optional_number("previous version", "Number of the version before the rotation.")
    to_number = optional_number("new version", "Number of the version that the rotation writes.")
    # What was written down before `set`: the login that gets a new secret, the ids of keys that were there.
    login = optional_text(help_text="Name of the login that gets the new value.", max_length=255)
    keys_before = models.JSONField(
        default=list,
        blank=True,
        verbose_name="earlier keys",
        help_text="Identifiers of access keys that existed before.",
    )
    grace_until = optional_timestamp("overlap ends", "When the previous value stops working, in UTC.")
    lease_owner = optional_text("worker", "The worker that holds the rotation.", max_length=100)
    lease_until = optional_timestamp(
        "claimed until", "Until when the worker holds it, in UTC.", db_index=True
    )
    epoch = models.PositiveIntegerField(
        default=0,
        verbose_name="claim number",
        help_text="Counts the claims by workers. An older worker cannot write.",
    )
    # Of the present step.
    attempts = models.PositiveIntegerField(default=0, help_text="Number of attempts at the present step.")
    not_before = optional_timestamp("next attempt", "When the next attempt may begin, in UTC.")
    problem = optional_text(help_text="Why the rotation waits, retries or stopped.", max_length=500)
    stopped_at = optional_timestamp("stopped", "When the rotation stopped for an operator, in UTC.")
    queued_at = timestamp("requested", "When the rotation was requested, in UTC.")
    started_at = optional_timestamp("started", "When the first step began, in UTC.")
    promoted_at = optional_timestamp("delivered", "When the new value became current, in UTC.")
    finished_at = optional_timestamp("finished", "When the rotation ended, in UTC.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["policy", "slot"], name="rotation_one_a_slot")
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["slot", "id"], name="rotation_by_slot")]
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"rotation {self.pk}"

    @property
    def actor(self) -> Actor:
        return Actor(
            kind=ActorKind(self.actor_kind),
            uuid=self.actor_uuid,
            name=self.actor_name,
            request_id=self.request_id,
        )

    @property
    def has_ended(self) -> bool:
        return Step(self.step) in ENDED

    @property
    def is_urgent(self) -> bool:
        """Whether it waits for no target or consumer and leaves no grace."""
        return self.emergency or self.cut

    @property
    def allowed_actions(self) -> frozenset[OperatorAction]:
        stopped = self.stopped_at is not None
        return allowed_actions(
            Step(self.step), stopped=stopped, reverted=self.reverted, leaves=str(self.leaves)
        )

    @property
    def seconds_to_serve(self) -> int | None:
        return _whole_seconds_between(self.started_at, self.promoted_at)

    @property
    def seconds(self) -> int | None:
        return _whole_seconds_between(self.started_at, self.finished_at)

    @property
    def serving_number(self) -> int | None:
        """The number of the version that has to be current as long as this rotation is at work."""
        is_new = Step(self.leaves or self.step) in SERVED and not self.reverted
        return self.to_number if is_new else self.from_number

    @property
    def left_number(self) -> int | None:
        """The number of the version whose login may still be valid after it was given up, if it has one."""
        return self.retiring_number if self.leaves == Step.RETIRE else self.to_number

    @property
    def retiring_number(self) -> int | None:
        """The number of the version whose login is made useless after the grace."""
        return self.to_number if self.reverted else self.from_number

    def release_for_retry(self) -> None:
        """Release it for any worker at once, after a decision; the present worker can no longer write."""
        self.epoch += 1
        self.attempts, self.problem = 0, ""
        self.lease_owner, self.lease_until = "", None
        self.not_before = self.stopped_at = None


def _whole_seconds_between(start: datetime | None, end: datetime | None) -> int | None:
    """Return whole seconds; a clock that was put back makes no negative time."""
    return max(0, round((end - start).total_seconds())) if start and end else None


class Acknowledgement(AuthenticatedRow):
    """The version of a secret that a consumer confirmed; it can delay a retirement."""

    MAC_LABEL: ClassVar[str] = "acknowledgement"
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "secret_id",
        "consumer_kind",
        "consumer_uuid",
        "instance",
        "number",
    )

    secret = models.ForeignKey(
        Secret,
        to_field="uuid",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="acknowledgements",
        help_text="The secret that the consumer uses.",
    )
    consumer_kind = models.CharField(
        max_length=16, verbose_name="kind of consumer", help_text="Whether a person or a token confirmed."
    )
    consumer_uuid = models.UUIDField(
        verbose_name="consumer UUID", help_text="Identifier of the account or token that confirmed."
    )
    consumer_name = models.CharField(
        max_length=150, verbose_name="consumer", help_text="Name of the account or token that confirmed."
    )
    instance = optional_text(
        help_text="Which of several processes with the same token, in the consumer's own words.",
        max_length=100,
    )
    number = models.PositiveIntegerField(
        verbose_name="version", help_text="Number of the version that the consumer uses now."
    )
    acknowledged_at = models.DateTimeField(
        default=timezone.now, verbose_name="confirmed", help_text="When the consumer confirmed it, in UTC."
    )

    class Meta:
        verbose_name = "consumer confirmation"
        verbose_name_plural = "consumer confirmations"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["secret", "consumer_kind", "consumer_uuid", "instance"], name="acknowledged_once"
            )
        ]
        ordering: ClassVar[list[str]] = ["consumer_name", "instance"]

    def __str__(self) -> str:
        return f"{self.consumer_name} uses v{self.number}"
