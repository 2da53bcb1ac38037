"""What workers found of the systems that Keeper needs, and what people asked workers to do.

The tables, migrations and content types keep the label that they were made under.
"""

from django.db import models

from core.db.columns import optional_text, optional_timestamp


class System(models.TextChoices):
    """A probed system; keys, sinks and targets have their own rows."""

    DATABASE = "database", "Database"
    BROKER = "broker", "Message broker"
    REDIS = "redis", "Redis"
    MAIL = "mail", "Mail server"
    IDENTITY_PROVIDER = "identity_provider", "Identity provider"


class SystemState(models.TextChoices):
    """How a system was found: `off` is one that the settings do not name."""

    OK = "ok", "healthy"
    DEGRADED = "degraded", "needs attention"
    UNHEALTHY = "unhealthy", "unhealthy"
    OFF = "off", "not set up"


class ExternalSystem(models.Model):
    """One system as a worker found it; pages, probes and metrics only read this row.

    A row decides nothing. `failures` counts consecutive failures; `lease_until` is the claim of the probing
    worker, and fences its result.
    """

    kind = models.CharField(
        max_length=32,
        choices=System.choices,
        unique=True,
        verbose_name="system",
        help_text="The system that was checked.",
    )
    state = models.CharField(
        max_length=16,
        choices=SystemState.choices,
        blank=True,
        help_text="How the system was found at the last check.",
    )
    # Words of Keeper's own: no text of the system's, which might quote anything.
    detail = models.CharField(
        max_length=300, blank=True, help_text="What the check found, in Keeper's own words."
    )
    milliseconds = models.PositiveIntegerField(
        default=0, verbose_name="response time (ms)", help_text="How long the last check took."
    )
    failures = models.PositiveIntegerField(default=0, help_text="Number of failed checks in a row.")
    checked_at = optional_timestamp("checked", "When a worker last checked the system, in UTC.")
    changed_at = optional_timestamp("state since", "When the state last changed, in UTC.")
    lease_until = optional_timestamp("claimed until", "Until when a worker holds the check, in UTC.")

    class Meta:
        app_label = "keeper_project"
        ordering = ["id"]

    def __str__(self) -> str:
        return str(self.kind)


class BackupRequest(models.Model):
    """A person's request for a backup, or for the proof of the one called `name`; deleted once done.

    A row decides nothing: what the person may do is checked again when the work begins. `lease_until` is
    the claim of the worker that does the work.
    """

    person = models.UUIDField(
        verbose_name="requester UUID", help_text="Identifier of the person who requested it."
    )
    name = models.CharField(
        max_length=255,
        blank=True,
        verbose_name="backup",
        help_text="Name of the backup to verify. Empty: a new backup is made.",
    )
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Number of attempts.")
    lease_until = optional_timestamp("claimed until", "Until when a worker holds the request, in UTC.")
    requested_at = models.DateTimeField(
        auto_now_add=True, verbose_name="requested", help_text="When it was requested, in UTC."
    )

    class Meta:
        app_label = "keeper_project"
        verbose_name = "backup request"
        verbose_name_plural = "backup requests"
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name or "a new backup"


class ScheduledTask(models.Model):
    """How a scheduled task last ended, and a person's request to run it now.

    The row decides nothing: a run does what is due, and a request sends only a task of the settings'
    schedule.
    """

    task = models.CharField(max_length=100, unique=True, help_text="Name of the scheduled task.")
    started_at = optional_timestamp("last run", "When the last run started, in UTC.")
    milliseconds = models.PositiveBigIntegerField(
        default=0, verbose_name="duration (ms)", help_text="How long the last run took."
    )
    # The name of the exception's class: its text might quote anything.
    error = optional_text(
        help_text="Kind of the error that ended the last run. Empty: it succeeded.", max_length=100
    )
    failures = models.PositiveIntegerField(default=0, help_text="Number of failed runs in a row.")
    requested_at = optional_timestamp(
        "requested", "When a run was requested that no worker has started yet, in UTC."
    )
    requested_by = optional_text(
        "requester", "Username of the person who last requested a run.", max_length=150
    )

    class Meta:
        app_label = "keeper_project"
        verbose_name = "scheduled task"
        verbose_name_plural = "scheduled tasks"
        ordering = ["task"]

    def __str__(self) -> str:
        return self.task


class RunningProcess(models.Model):
    """A process of Keeper that runs, and its release; the process stores the row itself, again and again.

    The row decides nothing. It shows whether an update has reached every process.
    """

    name = models.CharField(max_length=200, unique=True, help_text="Kind, host and number of the process.")
    kind = models.CharField(max_length=16, help_text="What the process does.")
    host = models.CharField(max_length=150, help_text="Name of the machine or pod.")
    release = models.CharField(max_length=32, help_text="Version of Keeper that the process runs.")
    # By the clock of the database, which all of them share.
    seen_at = models.DateTimeField(
        verbose_name="last seen", help_text="When the process last stored this, in UTC."
    )

    class Meta:
        app_label = "keeper_project"
        verbose_name = "running process"
        verbose_name_plural = "running processes"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
