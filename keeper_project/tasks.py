"""Scheduled work of the project itself; tasks carry ids at most."""

import gc
from typing import Final

from celery import shared_task
from celery.signals import worker_ready
from django.core.management import call_command
from django.utils import timezone

from audit_app.interfaces.nudges import nudge
from audit_app.interfaces.worker_slots import slot
from keeper_project.backup import requests
from keeper_project.backup import service as backup
from keeper_project.health import checker
from keeper_project.inbox import digest
from keeper_project.operations import schedule_runs
from keeper_project.reports import mail as reports_mail
from keeper_project.runtime.worker.heartbeat import beat

_SEND_REPORT: Final = "keeper_project.tasks.send_report"
_SEND_DIGEST: Final = "keeper_project.tasks.send_digest"
_BACK_UP: Final = "keeper_project.tasks.back_up_if_due"
# What is due no sooner than in minutes is asked for again where no slot is free.
_AGAIN_AFTER: Final = 10.0


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
            checker.check_systems()


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
            nudge(_SEND_REPORT, after=_AGAIN_AFTER)


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
            nudge(_SEND_DIGEST, user_id, after=_AGAIN_AFTER)


@shared_task(name=_BACK_UP)
def back_up_if_due() -> None:
    """Make the scheduled backup, and alert if the newest is too old."""
    with slot("backup") as is_free:
        if is_free:
            backup.back_up_if_due()
        else:
            nudge(_BACK_UP, after=_AGAIN_AFTER)


@shared_task(name=requests.CARRY_OUT)
def carry_out_backup_requests() -> None:
    """Make and prove the backups that people asked for."""
    with slot("backup") as is_free:
        if is_free:
            requests.run()


@shared_task(name=schedule_runs.RUN_REQUESTED)
def run_requested_tasks() -> None:
    """Send the scheduled tasks that people asked for ahead of their schedule."""
    schedule_runs.run_requested()
