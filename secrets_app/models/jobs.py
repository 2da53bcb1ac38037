"""Progress of long work: the sweep that opens every envelope, and jobs of operators on keys."""

from django.db import models

from core.db.columns import optional_text, optional_timestamp, timestamp
from core.db.identity import Identified
from environments_app.models import OperatorJob


class Sweep(Identified):
    """One pass over all versions of secrets, continued by whichever worker comes next.

    `active` is True until it is finished, else NULL, so that there is one at a time. `position` is the
    id of the last version that was looked at, `found` the first hundred problems, in words.
    """

    active = models.BooleanField(
        null=True, default=True, unique=True, help_text="Yes until the scan is finished."
    )
    started_at = timestamp("started", "When the scan began, in UTC.")
    finished_at = optional_timestamp("finished", "When the scan ended, in UTC.")
    lease_until = optional_timestamp("claimed until", "Until when a worker holds the scan, in UTC.")
    position = models.BigIntegerField(default=0, help_text="ID of the last version that was checked.")
    total = models.PositiveIntegerField(
        default=0, verbose_name="versions", help_text="Number of versions when the scan began."
    )
    checked = models.PositiveIntegerField(default=0, help_text="Number of versions that were checked so far.")
    problems = models.PositiveIntegerField(
        default=0, help_text="Number of versions that did not decrypt or do not match their checksums."
    )
    found = models.JSONField(
        default=list, blank=True, verbose_name="findings", help_text="The first hundred problems, in words."
    )
    started_by = optional_text(
        help_text="The person who started the scan. Empty for the schedule.", max_length=150
    )

    class Meta:
        verbose_name = "integrity scan"
        verbose_name_plural = "integrity scans"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"sweep {self.pk}"


class KeyJobKind(models.TextChoices):
    """What is done with keys."""

    TEST = "test", "Test connection"
    REWRAP = "rewrap", "Wrap data keys under the configured key"
    REENCRYPT = "reencrypt", "New data keys, and values sealed again"
    PLAN = "plan", "Migration to KMS: dry run"
    MIGRATE = "migrate", "Migrate to KMS"
    ROLL_BACK = "roll_back", "Roll the migration back to the key file"


class KeyJob(OperatorJob):
    """A job on keys; `environment` is a name, empty for everything, and `backup` the file for a rollback."""

    kind = models.CharField(
        max_length=16, choices=KeyJobKind.choices, verbose_name="job", help_text="What is done with keys."
    )
    environment = optional_text(help_text="Name of the environment. Empty: everything.", max_length=64)
    backup = optional_text(help_text="File of the migration that a rollback goes back by.", max_length=255)

    class Meta(OperatorJob.Meta):
        abstract = False
        verbose_name = "key job"
        verbose_name_plural = "key jobs"

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.environment or 'everywhere'}"
