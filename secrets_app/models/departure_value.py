"""The values that a person who left or moved knows, and who replaces them."""

from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.db.columns import optional_text
from environments_app.models import Departure, User
from secrets_app.models.secret import Secret


class DepartureValue(AuthenticatedRow):
    """A secret of which a person knows versions, found when they left or moved.

    Whether it is still open follows from the secret: a row never claims that a value was replaced.
    """

    MAC_LABEL: ClassVar[str] = "departure-value"
    # Its departure's events record it; it opens nothing.
    RECORDED: ClassVar[bool] = False
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("departure.uuid", "secret.uuid", "numbers", "counted_number")
    MAC_COVERS_IF_SET: ClassVar[tuple[str, ...]] = ("kept_by", "reason")

    departure = models.ForeignKey(
        Departure,
        on_delete=models.PROTECT,
        related_name="values",
        help_text="The departure that it belongs to.",
    )
    secret = models.ForeignKey(
        Secret, on_delete=models.CASCADE, related_name="departures", help_text="The secret that they know."
    )
    numbers = models.JSONField(
        default=list, verbose_name="versions", help_text="Numbers of the versions that they know."
    )
    counted_number = models.PositiveIntegerField(
        verbose_name="current version",
        help_text="Number of the version that was current when it was counted.",
    )
    by_policy = models.BooleanField(
        default=False,
        verbose_name="rotates by policy",
        help_text="Whether a rotation policy was asked to replace it.",
    )
    # NULL: the managers of the environment.
    assignee = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The person who replaces the value. Empty: the managers of its environment.",
    )
    read_by = optional_text(
        verbose_name="read by",
        help_text="The service token or trust by which programs read it. Empty: they read or wrote it.",
        max_length=150,
        db_default="",
    )
    kept_by = optional_text(help_text="The person who decided that the value stays.", max_length=150)
    reason = optional_text(help_text="Why the value stays as it is.", max_length=500)

    class Meta:
        verbose_name = "value that a departure concerns"
        verbose_name_plural = "values that departures concern"
        ordering: ClassVar[list[str]] = ["id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["departure", "secret"], name="departure_value_once")
        ]

    def __str__(self) -> str:
        return f"{self.secret.name} of {self.departure}"

    @property
    def is_served(self) -> bool:
        """Whether a known version is still served, or about to be.

        The version before counts until the next value, for it may work while its grace lasts.
        """
        secret = self.secret
        served = {secret.current_number, secret.pending_number}
        if secret.current_number <= self.counted_number:
            served.add(secret.previous_number)
        return bool(secret.live and served.intersection(self.numbers))

    @property
    def is_open(self) -> bool:
        return self.is_served and not (self.reason and self.is_authentic())

    @property
    def state(self) -> str:
        """The state to show: `kept`, `replaced`, `deleted`, `by policy` or `waits`."""
        if not self.is_served:
            return "replaced" if self.secret.live else "deleted"
        if not self.is_open:
            return "kept"
        return "by policy" if self.by_policy else "waits"
