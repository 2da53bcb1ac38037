"""The page of backups: what there is, whether it was proved, and what waits since a restore."""

from itertools import islice
from uuid import UUID

from celery import Task
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from kombu.exceptions import OperationalError

from audit_app.installation import current, is_active
from environments_app.authentication import principal_of
from environments_app.errors import ConfirmationNeeded, Conflict, Invisible, Tampered
from environments_app.profile_pages import confirm_first
from keeper_project.backup import keeping, releasing
from keeper_project.backup.errors import Malformed
from keeper_project.tasks import make_backup, verify_backup

_WAITING_SHOWN = 200


@login_required
@require_GET
def backups(request: HttpRequest) -> HttpResponse:
    """Show the backups, and what a restore suspended."""
    actor = principal_of(request)
    context = {
        "kept": keeping.kept(actor=actor),
        "last": keeping.last_success(),
        "interval": settings.KEEPER_BACKUP_INTERVAL_HOURS,
        "installation": current(),
        "active": is_active(),
        "waiting": list(islice(releasing.waiting(actor=actor), _WAITING_SHOWN)),
    }
    return render(request, "keeper_project/backups.html", context)


@login_required
@require_POST
def backup_now(request: HttpRequest) -> HttpResponse:
    """Have a backup made in the background."""
    actor = principal_of(request)
    keeping.request(actor=actor)
    _hand_over(
        request, make_backup, str(actor.uuid), said="A backup is being made; it appears here once whole."
    )
    return redirect("backups")


@login_required
@require_POST
def backup_verify(request: HttpRequest, name: str) -> HttpResponse:
    """Have a backup proved in the background."""
    actor = principal_of(request)
    try:
        keeping.request(actor=actor, name=name)
    except Malformed as error:
        raise Invisible(str(error)) from error
    _hand_over(
        request, verify_backup, str(actor.uuid), name, said="It is being proved; the result appears here."
    )
    return redirect("backups")


@login_required
@require_POST
def restore_release(request: HttpRequest, kind: str, uuid: UUID) -> HttpResponse:
    """Let one thing act again that a restore suspended."""
    actor = principal_of(request)
    try:
        releasing.release(actor=actor, kind=kind, uuid=uuid)
        messages.success(request, "Released: it acts again.")
    except (Conflict, Tampered) as error:
        messages.error(request, str(error))
    except ConfirmationNeeded:
        return confirm_first(request, back=reverse("backups"))
    return redirect("backups")


def _hand_over(request: HttpRequest, task: "Task[..., None]", *arguments: str, said: str) -> None:
    """Ask a worker, and tell the person so, or that none can be asked."""
    try:
        task.delay(*arguments)
        messages.success(request, said)
    except (OperationalError, OSError):
        messages.error(request, "No worker can be asked now: the broker does not answer. Try again later.")
