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

    kind = models.CharField(
        max_length=16, choices=KeyJobKind.choices, verbose_name="job", help_text="What is done with keys."
    )
    environment = models.CharField(
        max_length=64, blank=True, default="", help_text="Name of the environment. Empty: everything."
    )
    backup = models.CharField(
        max_length=255,
        blank=True,
        default="",
        help_text="File of the migration that a rollback goes back by.",
    )
    person = models.UUIDField(
        verbose_name="requester UUID", help_text="Identifier of the person who requested it."
    )
    person_name = models.CharField(
        max_length=150, verbose_name="requester", help_text="Username of the person who requested it."
    )
    state = models.CharField(
        max_length=16,
        choices=KeyJobState.choices,
        default=KeyJobState.QUEUED,
        help_text="How far the job is.",
    )
    step = models.CharField(
        max_length=200, blank=True, default="", help_text="What the job does now, or why it ended."
    )
    done = models.PositiveBigIntegerField(default=0, help_text="Number of rows that this step has done.")
    total = models.PositiveBigIntegerField(default=0, help_text="Number of rows of this step.")
    # Sentences of Keeper's own, one for each environment.
    results = models.JSONField(default=list, help_text="Result for each environment.")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Number of attempts.")
    lease_until = models.DateTimeField(
        null=True,
        blank=True,
        verbose_name="claimed until",
        help_text="Until when a worker holds the job, in UTC.",
    )
    requested_at = models.DateTimeField(
        auto_now_add=True, verbose_name="requested", help_text="When it was requested, in UTC."
    )
    started_at = models.DateTimeField(
        null=True, blank=True, verbose_name="started", help_text="When a worker began, in UTC."
    )
    finished_at = models.DateTimeField(
        null=True, blank=True, verbose_name="ended", help_text="When it ended, in UTC."
    )

    class Meta:
        """The newest first."""

        verbose_name = "key job"
        verbose_name_plural = "key jobs"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.environment or 'everywhere'}"

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.finished_at is None
