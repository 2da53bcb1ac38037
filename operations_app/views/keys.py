"""The page of keys in the admin: what wraps what, and the jobs of rotation and migration."""

from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows, require
from environments_app.models import Environment
from environments_app.models.operator_job import OperatorJob
from environments_app.views.base import attempt
from secrets_app.key_operations import jobs
from secrets_app.key_operations.report import stored_reports
from secrets_app.models import KeyJob, KeyJobKind, KeyMigration

_SHOWN: Final = 20
_RELOAD_SECONDS: Final = "3"
CONFIRMATIONS: Final = {
    KeyJobKind.TEST: "A data key is made under each configured key, opened, and refused in another context. "
    "Nothing is stored.",
    KeyJobKind.REWRAP: "Data keys that another key wraps are wrapped under the configured key. Values stay "
    "as they are. With ENABLE_KMS_KEY_ROTATION, AWS's own rotation is turned on.",
    KeyJobKind.REENCRYPT: "Each environment gets a new data key, and all values and credentials are sealed "
    "again under it. This takes minutes for 100,000 values. Reads and writes continue.",
    KeyJobKind.PLAN: "Nothing changes: KMS is tried, and every value and credential is opened once, which is "
    "recorded.",
    KeyJobKind.MIGRATE: "A backup of the data keys is written, then each data key is wrapped by KMS as well. "
    "Reads and writes continue, and a rollback is possible until the migration is finalised.",
    KeyJobKind.ROLL_BACK: "The key file opens every data key again, and the migration ends.",
}


class JobForm(forms.Form):
    kind = forms.ChoiceField(label="Job", choices=KeyJobKind.choices)
    environment = forms.ChoiceField(required=False, help_text="Leave blank for everything.")
    backup = forms.ChoiceField(
        required=False,
        label="Backup of the migration",
        help_text="For a rollback: the file that the migration wrote.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = Environment.objects.order_by("name").values_list("name", flat=True)
        self.fields["environment"].choices = [("", "Everything"), *((name, name) for name in names)]  # type: ignore[attr-defined]  # a choice field
        self.fields["backup"].choices = [("", "—"), *((name, name) for name in jobs.backups())]  # type: ignore[attr-defined]  # a choice field


@require_GET
def keys(request: HttpRequest) -> HttpResponse:
    """Show the key of each environment, and the jobs."""
    _require_viewer(request)
    may_act = allows(principal_of(request), Action.DATA_KEY_ROTATE, environment_id=None)
    context = {
        "title": "Keys",
        "reports": list(stored_reports()),
        "backend": settings.KEY_MANAGEMENT_BACKEND,
        "migration_allowed": settings.KEY_MIGRATION,
        "migration": KeyMigration.objects.filter(open=True).first(),
        "jobs": KeyJob.objects.all()[:_SHOWN],
        "form": JobForm() if may_act else None,
    }
    return admin_page(request, "admin/keys.html", context)


@require_http_methods(["GET", "POST"])
def key_job_new(request: HttpRequest) -> HttpResponse:
    """Show what a job will do; a POST asks a worker for it."""
    actor = principal_of(request)
    require(actor=actor, action=Action.DATA_KEY_ROTATE, environment=None)
    form = JobForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        return admin_page(request, "admin/key_job_new.html", {"title": "Job on keys", "form": form})
    if request.method == "POST":
        job = attempt(form, lambda: jobs.request(actor=actor, **form.cleaned_data))
        if job is not None:
            return redirect("admin-key-job", pk=job.pk)
    kind = KeyJobKind(form.cleaned_data["kind"]) if "kind" in form.cleaned_data else KeyJobKind.TEST
    context = {"title": f"{kind.label}?", "kind": kind, "about": CONFIRMATIONS[kind], "form": form}
    return admin_page(request, "admin/key_job_new.html", context)


@require_GET
def key_job(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how far a job is; the page loads itself again until it has ended."""
    _require_viewer(request)
    return job_page(request, KeyJob.objects.filter(pk=pk).first(), parent="Keys", url="admin-keys")


def _require_viewer(request: HttpRequest) -> None:
    require(actor=principal_of(request), action=Action.SYSTEM_VIEW, environment=None)


def job_page(request: HttpRequest, job: OperatorJob | None, *, parent: str, url: str) -> HttpResponse:
    """Show a job of a page of the admin; the page loads itself again until the job has ended."""
    if job is None:
        raise Http404
    context = {"title": str(job), "job": job, "parent": parent, "parent_url": reverse(url)}
    response = admin_page(request, "admin/job.html", context)
    if job.active:
        # With the address: a browser keeps a fragment of its own, and would load nothing again.
        response["Refresh"] = f"{_RELOAD_SECONDS}; url={request.path}"
    return response


def admin_page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Render a page of the admin, with what each of its pages shows."""
    return TemplateResponse(request, template, {**admin.site.each_context(request), **context})
