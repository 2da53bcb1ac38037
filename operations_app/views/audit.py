"""The page of the audit log in the admin, in tabs: log, verification, evidence, sinks and retention."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse, reverse_lazy
from django.utils.text import format_lazy
from django.views.decorators.http import require_GET, require_http_methods

from audit_app.checkpoints import schedule as checkpoints
from audit_app.events.actions import Action, Outcome
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent, Checkpoint
from audit_app.queries import event_export
from audit_app.queries.access_log import record_view
from audit_app.queries.statistics import Kind, counts_by_day, counts_by_hour
from audit_app.retention.bundles import bundles
from audit_app.retention.prune import MINIMUM_DAYS
from audit_app.retention.schedule import retention_status
from audit_app.sinks.delivery import sink_lags
from environments_app import operator_jobs
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, require
from environments_app.models import AuditJob, AuditJobKind
from environments_app.views.base import attempt
from operations_app.views.keys import admin_page, job_page

_DAYS: Final = 30
_HOURS: Final = 24
_JOBS_SHOWN: Final = 10
_BUNDLES_SHOWN: Final = 50
# Of the page's tab; lazy, since addresses name this module.
VERIFICATION_URL: Final = format_lazy("{}?tab=verification", reverse_lazy("admin-audit"))
# In units of the drawing; a column begins every _WIDTH.
_HEIGHT: Final = 60
_WIDTH: Final = 10


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A day or an hour of the timeline: its place in the drawing, and the same in words."""

    x: int
    label: str
    url: str
    count: int
    refused: int
    height: float
    refused_height: float

    @property
    def y(self) -> float:
        """Where the column begins, from the top."""
        return _HEIGHT - self.height

    @property
    def refused_y(self) -> float:
        """Where the part of what was refused or failed begins."""
        return _HEIGHT - self.refused_height


class JobForm(forms.Form):
    kind = forms.ChoiceField(label="Job", choices=AuditJobKind.choices)
    days = forms.IntegerField(
        label="Retention in days",
        min_value=MINIMUM_DAYS,
        max_value=operator_jobs.MOST_DAYS,
        required=False,
        help_text="For a preview: events that are older may be removed, as far as the rules let them.",
    )


@require_http_methods(["GET", "POST"])
def audit(request: HttpRequest) -> HttpResponse:
    """Show the audit log as a whole; a POST asks a worker for a job on it."""
    actor = principal_of(request)
    require(actor=actor, action=Action.TRAIL_VERIFY, environment=None)
    form = JobForm(request.POST or None, initial={"days": settings.KEEPER_AUDIT_RETENTION_DAYS or 365})
    if request.method == "POST" and form.is_valid():
        kind, days = form.cleaned_data["kind"], form.cleaned_data["days"] or 0
        job = attempt(form, lambda: operator_jobs.request(actor=actor, kind=kind, days=days))
        if job is not None:
            return redirect("admin-audit-job", pk=job.pk)
    record_view(viewer=actor, face="admin", filters={})
    tab = _tab(request)
    context = {"title": "Audit log", "form": form, "tab": tab, "tabs": _TABS, **_SHOWN[tab](actor)}
    return admin_page(request, "admin/audit.html", context)


def _tab(request: HttpRequest) -> str:
    """Return which part of the page is shown: that of a form which was refused, else the chosen one."""
    if request.method == "POST":
        return _RETENTION if request.POST.get("kind") == AuditJobKind.PREVIEW else _VERIFICATION
    chosen = request.GET.get("tab", _LOG)
    return chosen if chosen in _SHOWN else _LOG


def _log(actor: Principal) -> dict[str, Any]:
    return {
        "days": _slots(counts_by_day(viewer=actor, days=_DAYS)),
        "hours": _slots(counts_by_hour(viewer=actor, hours=_HOURS)),
    }


def _verification(_actor: Principal) -> dict[str, Any]:
    return {
        "jobs": AuditJob.objects.all()[:_JOBS_SHOWN],
        "newest": Checkpoint.objects.order_by("-number").first(),
        "warnings": checkpoints.problems(),
        "keys": [(key_id, key.hex()) for key_id, key in keyring().public_keys().items()],
        "oldest": AuditEvent.objects.order_by("at").values_list("at", flat=True).first(),
    }


def _evidence(_actor: Principal) -> dict[str, Any]:
    return {"export_limit": event_export.LIMIT, "bundles": bundles()[:_BUNDLES_SHOWN]}


def _sinks(_actor: Principal) -> dict[str, Any]:
    return {"sinks": sink_lags()}


def _retention(_actor: Principal) -> dict[str, Any]:
    return {"retention": retention_status()}


_LOG, _VERIFICATION, _RETENTION = "log", "verification", "retention"
_TABS: Final = (
    (_LOG, "Log"),
    (_VERIFICATION, "Verification"),
    ("evidence", "Evidence"),
    ("sinks", "Sinks"),
    (_RETENTION, "Retention"),
)
_SHOWN: Final[Mapping[str, Callable[[Principal], dict[str, Any]]]] = {
    _LOG: _log,
    _VERIFICATION: _verification,
    "evidence": _evidence,
    "sinks": _sinks,
    _RETENTION: _retention,
}


@require_GET
def audit_job(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how far a job is; the page loads itself again until it has ended."""
    require(actor=principal_of(request), action=Action.TRAIL_VERIFY, environment=None)
    return job_page(request, AuditJob.objects.filter(pk=pk).first(), parent="Audit log", url="admin-audit")


def _slots(counts: Mapping[date, Mapping[Kind, int]] | Mapping[datetime, Mapping[Kind, int]]) -> list[Slot]:
    """Return the slots of a timeline, each leading to its events."""
    tallies: dict[date, Counter[str]] = {}
    for begin, kinds in counts.items():
        tallies[begin] = Counter()
        for kind, count in kinds.items():
            tallies[begin][kind.outcome] += count
    top = max((tally.total() for tally in tallies.values()), default=0) or 1
    return [_slot(place, begin, tally, top) for place, (begin, tally) in enumerate(tallies.items())]


def _slot(place: int, begin: date, tally: Counter[str], top: int) -> Slot:
    is_hour = isinstance(begin, datetime)
    name = f"{begin:%Y-%m-%dT%H}" if is_hour else begin.isoformat()
    count, refused = tally.total(), tally.total() - tally[Outcome.ALLOWED]
    return Slot(
        x=place * _WIDTH,
        label=f"{begin:%Y-%m-%d %H}:00 UTC" if is_hour else name,
        url=f"{reverse('admin:audit_app_auditevent_changelist')}?period={name}",
        count=count,
        refused=refused,
        height=round(_HEIGHT * count / top, 1),
        refused_height=round(_HEIGHT * refused / top, 1),
    )
