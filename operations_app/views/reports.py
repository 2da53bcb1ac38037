"""The pages of reports: which there are, one to read, and all of them as files."""

from datetime import datetime
from itertools import islice
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from core.errors import BadQuery
from environments_app.authentication.drf import principal_of
from environments_app.environments.access_history import end_of_day
from operations_app.reports import service as reports_service
from operations_app.reports.formats import FORMATS, file_response, printed_page
from operations_app.reports.service import Report

_ROWS_SHOWN = 200


class SpanForm(forms.Form):
    since = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}), label="To")

    as_of = forms.DateField(
        required=False, widget=forms.DateInput(attrs={"type": "date"}), label="At the end of"
    )

    def __init__(self, data: QueryDict, *, key: str) -> None:
        super().__init__(data)
        if key not in reports_service.PAST:
            del self.fields["as_of"]

    @property
    def span(self) -> dict[str, datetime | None]:
        """The time as `reports.make` takes it; what is no date is left out. Raises BadQuery."""
        self.is_valid()
        days = {name: self.cleaned_data.get(name) for name in ("since", "until")}
        as_of = self.cleaned_data.get("as_of")
        return {
            "as_of": end_of_day(as_of) if as_of else None,
            **{
                name: datetime.fromisoformat(f"{day.isoformat()}T00:00:00+00:00") if day else None
                for name, day in days.items()
            },
        }


@require_GET
def reports(request: HttpRequest) -> HttpResponse:
    """List the reports visible to the actor."""
    context = {"sections": reports_service.offered(actor=principal_of(request)), "formats": FORMATS.values()}
    return render(request, "keeper_project/reports.html", context)


@require_GET
def report_detail(request: HttpRequest, key: str) -> HttpResponse:
    """Show a report; of a long section the beginning."""
    form = SpanForm(request.GET, key=key)
    report = _made(request, key, form)
    parts: list[dict[str, Any]] = []
    for section in report.sections:
        rows = list(islice(report.rows(section), _ROWS_SHOWN + 1))
        more, state = len(rows) > _ROWS_SHOWN, report.state(section)
        parts.append({"section": section, "state": state, "rows": rows[:_ROWS_SHOWN], "more": more})
    context = {
        "report": report,
        "parts": parts,
        "key": key,
        "form": form,
        "formats": FORMATS.values(),
        "query": request.GET.urlencode(),
        "findings": reports_service.findings(report) if key == reports_service.ALL else (),
    }
    return render(request, "keeper_project/report_detail.html", context)


@require_GET
def report_file(request: HttpRequest, key: str, form: str) -> HttpResponseBase:
    """Give a report as a file, or as a page to print, from which a browser makes a PDF."""
    if form == "pdf":
        return redirect(f"{reverse('report-file', args=[key, 'html'])}?{request.GET.urlencode()}")
    if form not in FORMATS:
        raise Http404
    report = _made(request, key, SpanForm(request.GET, key=key))
    return HttpResponse(printed_page(report)) if form == "html" else file_response(report, key, form)


def _made(request: HttpRequest, key: str, form: SpanForm) -> Report:
    try:
        return reports_service.make(actor=principal_of(request), key=key, **form.span)
    except BadQuery as error:
        raise Http404(error.reason) from error
