"""What operators asked workers to do with keys, and how far it is."""

from django.db import models

from audit_app.models.columns import optional_text
from environments_app.models import OperatorJob


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
