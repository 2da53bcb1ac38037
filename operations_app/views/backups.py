"""The page of backups: what there is, whether it was proved, and what waits since a restore."""

from itertools import islice
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit_app.integrity.active_installation import current, is_active
from environments_app.authentication.drf import principal_of
from environments_app.errors import Conflict, Invisible, Tampered
from environments_app.views.base import run_act
from operations_app.backup import restore
from operations_app.backup import service as backup
from operations_app.backup.errors import Malformed
from operations_app.backup.requests import request as request_backup

_WAITING_SHOWN = 200


@require_GET
def backups(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    context = {
        "kept": backup.list_backups(actor=actor),
        "last": backup.last_success(),
        "interval": settings.KEEPER_BACKUP_INTERVAL_HOURS,
        "installation": current(),
        "active": is_active(),
        "waiting": list(islice(restore.waiting(actor=actor), _WAITING_SHOWN)),
    }
    return render(request, "keeper_project/backups.html", context)


@require_POST
def backup_now(request: HttpRequest) -> HttpResponse:
    request_backup(actor=principal_of(request))
    messages.success(request, "Backup started.")
    return redirect("backups")


@require_POST
def backup_verify(request: HttpRequest, name: str) -> HttpResponse:
    try:
        request_backup(actor=principal_of(request), name=name)
    except Malformed as error:
        raise Invisible(str(error)) from error
    messages.success(request, "Verification started.")
    return redirect("backups")


@require_POST
def restore_release(request: HttpRequest, kind: str, uuid: UUID) -> HttpResponse:
    return run_act(
        request,
        lambda: restore.release(actor=principal_of(request), kind=kind, uuid=uuid),
        "Released.",
        back=reverse("backups"),
        refusals=(Conflict, Tampered),
    )
