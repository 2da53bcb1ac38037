"""The second factor of local accounts: a sealed seed, and the recovery codes that are left."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit_app.row_mac import AuthenticatedRow
from environments_app.models.user import User


class SecondFactor(AuthenticatedRow):
    """What an authenticator and Keeper both know; it counts if its user's row names it.

    `recovery_codes` holds the keyed hash of each code that was not used yet.
    """

    MAC_LABEL: ClassVar[str] = "second-factor"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("user.uuid", "seed", "recovery_codes")

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="second_factors")
    seed = models.BinaryField(editable=False)
    recovery_codes = models.JSONField(default=list, blank=True, editable=False)
    # The time step of the last code that was taken: no code counts twice.
    last_step = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"second factor {self.pk}"
