"""The page that sets two versions of a secret side by side; what it opens is recorded as revealed."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from audit_app.events.actions import Action
from core.parsing import whole_number
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows
from environments_app.views.base import render_page
from secrets_app.errors import InvalidInput
from secrets_app.forms.secret import MAX_NUMBER
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import find_secret, require_authentic
from secrets_app.services.read import reveal
from secrets_app.values.version_diff import Part, field_changes, line_changes
from secrets_app.views.presenters import value_fields

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
    opened = [reveal(actor=actor, secret=secret, number=number) for number in (old, new)]
    before, after = (each.value for each in opened)
    of_fields = [value_fields(each.secret_type, each.value) for each in opened]
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
