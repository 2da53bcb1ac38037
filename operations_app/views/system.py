"""Pages of the system in the admin, of Health, and of operators.

The page of the system has a tab for each of installation, checks, health, workers, schedules, backups and
settings. Health has the status
of every system, its age and its remedy. The page of operators has queues, leases and settings.
"""

from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Any, Final

from django.conf import settings
from django.contrib import admin, messages
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, require
from environments_app.errors import ConfirmationNeeded
from environments_app.views.base import confirm_first, run_act
from operations_app.backup import service as backup
from operations_app.backup.errors import BackupError, Malformed
from operations_app.backup.requests import open_sealed
from operations_app.backup.requests import request as request_backup
from operations_app.health.processes import last_beat
from operations_app.health.service import results, warnings
from operations_app.health.status import standings
from operations_app.system.installation import Setting, build, deployment_findings, shown_settings
from operations_app.system.queues import leases, queues
from operations_app.system.schedules import request_run, schedules

_BACKUPS_SHOWN: Final = 10


@require_http_methods(["GET", "POST"])
def system(request: HttpRequest) -> HttpResponseBase:
    """Show a tab of the system; a POST asks a worker for work, or downloads a backup."""
    actor = principal_of(request)
    require(actor=actor, action=Action.SYSTEM_VIEW, environment=None)
    if request.method == "POST":
        return _download(request, actor) if "download" in request.POST else _act(request, actor)
    tab = request.GET.get("tab", "")
    tab = tab if tab in TABS else next(iter(TABS))
    context = {"title": "System", "tab": tab, "tabs": TABS, **_CONTEXTS[tab](request, actor)}
    return TemplateResponse(request, "admin/system.html", {**admin.site.each_context(request), **context})


def _installation(_request: HttpRequest, _actor: Principal) -> dict[str, Any]:
    return {"build": build()}


def _checks(_request: HttpRequest, _actor: Principal) -> dict[str, Any]:
    return {"findings": deployment_findings()}


def _health(_request: HttpRequest, actor: Principal) -> dict[str, Any]:
    systems = standings(actor=actor)
    return {
        "checks": [*results(), *warnings()],
        "systems": [(name, list(rows)) for name, rows in groupby(systems, key=lambda each: each.group)],
    }


def _work(_request: HttpRequest, _actor: Principal) -> dict[str, Any]:
    return {"queues": queues(), "leases": leases(), "beat": last_beat()}


def _schedules(_request: HttpRequest, actor: Principal) -> dict[str, Any]:
    may_run = allows(actor, Action.SCHEDULE_RUN, environment_id=None)
    return {"schedules": schedules(), "may_run": may_run}


def _backups(_request: HttpRequest, actor: Principal) -> dict[str, Any]:
    return {
        "backups": backup.list_backups(actor=actor)[:_BACKUPS_SHOWN],
        "backup_interval": settings.KEEPER_BACKUP_INTERVAL_HOURS,
        "may_back_up": allows(actor, Action.BACKUP_CREATE, environment_id=None),
    }


def _settings(request: HttpRequest, _actor: Principal) -> dict[str, Any]:
    text, changed = request.GET.get("q", "").strip(), bool(request.GET.get("changed"))
    return {"settings": _chosen(text, changed=changed), "q": text, "changed": changed}


# The tabs of the page by what `?tab=` names; each asks for its own alone.
TABS: Final = {
    "installation": "Installation",
    "checks": "Deployment checks",
    "health": "Health",
    "work": "Workers",
    "schedules": "Schedules",
    "backups": "Backups",
    "settings": "Settings",
}
_CONTEXTS: Final[dict[str, Callable[[HttpRequest, Principal], dict[str, Any]]]] = {
    "installation": _installation,
    "checks": _checks,
    "health": _health,
    "work": _work,
    "schedules": _schedules,
    "backups": _backups,
    "settings": _settings,
}


def _chosen(text: str, *, changed: bool) -> list[Setting]:
    return [
        setting for setting in shown_settings() if setting.matches(text) and (setting.changed or not changed)
    ]


def _download(request: HttpRequest, actor: Principal) -> HttpResponseBase:
    back = f"{reverse('admin-system')}?tab=backups"
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


def _act(request: HttpRequest, actor: Principal) -> HttpResponse:
    page = reverse("admin-system")
    if "schedule" in request.POST:
        name = request.POST["schedule"]
        run = partial(request_run, actor=actor, name=name)
        return run_act(request, run, f"Run of {name} requested.", back=f"{page}?tab=schedules")
    name = request.POST.get("backup", "")
    done = f"Verification of {name} started." if name else "Backup started."
    back_up = partial(request_backup, actor=actor, name=name)
    return run_act(request, back_up, done, back=f"{page}?tab=backups", refusals=(Malformed,))


@require_GET
def health(request: HttpRequest) -> HttpResponse:
    """Show what this process finds of itself, and what workers found of other systems."""
    systems = standings(actor=principal_of(request))
    context = {
        "groups": [(name, list(rows)) for name, rows in groupby(systems, key=lambda row: row.group)],
        "ailing": sum(row.ails for row in systems),
        "checks": [*results(), *warnings()],
    }
    return render(request, "keeper_project/health.html", context)


@require_GET
def operations(request: HttpRequest) -> HttpResponse:
    """Show the queues, the leases and the settings to operators."""
    require(actor=principal_of(request), action=Action.SYSTEM_VIEW, environment=None)
    context = {"queues": queues(), "leases": leases(), "settings": shown_settings()}
    return render(request, "keeper_project/operations.html", context)
