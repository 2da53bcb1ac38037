"""What operators asked workers to do with keys, and how far it is."""

from django.db import models


class KeyJobKind(models.TextChoices):
    """What is done with keys."""

    TEST = "test", "Test connection"
    REWRAP = "rewrap", "Wrap data keys under the configured key"
    REENCRYPT = "reencrypt", "New data keys, and values sealed again"
    PLAN = "plan", "Migration to KMS: dry run"
    MIGRATE = "migrate", "Migrate to KMS"
    ROLL_BACK = "roll_back", "Roll the migration back to the key file"


class KeyJobState(models.TextChoices):
    """How far a job is; `problems` is an end with something left to do."""

    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    DONE = "done", "done"
    PROBLEMS = "problems", "ended with problems"
    FAILED = "failed", "failed"


class KeyJob(models.Model):
    """A job on keys; the row decides nothing, since rights are checked again when it begins.

    `environment` is a name, empty for everything; `backup` the file's name for a rollback. `lease_until` is
    the claim of the worker, which each progress extends. A job may be repeated, also where its worker died.
    """

    kind = models.CharField(max_length=16, choices=KeyJobKind.choices)
    environment = models.CharField(max_length=64, blank=True, default="")
    backup = models.CharField(max_length=255, blank=True, default="")
    person = models.UUIDField()
    person_name = models.CharField(max_length=150)
    state = models.CharField(max_length=16, choices=KeyJobState.choices, default=KeyJobState.QUEUED)
    step = models.CharField(max_length=200, blank=True, default="")
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)
    # Sentences of Keeper's own, one for each environment.
    results = models.JSONField(default=list)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    requested_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """The newest first."""

        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.environment or 'everywhere'}"

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.finished_at is None
