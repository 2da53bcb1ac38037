"""What the matrix writes of many names: one column, as an import does, and a promotion between two."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, visible_environments
from environments_app.errors import ConfirmationNeeded
from environments_app.forms.authentication import confirm_link
from environments_app.models import Environment
from environments_app.views.base import render_page, set_page_environment
from secrets_app.errors import TooManyItems
from secrets_app.forms.transfer import MAX_ROWS, Cell, TableForm
from secrets_app.models import Secret
from secrets_app.queries.lookup import environments_where
from secrets_app.services.comparison import Promotion, PromotionChanged, plan_promotion, promote
from secrets_app.services.read import reveal_environment
from secrets_app.views.import_export import import_of

_NEW_ROWS: Final = 10


def column_entry(
    request: HttpRequest, place: Environment, secrets: Mapping[str, Secret | None], *, under: str
) -> dict[str, Any]:
    """Return the fields of a column for these names, and what came of those that were sent.

    A secret whose value the actor may not reveal or change has no field. To load the values is recorded.
    """
    actor = principal_of(request)
    names = [name for name, secret in secrets.items() if _is_enterable(actor, place, name, secret)]
    loads = request.POST.get("act") == "load"
    sends = request.method == "POST" and not loads
    form = TableForm(
        request.POST if sends else None, environments=environments_where(actor, Action.SECRET_IMPORT)
    )
    result = import_of(request, form) if sends else {}
    # A cell keeps what was shown when its value was entered.
    cells = {name: Cell(name, seen=secret.etag if (secret := secrets[name]) else "") for name in names}
    typed: dict[str, Cell] = {}
    refused = ""
    try:
        if loads:
            values = _loaded(actor, place, _stored_names(names, secrets))
            typed = {name: replace(cells[name], value=value).marked() for name, value in values.items()}
        else:
            typed = form.typed
    except ConfirmationNeeded:
        refused = confirm_link()
    added = [cell for name, cell in typed.items() if name not in names]
    new = [*added, *[Cell(f"{under}/" if under else "")] * _NEW_ROWS][: MAX_ROWS - len(names)]
    return {
        "form": form,
        "fields": {
            name: {"index": index, "cell": typed.get(name, cells[name])} for index, name in enumerate(names)
        },
        "new_rows": [{"index": index, "cell": cell} for index, cell in enumerate(new, len(names))],
        "refused": refused,
        "loaded": loads and bool(typed),
        "verb": "Save",
        "done_word": "Saved",
        **result,
    }


def _is_enterable(actor: Principal, place: Environment, name: str, secret: Secret | None) -> bool:
    rights = [Action.SECRET_IMPORT, Action.SECRET_CREATE]
    if secret:
        rights = [Action.SECRET_IMPORT, Action.SECRET_UPDATE, Action.SECRET_REVEAL]
    may = all(allows(actor, right, environment_id=place.pk, name=name) for right in rights)
    return may and not (secret and secret.guarded)


def _stored_names(names: list[str], secrets: Mapping[str, Secret | None]) -> list[str]:
    """Return the names whose values a column loads: none of a decoy, whose field looks as any other does."""
    return [name for name in names if (secret := secrets[name]) and not secret.decoy]


def _loaded(actor: Principal, place: Environment, names: list[str]) -> dict[str, str]:
    if not names:
        return {}
    exported = reveal_environment(actor=actor, environment=place, names=set(names))
    return {item.name: item.value for item in exported}


class PromotionForm(forms.Form):
    left = forms.ModelChoiceField(Environment.objects.none(), label="From", to_field_name="name")
    right = forms.ModelChoiceField(Environment.objects.none(), label="To", to_field_name="name")

    def __init__(self, *args: Any, places: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("left", "right"):
            self.fields[name].queryset = places  # type: ignore[attr-defined]  # a ModelChoiceField

    def clean(self) -> dict[str, Any]:
        cleaned_data = super().clean() or {}
        if cleaned_data.get("left") and cleaned_data.get("left") == cleaned_data.get("right"):
            self.add_error("right", "Choose two environments.")
        return cleaned_data


def promotion_page(request: HttpRequest) -> HttpResponse:
    """Preview the promotion of the chosen names, or carry it out."""
    actor = principal_of(request)
    places = [
        place.pk
        for place in Environment.objects.filter(visible_environments(actor))
        if allows(actor, Action.SECRET_COMPARE, environment_id=place.pk)
    ]
    form = PromotionForm(request.POST, places=Environment.objects.filter(pk__in=places))
    context: dict[str, Any] = {"form": form, "back_url": reverse("secret-matrix")}
    if form.is_valid():
        left, right = form.cleaned_data["left"], form.cleaned_data["right"]
        set_page_environment(request, right)
        context |= {"left": left, "right": right}
        context["back_url"] += f"?with={left.name},{right.name}"
        try:
            context |= _promotion_step(request, left, right)
        except PromotionChanged as error:
            context |= _preview(request, error.promotion) | {"changed": True}
        except TooManyItems as error:
            form.add_error(None, str(error))
    return render_page(request, "secrets_app/promotion.html", context)


def _promotion_step(request: HttpRequest, left: Environment, right: Environment) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "actor": principal_of(request),
        "source": left,
        "target": right,
        "names": request.POST.getlist("names"),
    }
    if request.POST["act"] != "promote":
        return _preview(request, plan_promotion(**chosen))
    if right.protected and request.POST.get("typed") != right.name:
        return _preview(request, plan_promotion(**chosen)) | {"untyped": True}
    results = promote(**chosen, digest=request.POST.get("digest", ""))
    return {"results": results, "done": sum(result.done for result in results)}


def _preview(request: HttpRequest, promotion: Promotion) -> dict[str, Any]:
    return {
        "promotion": promotion,
        "writes": sum(line.is_written for line in promotion.lines),
        "names": request.POST.getlist("names"),
    }
