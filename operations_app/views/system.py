"""The page of the system in the admin, and that of Health.

The page of the system has a tab for each of installation, checks, jobs, schedules and
settings. Health has the status of every system, its age and its remedy.
"""

from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, require
from environments_app.views.base import run_act
from operations_app.health.processes import last_beat
from operations_app.health.service import ailing, results, warnings
from operations_app.health.status import standings
from operations_app.system.installation import Setting, build, deployment_findings, shown_settings
from operations_app.system.queues import failures, leases, queues, work_status
from operations_app.system.schedules import request_run, schedules

_BACKUPS_SHOWN: Final = 10


@require_http_methods(["GET", "POST"])
def system(request: HttpRequest) -> HttpResponseBase:
    """Show a tab of the system; a POST asks a worker for work."""
    actor = principal_of(request)
    require(actor=actor, action=Action.SYSTEM_VIEW, environment=None)
    if request.method == "POST":
        return _act(request, actor)
    tab = request.GET.get("tab", "")
    if tab in _PAGES:
        return redirect(tab)
    tab = tab if tab in TABS else next(iter(TABS))
    context = {"title": "System", "tab": tab, "tabs": TABS, **_CONTEXTS[tab](request, actor)}
    return TemplateResponse(request, "admin/system.html", {**admin.site.each_context(request), **context})


def _installation(_request: HttpRequest, _actor: Principal) -> dict[str, Any]:
    return {"build": build()}


def _checks(_request: HttpRequest, _actor: Principal) -> dict[str, Any]:
    return {"findings": deployment_findings()}


def _work(_request: HttpRequest, actor: Principal) -> dict[str, Any]:
    return {
        "queues": queues(),
        "failures": failures(),
        "may_retry": actor.is_admin,
        "leases": leases(),
        "beat": last_beat(),
    }


def _schedules(_request: HttpRequest, actor: Principal) -> dict[str, Any]:
    may_run = allows(actor, Action.SCHEDULE_RUN, environment_id=None)
    return {"schedules": schedules(), "may_run": may_run}


def _settings(request: HttpRequest, _actor: Principal) -> dict[str, Any]:
    text, changed = request.GET.get("q", "").strip(), bool(request.GET.get("changed"))
    return {"settings": _chosen(text, changed=changed), "q": text, "changed": changed}


# The tabs of the page by what `?tab=` names; each asks for its own alone.
TABS: Final = {
    "installation": "Installation",
    "checks": "Deployment checks",
    "work": "Jobs",
    "schedules": "Schedules",
    "settings": "Settings",
}
# Tabs that became pages of their own.
_PAGES: Final = ("health", "backups")
_CONTEXTS: Final[dict[str, Callable[[HttpRequest, Principal], dict[str, Any]]]] = {
    "installation": _installation,
    "checks": _checks,
    "work": _work,
    "schedules": _schedules,
    "settings": _settings,
}


def _chosen(text: str, *, changed: bool) -> list[Setting]:
    return [
        setting for setting in shown_settings() if setting.matches(text) and (setting.changed or not changed)
    ]


def _act(request: HttpRequest, actor: Principal) -> HttpResponse:
    name = request.POST.get("schedule", "")
    run = partial(request_run, actor=actor, name=name)
    back = f"{reverse('admin-system')}?tab=schedules"
    return run_act(request, run, f"Run of {name} requested.", back=back)


@require_GET
def health(request: HttpRequest) -> HttpResponse:
    """Show what this process finds of itself, and what workers found of other systems."""
    systems = [*standings(actor=principal_of(request)), *work_status()]
    checks = sorted([*results(), *warnings()], key=lambda check: check.ok)
    groups = [
        (name, sorted(rows, key=lambda row: not row.ails))
        for name, rows in groupby(systems, key=lambda row: row.group)
    ]
    context = {
        "groups": groups,
        "ailing": ailing(checks, systems),
        "pending": sum(row.state == "pending" for row in systems),
        "checks": checks,
    }
    return render(request, "keeper_project/health.html", context)
