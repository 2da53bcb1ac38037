"""Scheduled work of the project itself; tasks carry ids at most."""

from uuid import UUID

from celery import shared_task
from django.core.management import call_command
from django.utils import timezone

from audit_app.actors import Actor, ActorKind
from environments_app.policy import Principal
from environments_app.principals import principal_for
from keeper_project import report_mail
from keeper_project.backup import keeping
from keeper_project.heartbeat import beat
from keeper_project.notices import digest
from keeper_project.systems import checking


@shared_task(name="keeper_project.tasks.beat_heartbeat")
def beat_heartbeat() -> None:
    """Show that beat sends and a worker works."""
    beat()


@shared_task(name="keeper_project.tasks.check_systems")
def check_systems() -> None:
    """Ask the systems that Keeper needs how they are, and keep it for the page of health."""
    checking.check_systems()


@shared_task(name="keeper_project.tasks.clear_sessions")
def clear_sessions() -> None:
    """Delete the sessions that have ended."""
    call_command("clearsessions")


@shared_task(name="keeper_project.tasks.send_report")
def send_report() -> None:
    """Send the compliance report that is due by e-mail."""
    report_mail.send_if_due()


@shared_task(name="keeper_project.tasks.send_digests")
def send_digests() -> None:
    """Have the digest of everybody sent for whom it is time, each by a task of its own."""
    for user_id in digest.due(timezone.now()):
        send_digest.delay(user_id)


@shared_task(name="keeper_project.tasks.send_digest")
def send_digest(user_id: int) -> None:
    """Send one person's digest, by their rights at this moment."""
    digest.send(user_id)


@shared_task(name="keeper_project.tasks.back_up_if_due")
def back_up_if_due() -> None:
    """Make the backup that the schedule wants, and say if there was none for too long."""
    keeping.back_up_if_due()


@shared_task(name="keeper_project.tasks.make_backup")
def make_backup(user: str) -> None:
    """Make a backup for a person, who is asked again whether they may."""
    keeping.make(actor=_person(user))


@shared_task(name="keeper_project.tasks.verify_backup")
def verify_backup(user: str, name: str) -> None:
    """Prove a backup of the folder for a person, who is asked again whether they may."""
    keeping.verify(actor=_person(user), name=name)


def _person(uuid: str) -> Principal:
    return principal_for(Actor(kind=ActorKind.USER, uuid=UUID(uuid), name=""))
