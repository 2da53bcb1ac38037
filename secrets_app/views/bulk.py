"""The page on which many chosen secrets are acted on: a preview of each, then a result of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from core.parsing import whole_number
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, visible_environments
from environments_app.errors import ConfirmationNeeded
from environments_app.forms.authentication import ProofForm, confirm_link
from environments_app.forms.fields import CommaSeparatedField
from environments_app.models import Environment
from environments_app.views.base import ask_proof, render_page
from secrets_app.errors import InvalidInput, TooManyItems
from secrets_app.forms.secret import FilterForm
from secrets_app.forms.transfer import EXPORT_FORMATS
from secrets_app.models import Secret
from secrets_app.queries.lookup import environments_where, visible_secrets
from secrets_app.services.bulk_actions import (
    BULK_ACTIONS,
    EXPORT,
    MAX_CHOSEN,
    MAX_MATCHING,
    BulkAction,
    Options,
    execute,
    preview,
)
from secrets_app.services.exporting import export_values
from secrets_app.services.read import reveal_environment
from secrets_app.values.batch_results import ItemResult
from secrets_app.values.names import validate_tags
from secrets_app.views.import_export import file_of, tell_left_out
from secrets_app.views.listing import matching_secrets

_MAX_ID: Final = 2**63 - 1
# Of a long preview so many are listed; the rest is counted.
_SHOWN: Final = 50
_EARLIER: Final = "Failed in an earlier part."


class OptionsForm(forms.Form):
    tags = CommaSeparatedField(required=False, help_text="Comma-separated.")
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        label="To",
        to_field_name="name",
        required=False,
        empty_label="Choose an environment",
    )
    format = forms.ChoiceField(choices=EXPORT_FORMATS, required=False)

    def __init__(self, data: Any, *, needs: str, places: Any) -> None:
        super().__init__(data)
        self.fields["environment"].queryset = places  # type: ignore[attr-defined]  # a ModelChoiceField
        for name in [name for name in self.fields if name != needs]:
            del self.fields[name]
        for field in self.fields.values():
            field.required = True

    def clean_tags(self) -> list[str]:
        try:
            return validate_tags(self.cleaned_data["tags"])
        except InvalidInput as error:
            raise forms.ValidationError(error.reason) from error

    @property
    def options(self) -> Options:
        data = getattr(self, "cleaned_data", {})
        return Options(tags=data.get("tags", ()), environment=data.get("environment"))


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What a request of the bulk page selects, and what earlier parts of the same action did."""

    seen: Mapping[int, str]
    # The query of the list that it came from, or the page of the only secret.
    back: str
    origin: int | None
    done: int
    missed: list[str]
    typed: frozenset[str]
    # What earlier parts deleted, as `picks` of what would restore it.
    undo: list[str]

    @property
    def back_url(self) -> str:
        if self.origin is not None:
            return reverse("secret-detail", args=[self.origin])
        return reverse("secret-list") + (f"?{self.back}" if self.back else "")


@sensitive_post_parameters("proof-password")
@require_POST
def secret_bulk(request: HttpRequest) -> HttpResponse:
    """Preview an action on the selected secrets or, once that was seen, execute it in parts."""
    proof = ask_proof(request) if request.POST.get("act") == EXPORT else None
    actor = principal_of(request)
    name, step = request.POST.get("act", ""), request.POST.get("step", "")
    act = BULK_ACTIONS.get(name)
    if act is None and name != EXPORT:
        raise InvalidInput("act", "Choose an action.")
    asked = _asked(request, actor)
    rows = visible_secrets(actor, deleted=bool(act and act.on_deleted)).filter(pk__in=asked.seen)
    secrets = verified_rows(rows.order_by("name", "id"))
    form = OptionsForm(
        request.POST if step else None,
        needs="format" if act is None else act.needs,
        places=environments_where(actor, Action.SECRET_CREATE),
    )
    places = {secret.environment_id: secret.environment for secret in secrets}
    context: dict[str, Any] = {
        "act": act or {"name": EXPORT, "verb": "Export", "destructive": False},
        "form": form,
        "proof": proof,
        "secrets": secrets,
        "asked": asked,
        "list_url": asked.back_url,
        "typed": _typed_name(act, secrets),
        "shown": _SHOWN,
        "environment": places.popitem()[1] if len(places) == 1 else None,
    }
    try:
        if act is None:
            return _exported(request, form, secrets, context)
        is_confirmed = set(context["typed"].split()) <= asked.typed
        if step == "apply" and form.is_valid() and is_confirmed:
            context |= _executed(actor, act, secrets, asked, form.options)
        else:
            ready = form.is_valid() if step else not act.needs
            context |= _preview(request, act, secrets, form) | {"ready": ready}
        context["destination"] = form.options.environment
    except (TooManyItems, ConfirmationNeeded) as error:
        message = confirm_link() if isinstance(error, ConfirmationNeeded) else str(error)
        form.add_error(None, message) if form.is_bound else context.update({"refused": message})
    return render_page(request, "secrets_app/bulk.html", context)


