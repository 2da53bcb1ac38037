"""Scheduled work of the project itself; tasks carry ids at most."""

import gc
from typing import Final

from celery import shared_task
from celery.signals import worker_ready
from django.core.management import call_command
from django.utils import timezone

from core.workers import nudge, slot
from operations_app.backup import requests
from operations_app.backup import service as backup
from operations_app.health import probes
from operations_app.health.processes import beat
from operations_app.inbox import digest
from operations_app.reports import mail as reports_mail
from operations_app.system import schedules

_SEND_REPORT: Final = "keeper_project.tasks.send_report"
_SEND_DIGEST: Final = "keeper_project.tasks.send_digest"
_BACK_UP: Final = "keeper_project.tasks.back_up_if_due"
_RETRY_SECONDS: Final = 10.0


@shared_task(name="keeper_project.tasks.beat_heartbeat")
def beat_heartbeat() -> None:
    """Show that beat sends and a worker works; let go of what failed tasks left in circles.

    Errors hold frames that hold errors. Python looks for such circles only after a quarter more objects.
    """
    beat()
    gc.collect()


@worker_ready.connect
def beat_at_start(**_signal: object) -> None:
    """Show that a worker works as soon as it does, which cannot wait for the schedule."""
    beat_heartbeat.delay()


@shared_task(name="keeper_project.tasks.check_systems")
def check_systems() -> None:
    """Ask the systems that Keeper needs how they are, and keep it for the page of health."""
    with slot("systems") as is_free:
        if is_free:
            probes.check_systems()


@shared_task(name="keeper_project.tasks.clear_sessions")
def clear_sessions() -> None:
    """Delete the sessions that have ended."""
    call_command("clearsessions")


@shared_task(name=_SEND_REPORT)
def send_report() -> None:
    """Send the compliance report that is due by e-mail."""
    with slot("mail") as is_free:
        if is_free:
            reports_mail.send_if_due()
        else:
            nudge(_SEND_REPORT, after=_RETRY_SECONDS)


@shared_task(name="keeper_project.tasks.send_digests")
def send_digests() -> None:
    """Have the digest of everybody sent for whom it is time, each by a task of its own."""
    for user_id in digest.due(timezone.now()):
        send_digest.delay(user_id)


@shared_task(name=_SEND_DIGEST)
def send_digest(user_id: int) -> None:
    """Send one person's digest, by their rights at this moment."""
    with slot("mail") as is_free:
        if is_free:
            digest.send(user_id)
        else:
            nudge(_SEND_DIGEST, user_id, after=_RETRY_SECONDS)


@shared_task(name=_BACK_UP)
def back_up_if_due() -> None:
    """Make the scheduled backup, and alert if the newest is too old."""
    with slot("backup") as is_free:
        if is_free:
            backup.back_up_if_due()
        else:
            nudge(_BACK_UP, after=_RETRY_SECONDS)


@shared_task(name=requests.CARRY_OUT)
def carry_out_backup_requests() -> None:
    """Make and prove the backups that people asked for."""
    with slot("backup") as is_free:
        if is_free:
            requests.run()


@shared_task(name=schedules.RUN_REQUESTED)
def run_requested_tasks() -> None:
    """Send the scheduled tasks that people asked for ahead of their schedule."""
    schedules.run_requested()
