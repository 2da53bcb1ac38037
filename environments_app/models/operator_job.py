"""Long work that operators asked for, and how far it is: of the audit log here, of keys in secrets_app."""

from django.db import models

from core.db.columns import optional_text, optional_timestamp


class JobState(models.TextChoices):
    """How far a job is; `problems` is an end with something left to do."""

    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    DONE = "done", "done"
    PROBLEMS = "problems", "ended with problems"
    FAILED = "failed", "failed"


class OperatorJob(models.Model):
    """A job; the row decides nothing, since rights are checked again when it begins.

    `lease_until` is the claim of the worker, which each progress extends. A job may be repeated, also where
    its worker died.
    """

    person = models.UUIDField(
        verbose_name="requester UUID", help_text="Identifier of the person who requested it."
    )
    person_name = models.CharField(
        max_length=150, verbose_name="requester", help_text="Username of the person who requested it."
    )
    state = models.CharField(
        max_length=16, choices=JobState.choices, default=JobState.QUEUED, help_text="How far the job is."
    )
    step = optional_text(help_text="What the job does now, or why it ended.", max_length=200)
    done = models.PositiveBigIntegerField(default=0, help_text="Number of rows that this step has done.")
    total = models.PositiveBigIntegerField(default=0, help_text="Number of rows of this step.")
    # Sentences of Keeper's own.
    results = models.JSONField(default=list, help_text="Results of the job, one a line.")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Number of attempts.")
    lease_until = optional_timestamp("claimed until", "Until when a worker holds the job, in UTC.")
    requested_at = models.DateTimeField(
        auto_now_add=True, verbose_name="requested", help_text="When it was requested, in UTC."
    )
    started_at = optional_timestamp("started", "When a worker began, in UTC.")
    finished_at = optional_timestamp("ended", "When it ended, in UTC.")

    class Meta:
        abstract = True
        ordering = ["-id"]

    @property
    def active(self) -> bool:
        return self.finished_at is None

    @property
    def duration(self) -> int | None:
        """The seconds that the last attempt took; None before its end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds())


class AuditJobKind(models.TextChoices):
    """What is done with the audit log."""

    VERIFY_NEW = "verify_new", "Verify new events"
    VERIFY_ALL = "verify_all", "Verify everything"
    PREVIEW = "preview", "Preview retention"


class AuditJob(OperatorJob):
    """A verification of the audit log, or a preview of what retention would remove; neither changes it."""

    kind = models.CharField(
        max_length=16,
        choices=AuditJobKind.choices,
        verbose_name="job",
        help_text="What is done with the audit log.",
    )
    days = models.PositiveIntegerField(
        default=0, help_text="For a preview: the age in days from which events may be removed."
    )

    class Meta(OperatorJob.Meta):
        abstract = False
        verbose_name = "audit log job"
        verbose_name_plural = "audit log jobs"

    def __str__(self) -> str:
        return f"{self.get_kind_display()}{f' after {self.days} days' if self.days else ''}"
