"""The page that finds whose a leaked token or value is; what was pasted is never shown again."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from audit_app.errors import TooManyRefusals
from environments_app.authentication.drf import principal_of
from secrets_app.errors import InvalidInput
from sync_app.rotation.execution.compromise_response import require_managing
from sync_app.rotation.leaks import PER_HOUR, find_leaked


class LeakForm(forms.Form):
    """A text of any kind; a form that was sent is never rendered with it."""

    text = forms.CharField(
        label="Token or value",
        strip=False,
        widget=forms.Textarea(
            attrs={
                "rows": 4,
                "autocomplete": "off",
                "autocapitalize": "off",
                "spellcheck": "false",
                "class": "font-monospace",
            }
        ),
    )


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def leaked(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    require_managing(actor)
    context: dict[str, Any] = {"form": LeakForm(), "per_hour": PER_HOUR}
    status = 200
    if request.method == "POST":
        try:
            context["matches"] = find_leaked(actor=actor, text=request.POST.get("text", ""))
        except InvalidInput as error:
            context["problem"], status = error.reason, 422
        except TooManyRefusals:
            context["problem"], status = "You searched too often. Wait an hour, then search again.", 429
    return render(request, "sync_app/leaked.html", context, status=status)
