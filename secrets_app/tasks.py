"""Scheduled work of secrets_app; tasks carry no arguments and only nudge what is due."""

from celery import shared_task
from celery.signals import worker_ready

from core.workers import part, slot, work_alone
from secrets_app import change_webhooks
from secrets_app.departures import following
from secrets_app.key_operations import jobs, key_check
from secrets_app.maintenance import integrity_sweep
from secrets_app.services import outside
from secrets_app.services.lifecycle import purge_expired
from secrets_app.services.versions import delete_ended
from secrets_app.services.wrapped_reads import purge_wrapped_reads


@shared_task(name="secrets_app.tasks.purge_deleted")
def purge_deleted() -> None:
    """Destroy the deleted secrets whose recovery window is over, and remove wrapped reads that ended."""
    purge_wrapped_reads()
    purge_expired()


@shared_task(name="secrets_app.tasks.delete_ended_versions")
def delete_ended_versions() -> None:
    """Delete the secrets whose current version's time is over (`delete_version_after` of KV v2)."""
    work_alone(part("ended-versions"), delete_ended)


@shared_task(name="secrets_app.tasks.sweep")
def sweep_integrity() -> None:
    """Begin the sweep that is due, or continue the one under way."""
    work_alone(slot("sweep"), integrity_sweep.go_on)


@shared_task(name="secrets_app.tasks.check_keys")
def check_keys() -> None:
    """Find out whether each key in use still opens what it closed; not while another check waits for KMS."""
    work_alone(part("keys"), key_check.check_keys)


@shared_task(name="secrets_app.tasks.watch_keys")
def watch_keys() -> None:
    """Find out whether a key was disabled, sooner than by the check of all data keys."""
    work_alone(part("key-states"), key_check.watch_keys)


@shared_task(name="secrets_app.tasks.check_failing_keys")
def check_failing_keys() -> None:
    """Find out whether the keys that did not open do now."""
    work_alone(part("keys"), key_check.check_failing_keys)


@shared_task(name=key_check.CHECK_REQUESTED)
def check_requested_keys() -> None:
    """Check the data keys that a person asked about; they stay asked for while another check continues."""
    work_alone(part("keys"), key_check.check_requested_keys)


@shared_task(name="secrets_app.tasks.queue_changes")
def queue_changes() -> None:
    """Queue a message of each change since the last run for the change webhooks."""
    work_alone(part("change-webhooks"), change_webhooks.queue_changes)


@shared_task(name=outside.SENDING)
def send_share_codes() -> None:
    """Send the codes that links for people outside wait for."""
    work_alone(part("notifications"), outside.send_codes)


@shared_task(name=following.RUN)
def follow_departures() -> None:
    """Mark, bring forward and assign what people who left know, and look at open departures."""
    work_alone(part("departures"), following.run)


@shared_task(name=jobs.RUN)
def run_key_jobs() -> None:
    """Carry out the rotations and migrations of keys that operators asked for."""
    work_alone(slot("key-jobs"), jobs.run)


@worker_ready.connect
def check_keys_at_start(**_signal: object) -> None:
    """Have the keys checked when a worker starts, which cannot wait for the schedule."""
    check_keys.delay()
