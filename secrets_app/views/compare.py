"""Pages that set two environments, or two versions of a secret, side by side.

Chosen secrets go from one environment to the other. What the page of two versions opens is recorded as
revealed.
"""

from typing import Any, Final

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from core.parsing import whole_number
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows, visible_environments
from environments_app.models import Environment
from environments_app.views.base import render_page, set_page_environment
from secrets_app.errors import InvalidInput, TooManyItems
from secrets_app.forms.secret import MAX_NUMBER
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import find_secret, require_authentic
from secrets_app.services.comparison import (
    MAX_PROMOTED,
    Difference,
    Promotion,
    PromotionChanged,
    compare,
    plan_promotion,
    promote,
)
from secrets_app.services.read import reveal
from secrets_app.values.version_diff import Part, field_changes, line_changes
from secrets_app.views.presenters import value_fields

_SHOWN: Final = 1_000


class CompareForm(forms.Form):
    left = forms.ModelChoiceField(
        Environment.objects.none(), label="From", to_field_name="name", empty_label=None
    )
    right = forms.ModelChoiceField(
        Environment.objects.none(), label="To", to_field_name="name", empty_label=None
    )

    def __init__(self, *args: Any, places: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("left", "right"):
            self.fields[name].queryset = places  # type: ignore[attr-defined]  # a ModelChoiceField

    def clean(self) -> dict[str, Any]:
        cleaned_data = super().clean() or {}
        if cleaned_data.get("left") and cleaned_data.get("left") == cleaned_data.get("right"):
            self.add_error("right", "Choose another environment.")
        return cleaned_data


@require_http_methods(["GET", "POST"])
def environment_compare(request: HttpRequest) -> HttpResponse:
    """Compare two environments, preview a promotion, or carry it out; by POST, since each is recorded."""
    actor = principal_of(request)
    visible = Environment.objects.filter(visible_environments(actor))
    comparable = [
        place.pk for place in visible if allows(actor, Action.SECRET_COMPARE, environment_id=place.pk)
    ]
    places = Environment.objects.filter(pk__in=comparable).order_by("position", "name")
    first = [place.name for place in places[:2]]
    left = request.GET.get("left") or next(iter(first), "")
    other = next((place.name for place in places if place.name != left), "")
    form = CompareForm(
        request.POST or None,
        places=places,
        initial={"left": left, "right": request.GET.get("right") or other},
    )
    result: dict[str, Any] = {}
    if request.method == "POST" and form.is_valid():
        set_page_environment(request, form.cleaned_data["left"])
        try:
            result = _run_step(request, form.cleaned_data["left"], form.cleaned_data["right"])
        except PromotionChanged as error:
            result = _preview(request, error.promotion) | {"changed": True}
        except TooManyItems as error:
            form.add_error(None, str(error))
    context = {"form": form, "enough": len(places) > 1, "at_once": MAX_PROMOTED, **result}
    if request.method == "POST" and form.is_valid():
        context |= {"left": form.cleaned_data["left"], "right": form.cleaned_data["right"]}
    return render_page(request, "secrets_app/compare.html", context)


def _run_step(request: HttpRequest, left: Environment, right: Environment) -> dict[str, Any]:
    actor, act = principal_of(request), request.POST.get("act", "")
    chosen: dict[str, Any] = {
        "actor": actor,
        "source": left,
        "target": right,
        "names": request.POST.getlist("names"),
    }
    if act == "preview":
        return _preview(request, plan_promotion(**chosen))
    if act == "promote":
        if right.protected and request.POST.get("typed") != right.name:
            return _preview(request, plan_promotion(**chosen)) | {"untyped": True}
        results = promote(**chosen, digest=request.POST.get("digest", ""))
        return {
            "results": results,
            "done": sum(result.done for result in results),
            "list_url": f"{reverse('secret-list')}?environment={right.name}",
        }
    return _compared(actor, left, right)


def _compared(actor: Principal, left: Environment, right: Environment) -> dict[str, Any]:
    rows = compare(actor=actor, left=left, right=right)
    apart = [row for row in rows if row.difference is not Difference.SAME]
    words = {Difference.ONLY_LEFT: f"only in {left.name}", Difference.ONLY_RIGHT: f"only in {right.name}"}
    counts = [
        (str(each), words.get(each, ""), sum(row.difference is each for row in rows)) for each in Difference
    ]
    return {
        "compared": True,
        "counts": counts,
        "rows": [
            {
                "name": row.name,
                "difference": str(row.difference),
                "word": words.get(row.difference, ""),
                "left": row.left_number,
                "right": row.right_number,
                "url": f"{reverse('secret-list')}?prefix={row.name}",
            }
            for row in apart[:_SHOWN]
        ],
        "more": max(0, len(apart) - _SHOWN),
    }


def _preview(request: HttpRequest, promotion: Promotion) -> dict[str, Any]:
    return {
        "promotion": promotion,
        "writes": sum(line.is_written for line in promotion.lines),
        "names": request.POST.getlist("names"),
    }


_CHOICES = 50


@require_http_methods(["GET", "POST"])
def secret_diff(request: HttpRequest, id: int) -> HttpResponse:
    """Offer two versions; by POST show which fields differ or, asked for it, the values as well."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    require_authentic(secret)
    query = request.POST if request.method == "POST" else request.GET
    new = _number(query.get("new", ""), secret.current_number)
    old = _number(query.get("old", ""), secret.previous_number or max(1, new - 1))
    may = allows(actor, Action.SECRET_REVEAL, environment_id=secret.environment_id, name=secret.name)
    numbers = SecretVersion.objects.filter(secret=secret).values_list("number", flat=True)[:_CHOICES]
    context: dict[str, Any] = {
        "secret": secret,
        "environment": secret.environment,
        "numbers": list(numbers),
        "old": old,
        "new": new,
        "can_reveal": may,
    }
    if request.method == "POST":
        context |= _open_versions(request, secret, old, new)
    return render_page(request, "secrets_app/diff.html", context)


def _open_versions(request: HttpRequest, secret: Secret, old: int, new: int) -> dict[str, Any]:
    actor = principal_of(request)
    shows_values = request.POST.get("show") == "values"
    before, after = (reveal(actor=actor, secret=secret, number=number).value for number in (old, new))
    of_fields = [value_fields(secret.secret_type, value) for value in (before, after)]
    if of_fields[0] is not None and of_fields[1] is not None:
        parts, by_field = field_changes(dict(of_fields[0]), dict(of_fields[1])), True
    else:
        parts, by_field = line_changes(before, after), False
    return {
        "parts": parts if shows_values else [Part(name=part.name, change=part.change) for part in parts],
        "shows_values": shows_values,
        "by_field": by_field,
        "equal": before == after,
        "opened": True,
    }


def _number(text: str, default: int) -> int:
    if not text:
        return default
    number = whole_number(text, largest=MAX_NUMBER)
    if not number:
        raise InvalidInput("version", "Choose a version.")
    return number
