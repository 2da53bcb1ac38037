"""The process that test_two_installations.py asks for one installation: its database, its keys, its passes."""

from typing import Any
from uuid import uuid4

from django.core.management import call_command

from audit_app.events.actors import system
from audit_app.integrity.active_installation import activate, is_active
from audit_app.models import Deployment, forget_deployment
from secrets_app.models import Secret
from secrets_app.services import lifecycle
from sync_app.models import PlanItem, Run, SyncEntry, Target
from sync_app.runs import runner as runs_runner
from sync_app.runs import schedule
from sync_app.tests.applying.processes import fleet


def found() -> dict[str, Any]:
    """Make this an installation that was just made: what it was copied from has a deployment of its own."""
    call_command("migrate", verbosity=0)
    Deployment.objects.update(uuid=uuid4())
    forget_deployment()
    return {}


def act() -> dict[str, Any]:
    """Make this the active installation."""
    activate(actor=system())
    return {}


def drop(name: str) -> dict[str, Any]:
    """Delete a secret in Keeper."""
    secret = Secret.objects.select_related("environment").get(name=name, live=True)
    lifecycle.delete(actor=fleet.alice(), secret=secret)
    return {}


def scheduled() -> dict[str, Any]:
    """Return whether this is the active installation, and how much is due in it."""
    Target.objects.update(due_at=None, interval_seconds=3600)
    return {"active": is_active(), "due": len(schedule.queue_due())}


def sync() -> dict[str, Any]:
    """Plan and carry out, long enough after the last pass for every system."""
    SyncEntry.objects.update(synced_at=None)
    target = Target.objects.select_related("environment").get()
    Run.objects.filter(target=target, active=True).update(active=None, state="failed")
    asked = runs_runner.request_sync(actor=fleet.alice(), target=target)
    run = runs_runner.execute(asked.pk)
    assert run is not None
    items = PlanItem.objects.filter(plan=run.plan) if run.plan else PlanItem.objects.none()
    return {
        "state": run.state,
        "error": run.error,
        "counts": run.plan.counts if run.plan else {},
        "items": {item.name: [item.act, item.state, item.error or item.reason] for item in items},
    }


def main() -> None:
    """Answer what is asked."""
    fleet.main(found, act, drop, scheduled, sync)
