"""Departures: a person who left or moved, and how far what follows from it is."""

from typing import ClassVar

from django.db import models

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.drafts import AuditObject
from core.db.columns import optional_text, optional_timestamp, timestamp
from environments_app.models.user import User


class DepartureKind(models.TextChoices):
    """What happened to the person."""

    LEFT = "left", "Left"
    MOVED = "moved", "Moved"


class Departure(AuthenticatedRow):
    """A person who left, or lost access by a move, until nothing is open that follows from it.

    `open` is True, or NULL once it is closed, so that there is one open departure a person and kind.
    `lease_until` is the claim of the worker that counts what the person knows.
    """

    MAC_LABEL: ClassVar[str] = "departure"
    # Each step records it, so that it is missing once it was removed. Nothing in Keeper removes one.
    RECORDED: ClassVar[bool] = False
    MAC_COVERS: ClassVar[tuple[str, ...]] = (
        "user.uuid",
        "kind",
        "open",
        "ended_by_kind",
        "ended_by_uuid",
        "at",
    )
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("closed_at", "closed_by", "reason", "held_at", "kept")

    user = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="departures", help_text="The person who left or moved."
    )
    kind = models.CharField(
        max_length=8, choices=DepartureKind.choices, help_text="Whether the person left or moved."
    )
    open = models.BooleanField(null=True, default=True, help_text="Yes until the departure is closed.")
    at = timestamp("ended", "When the account was ended or the access was lost, in UTC.")
    ended_by_kind = models.CharField(
        max_length=16, verbose_name="ended by (kind)", help_text="Whether a person or a program ended it."
    )
    ended_by_uuid = models.UUIDField(
        verbose_name="ended by (UUID)", help_text="Identifier of the account or token that ended it."
    )
    ended_by_name = models.CharField(
        max_length=150, verbose_name="ended by", help_text="Name of the account or token that ended it."
    )
    # Counts by kind, such as {"sessions": 2}.
    ended = models.JSONField(
        default=dict, blank=True, help_text="What ended at once, by kind: sessions, tokens, links, requests."
    )
    counted_at = optional_timestamp("counted", "When a worker last looked up what the person knows, in UTC.")
    settled_at = optional_timestamp(
        "settled", "When the values were looked up after the last requests had ended, in UTC."
    )
    by_policy = models.PositiveIntegerField(
        default=0, verbose_name="rotate by policy", help_text="Number of values that their policies rotate."
    )
    lease_until = optional_timestamp("claimed until", "Until when a worker holds the departure, in UTC.")
    held_at = optional_timestamp(
        "rotations wait since",
        "Set while rotations wait for an administrator, in UTC. Many people ended.",
    )
    # By the uuid of what stays: who decided it, and why.
    kept = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="What they set up and what stays: who decided it, and why.",
    )
    closed_at = optional_timestamp("closed", "When nothing was open any more, in UTC.")
    closed_by = optional_text(
        help_text="The administrator who closed it. Empty if it closed by itself.", max_length=150
    )
    reason = optional_text(help_text="Why an administrator closed it.", max_length=500)

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "kind", "open"], name="departure_one_open")
        ]

    def __str__(self) -> str:
        return f"{self.user.username} {self.kind}"

    @property
    def action(self) -> Action:
        """The action of the events about what follows from it."""
        return Action.USER_OFFBOARD if self.kind == DepartureKind.LEFT else Action.USER_MOVE

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="user", uuid=self.user.uuid, name=self.user.username)

    @property
    def ended_by(self) -> Actor:
        return Actor(kind=ActorKind(self.ended_by_kind), uuid=self.ended_by_uuid, name=self.ended_by_name)
