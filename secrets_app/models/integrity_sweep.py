"""The sweep that opens every envelope: how far it is, and what it found."""

from django.db import models
from django.utils import timezone

from audit_app.models.uuid_model import Identified


class Sweep(Identified):
    """One pass over all versions of secrets, continued by whichever worker comes next.

    `active` is True until it is finished, else NULL, so that there is one at a time. `position` is the
    id of the last version that was looked at, `found` the first hundred problems, in words.
    """

    active = models.BooleanField(null=True, default=True, unique=True)
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    position = models.BigIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    checked = models.PositiveIntegerField(default=0)
    problems = models.PositiveIntegerField(default=0)
    found = models.JSONField(default=list, blank=True)
    started_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        """The newest first."""

        ordering = ["-id"]

    def __str__(self) -> str:
        return f"sweep {self.pk}"
