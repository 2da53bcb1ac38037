"""Pages on which many secrets come in as a file, previewed first, and go out as one.

The matrix writes the values of a column the same way (`import_of`).
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.errors import ConfirmationNeeded
from environments_app.forms.authentication import confirm_link
from environments_app.models import Environment
from environments_app.views.base import (
    ask_proof,
    chosen_environment,
    render_page,
    set_page_environment,
    show_refusal,
)
from secrets_app.errors import InvalidInput, NameTaken, TooManyItems
from secrets_app.forms.transfer import TYPES, ExportForm, ImportForm
from secrets_app.importing.formats.registry import Entry
from secrets_app.importing.plan import Line, Plan, PlanChanged, Verdict, plan_import
from secrets_app.importing.service import import_entries, left_over
from secrets_app.queries.lookup import environments_where
from secrets_app.services.bulk_create import MAX_ITEMS
from secrets_app.services.exporting import export_renderer, export_values
from secrets_app.services.read import Exported, reveal_environment
from secrets_app.values.batch_results import ItemResult
from secrets_app.values.names import validate_prefix

_IMPORT: Final = "import"
_EARLIER: Final = "Failed in an earlier part. Preview the file again to see why."
_DIGITS: Final = 6
# So many guarded secrets are named that a file leaves out.
_NAMED: Final = 10
# Of a long file, the first lines offer another type: each is a place to stop at for the keyboard.
_RETYPED: Final = 100
# A correction has four fields, and a form at most 1,000 (DATA_UPLOAD_MAX_NUMBER_FIELDS).
_CORRECTABLE: Final = 150


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def secret_import(request: HttpRequest) -> HttpResponse:
    """Preview what a file would write, and write it once that was seen; the file is sent both times."""
    actor = principal_of(request)
    form = ImportForm(
        request.POST or None,
        request.FILES or None,
        environments=environments_where(actor, Action.SECRET_IMPORT),
        initial={"environment": chosen_environment(request)},
    )
    shown = import_of(request, form) if request.method == "POST" else {}
    context = {"form": form, "environment": form.place, "cancel_url": reverse("secret-list"), **shown}
    return render_page(request, "secrets_app/import.html", context, partial="secrets_app/_import.html")


def import_of(request: HttpRequest, form: ImportForm) -> dict[str, Any]:
    """Preview or execute what a form holds; return what its page shows. Refusals are shown on the form."""
    if not form.is_valid():
        return {}
    environment = form.cleaned_data["environment"]
    set_page_environment(request, environment)
    try:
        return _attempted(request, form, environment)
    except InvalidInput as error:
        show_refusal(form, error)
    except PlanChanged as error:
        return _preview(form, error.plan) | {"changed": True}
    except (NameTaken, TooManyItems) as error:
        form.add_error(None, str(error))
    return {}


def _attempted(request: HttpRequest, form: ImportForm, environment: Environment) -> dict[str, Any]:
    actor, entries = principal_of(request), form.entries()
    if request.POST.get("act") != _IMPORT:
        plan = plan_import(
            actor=actor, environment=environment, entries=entries, keep_existing=form.keep_existing
        )
        return _preview(form, plan)
    arguments: dict[str, Any] = {
        "actor": actor, "environment": environment, "entries": entries, "keep_existing": form.keep_existing
    }  # fmt: skip
    part = _Part.of(request)
    plan, results = import_entries(**arguments, digest=request.POST.get("digest", ""), after=part.after)
    part.add(results)
    if left := left_over(plan, results, after=part.after):
        following = {"digest": plan_import(**arguments).digest, "after": left[0].index - 1, "left": len(left)}
        form_state = {"fixes": form.fixes, "again": form.sends_file}
        return {"part": part, "unfinished": following, **form_state}
    return {
        "results": True,
        "done": part.done,
        "failed": part.failed,
        "left_out": plan.of(Verdict.REFUSED),
        "skipped": form.skipped,
        "list_url": f"{reverse('secret-list')}?environment={environment.name}",
    }


@dataclass
class _Part:
    """What earlier requests of an import did; the browser sends it along, for the page alone."""

    after: int | None
    done: int
    missed: list[str]
    failed: list[ItemResult] = field(default_factory=list)

    @classmethod
    def of(cls, request: HttpRequest) -> "_Part":
        after, done = (request.POST.get(name, "") for name in ("after", "done"))
        if not after.lstrip("-").isdecimal():
            return cls(after=None, done=0, missed=[])
        missed = request.POST.getlist("missed")[:MAX_ITEMS]
        return cls(
            after=int(after[:_DIGITS]), done=int(done[:_DIGITS]) if done.isdecimal() else 0, missed=missed
        )

    def add(self, results: list[ItemResult]) -> None:
        earlier = [ItemResult(name=name, done=False, reason=_EARLIER) for name in self.missed]
        self.failed = earlier + [result for result in results if not result.done]
        self.done += sum(result.done for result in results)


def _preview(form: ImportForm, plan: Plan) -> dict[str, Any]:
    fixes, sent = form.fixes, list(form.sent.items())
    writes = len(plan.of(Verdict.NEW)) + len(plan.of(Verdict.CHANGED))
    refused = plan.of(Verdict.REFUSED)
    # What has a correction keeps it; of the others the first are offered one.
    corrected = [key for key in form.sent if fixes.get(key, {}).keys() - {"type"}]
    others = [key for key in (sent[line.index][0] for line in refused) if key not in corrected]
    offered = {*corrected, *others[: max(_CORRECTABLE - len(corrected), 0)]}
    lines = sorted(plan.lines, key=lambda line: line.verdict is not Verdict.REFUSED)
    return {
        "plan": plan,
        "counts": [(str(verdict), len(plan.of(verdict))) for verdict in Verdict],
        "writes": writes,
        "refused": bool(refused),
        "empty": [line.entry.name for line in refused if not (line.entry.value or line.entry.fault)],
        "uncorrectable": len(corrected) + len(others) - len(offered),
        "lines": [_shown(line, *sent[line.index], fixes, offered) for line in lines],
        "dropped": len(fixes.keys() - form.sent.keys()),
        "types": TYPES,
        "again": form.sends_file,
        "retyped": _RETYPED,
    }


def _shown(
    line: Line, key: str, sent: Entry, fixes: Mapping[str, Mapping[str, str]], offered: AbstractSet[str]
) -> dict[str, Any]:
    return {
        "key": key,
        "was": sent.name,
        "place": line.entry.place,
        "name": line.entry.name,
        "verdict": str(line.verdict),
        "type_label": line.secret_type.label,
        "type": str(line.secret_type),
        "corrected": key in offered,
        "reason": line.reason,
        "field": line.field,
        "version": line.secret.current_number if line.secret else None,
        "fix": fixes.get(key, {}),
    }


@sensitive_post_parameters("proof-password")
@require_http_methods(["GET", "POST"])
def secret_export(request: HttpRequest) -> HttpResponse:
    """Hand out values as a file, after the reading of each is on record."""
    proof, actor = ask_proof(request), principal_of(request)
    initial = {
        "environment": chosen_environment(request),
        "under": request.GET.get("prefix", ""),
        "format": "dotenv",
    }
    places = environments_where(actor, Action.SECRET_EXPORT)
    form = ExportForm(request.POST or None, environments=places, initial=initial)
    if request.method == "POST" and form.is_valid() and not (proof and proof.is_bound):
        data = form.cleaned_data
        try:
            exported = reveal_environment(
                actor=actor, environment=data["environment"], prefix=validate_prefix(data["under"])
            )
            values = export_values(exported, format=data["format"])
        except InvalidInput as error:
            show_refusal(form, error)
        except TooManyItems as error:
            form.add_error("under", str(error))
        except ConfirmationNeeded:
            form.add_error(None, confirm_link())
        else:
            tell_left_out(request, exported)
            return file_of(values, format=data["format"], name=data["environment"].name)
    refused = bool(form.errors or (proof and proof.errors))
    context = {"form": form, "environment": form.place, "proof": proof, "cancel_url": reverse("secret-list")}
    return render_page(request, "secrets_app/export.html", context, refused=refused)


def tell_left_out(request: HttpRequest, exported: Exported) -> None:
    """Say on the next page which guarded secrets a file does not hold."""
    if count := len(exported.left_out):
        named = ", ".join(exported.left_out[:_NAMED])
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        messages.warning(request, f"The file leaves out guarded secrets: {named}{more}.")


def file_of(values: Mapping[str, str], *, format: str, name: str) -> HttpResponse:
    renderer = export_renderer(format)
    response = HttpResponse(
        renderer.written(values), content_type=renderer.media_type, headers=renderer.headers(values)
    )
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{renderer.ending}"'
    return response
