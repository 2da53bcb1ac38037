"""The page of the system in the admin: settings, checks, workers, schedules, health and backups."""

from itertools import groupby
from typing import Final

from django.conf import settings
from django.contrib import admin, messages
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, require
from environments_app.errors import ConfirmationNeeded
from environments_app.views.base import confirm_first, run_act
from keeper_project.backup import service as backup
from keeper_project.backup.download import open_sealed
from keeper_project.backup.errors import BackupError, Malformed
from keeper_project.backup.requests import request as request_backup
from keeper_project.health.service import results, warnings
from keeper_project.health.status import standings
from keeper_project.operations.installation import build, deployment_findings
from keeper_project.operations.queues import leases, queues
from keeper_project.operations.schedule_runs import request_run
from keeper_project.operations.schedules import schedules
from keeper_project.operations.settings_view import Setting, shown_settings
from keeper_project.runtime.worker.heartbeat import last_beat

_BACKUPS_SHOWN: Final = 10


@require_http_methods(["GET", "POST"])
def system(request: HttpRequest) -> HttpResponseBase:
    """Show the system; a POST asks a worker for work, or downloads a backup."""
    actor = principal_of(request)
    require(actor=actor, action=Action.SYSTEM_VIEW, environment=None)
    if request.method == "POST":
        if "schedule" in request.POST:
            return _run_now(request, actor)
        return _download(request, actor) if "download" in request.POST else _back_up(request, actor)
    text, changed = request.GET.get("q", "").strip(), bool(request.GET.get("changed"))
    found = standings(actor=actor)
    context = {
        "title": "System",
        "build": build(),
        "findings": deployment_findings(),
        "checks": [*results(), *warnings()],
        "systems": [(name, list(rows)) for name, rows in groupby(found, key=lambda each: each.group)],
        "queues": queues(),
        "leases": leases(),
        "beat": last_beat(),
        "schedules": schedules(),
        "settings": _chosen(text, changed=changed),
        "q": text,
        "changed": changed,
        "backups": backup.list_backups(actor=actor)[:_BACKUPS_SHOWN],
        "backup_interval": settings.KEEPER_BACKUP_INTERVAL_HOURS,
        "may_run": allows(actor, Action.SCHEDULE_RUN, environment_id=None),
        "may_back_up": allows(actor, Action.BACKUP_CREATE, environment_id=None),
    }
    return TemplateResponse(request, "admin/system.html", {**admin.site.each_context(request), **context})


def _chosen(text: str, *, changed: bool) -> list[Setting]:
    return [each for each in shown_settings() if each.matches(text) and (each.changed or not changed)]


def _download(request: HttpRequest, actor: Principal) -> HttpResponseBase:
    back = f"{reverse('admin-system')}#backups"
    try:
        sealed = open_sealed(actor=actor, name=request.POST["download"])
    except ConfirmationNeeded:
        return confirm_first(request, back=back)
    except BackupError as error:
        messages.error(request, f"{str(error).capitalize()}.")
        return redirect(back)
    return FileResponse(
        sealed.file, as_attachment=True, filename=sealed.name, content_type="application/octet-stream"
    )


def _run_now(request: HttpRequest, actor: Principal) -> HttpResponse:
    name = request.POST["schedule"]
    return run_act(
        request,
        lambda: request_run(actor=actor, name=name),
        f"Run of {name} requested.",
        back=f"{reverse('admin-system')}#schedules",
    )


def _back_up(request: HttpRequest, actor: Principal) -> HttpResponse:
    name = request.POST.get("backup", "")
    return run_act(
        request,
        lambda: request_backup(actor=actor, name=name),
        f"Verification of {name} started." if name else "Backup started.",
        back=f"{reverse('admin-system')}#backups",
        refusals=(Malformed,),
    )
