"""The page of backups: what there is, whether it was proved, and what waits since a restore."""

from itertools import islice
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from audit_app.integrity.active_installation import current, is_active
from environments_app.authentication.drf import principal_of
from environments_app.errors import ConfirmationNeeded, Conflict, Tampered
from environments_app.views.base import confirm_first, run_act
from operations_app.backup import restore
from operations_app.backup import service as backup
from operations_app.backup.errors import BackupError, Malformed
from operations_app.backup.requests import open_sealed
from operations_app.backup.requests import request as request_backup

_WAITING_SHOWN = 200


@require_http_methods(["GET", "POST"])
def backups(request: HttpRequest) -> HttpResponseBase:
    if request.method == "POST":
        return _act(request)
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


def _act(request: HttpRequest) -> HttpResponseBase:
    """Ask a worker for a backup, or for the verification of one; or return the sealed file."""
    if "download" in request.POST:
        return _download(request)
    name = request.POST.get("backup", "")
    return run_act(
        request,
        lambda: request_backup(actor=principal_of(request), name=name),
        f"Verification of {name} started." if name else "Backup started.",
        back=reverse("backups"),
        refusals=(Malformed,),
    )


def _download(request: HttpRequest) -> HttpResponseBase:
    back = reverse("backups")
    try:
        sealed = open_sealed(actor=principal_of(request), name=request.POST["download"])
    except ConfirmationNeeded:
        return confirm_first(request, back=back)
    except BackupError as error:
        messages.error(request, f"{str(error).capitalize()}.")
        return redirect(back)
    return FileResponse(
        sealed.file, as_attachment=True, filename=sealed.name, content_type="application/octet-stream"
    )


@require_POST
def restore_release(request: HttpRequest, kind: str, uuid: UUID) -> HttpResponse:
    return run_act(
        request,
        lambda: restore.release(actor=principal_of(request), kind=kind, uuid=uuid),
        "Released.",
        back=reverse("backups"),
        refusals=(Conflict, Tampered),
    )