def _asked(request: HttpRequest, actor: Principal) -> _Request:
    """Read the selection: single rows, or all that the filters of the list find. Raises InvalidInput."""
    data = request.POST
    back = QueryDict(data.get("back", ""))
    picks = [*data.getlist("pick"), *data.get("picks", "").split()]
    seen = _matching(back, actor) if data.get("matching") else _seen(picks)
    if len(seen) > MAX_MATCHING:
        raise TooManyItems(f"Select up to {MAX_MATCHING:,} secrets. Nothing was changed.")
    return _Request(
        seen=seen,
        back=back.urlencode(),
        origin=whole_number(data.get("origin", ""), largest=_MAX_ID),
        done=whole_number(data.get("done", ""), largest=MAX_MATCHING) or 0,
        missed=data.get("missed", "").split()[:MAX_MATCHING],
        typed=frozenset(data.get("typed", "").split()),
        undo=data.get("undo", "").split()[:MAX_MATCHING],
    )


def _seen(picks: Iterable[str]) -> dict[int, str]:
    seen = {}
    for pick in picks:
        text, _, etag = pick.partition(":")
        pk = whole_number(text, largest=_MAX_ID)
        if pk is not None:
            seen[pk] = etag
    return seen


def _matching(query: QueryDict, actor: Principal) -> dict[int, str]:
    environments = Environment.objects.filter(visible_environments(actor))
    matching = matching_secrets(actor, FilterForm(query, environments=environments))
    rows = matching.select_related(None).order_by("name", "id")[:MAX_MATCHING]
    return {row.pk: row.etag for row in rows}


def _executed(
    actor: Principal, act: BulkAction, secrets: list[Secret], asked: _Request, options: Options
) -> dict[str, Any]:
    part, left = secrets[:MAX_CHOSEN], secrets[MAX_CHOSEN:]
    results = execute(actor=actor, act=act, secrets=part, seen=asked.seen, options=options)
    done = asked.done + sum(result.done for result in results)
    failed = [result.name for result in results if not result.done]
    earlier = [ItemResult(name=name, done=False, reason=_EARLIER) for name in asked.missed]
    return {
        "results": [*earlier, *results],
        "done": done,
        "attempted": asked.done + len(asked.missed) + len(results),
        "left": left,
        "picks": " ".join(f"{secret.pk}:{asked.seen[secret.pk]}" for secret in left),
        "missed": [*asked.missed, *failed],
        "undo": [*asked.undo, *_undo(actor, act, secrets, results)],
    }


def _undo(actor: Principal, act: BulkAction, secrets: list[Secret], results: list[ItemResult]) -> list[str]:
    """Return the `picks` that restore what was deleted just now, as far as the actor may restore it."""
    if act.name != "delete":
        return []
    done = {result.secret_id for result in results if result.done}
    rights = BULK_ACTIONS["restore"].rights
    rows = Secret.objects.filter(pk__in=[secret.pk for secret in secrets], live=None)
    return [
        f"{row.pk}:{row.etag}"
        for row in rows
        if row.pk in done
        and all(allows(actor, right, environment_id=row.environment_id, name=row.name) for right in rights)
    ]


def _preview(
    request: HttpRequest, act: BulkAction, secrets: list[Secret], form: OptionsForm
) -> dict[str, Any]:
    chosen = preview(actor=principal_of(request), act=act, secrets=secrets, options=form.options)
    return {"chosen": chosen, "count": sum(not item.reason for item in chosen)}


def _typed_name(act: BulkAction | None, secrets: list[Secret]) -> str:
    """Return the names of protected environments, which a destructive act asks to be typed."""
    if act is None or not act.destructive:
        return ""
    names = {secret.environment.name for secret in secrets if secret.environment.protected}
    return " ".join(sorted(names))


def _is_wrong(proof: ProofForm | None) -> bool:
    return proof is not None and proof.is_bound


def _exported(
    request: HttpRequest, form: OptionsForm, secrets: list[Secret], context: dict[str, Any]
) -> HttpResponse:
    environments = {secret.environment_id: secret.environment for secret in secrets}
    chosen = [{"secret": secret, "reason": ""} for secret in secrets]
    context |= {"chosen": chosen, "count": len(secrets), "ready": True}
    if len(environments) != 1:
        context["refused"] = "Select secrets from one environment to export them as a file."
        context["count"] = 0
    elif request.POST.get("step") == "apply" and form.is_valid() and not _is_wrong(context["proof"]):
        (environment,) = environments.values()
        kind = form.cleaned_data["format"]
        try:
            exported = reveal_environment(
                actor=principal_of(request),
                environment=environment,
                names={secret.name for secret in secrets},
            )
            values = export_values(exported, format=kind)
        except InvalidInput as error:
            form.add_error("format", error.reason)
        else:
            tell_left_out(request, exported)
            return file_of(values, format=kind, name=environment.name)
    return render_page(request, "secrets_app/bulk.html", context)
