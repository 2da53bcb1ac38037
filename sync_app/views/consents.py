"""The page of an environment's consents: where its values may be filled in to what others deliver."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows, require
from environments_app.errors import BadName, Conflict, InvalidField
from environments_app.models import Environment
from environments_app.names import MAX_PREFIX
from environments_app.views.base import enter_environment, render_page
from sync_app.models import ReferenceConsent
from sync_app.targets import consents


class ConsentForm(forms.Form):
    target = forms.CharField(
        max_length=127, label="Target", help_text="environment/target, for example payments/aws."
    )
    names = forms.CharField(
        label="Names under",
        max_length=MAX_PREFIX,
        required=False,
        help_text="For example, db. Leave blank for all secrets.",
    )


class ConsentPanel:
    def panel(self, *, environment: Environment) -> Mapping[str, Any]:
        return {
            "template": "sync_app/_consent_panel.html",
            "anchor": "consents",
            "tab": "targets",
            "consents": _rows(environment),
            "url": reverse("consents", args=[environment.name]),
        }


@require_GET
def consent_list(request: HttpRequest, name: str) -> HttpResponse:
    return _page(request, _place(request, name, Action.CONSENT_VIEW), ConsentForm())


@require_POST
def consent_give(request: HttpRequest, name: str) -> HttpResponse:
    place = _place(request, name, Action.CONSENT_GIVE)
    form = ConsentForm(request.POST)
    if form.is_valid():
        actor, data = principal_of(request), form.cleaned_data
        try:
            target = consents.find_destination(actor=actor, text=data["target"])
            consents.give_consent(actor=actor, environment=place, target=target, prefix=data["names"])
        except (InvalidField, BadName) as error:
            form.add_error({"target": "target", "prefix": "names"}.get(error.field), error.reason)
        except Conflict as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "Reference allowed.")
            return redirect("consents", name=name)
    return _page(request, place, form, refused=True)


@require_POST
def consent_withdraw(request: HttpRequest, name: str, id: int) -> HttpResponse:
    actor, place = enter_environment(request, name)
    consent = consents.find_consent(actor=actor, environment=place, id=id)
    consents.withdraw_consent(actor=actor, consent=consent)
    messages.success(
        request, "Reference no longer allowed. Values that were already synced stay in the target."
    )
    return redirect("consents", name=name)


def _place(request: HttpRequest, name: str, action: Action) -> Environment:
    actor, place = enter_environment(request, name)
    require(actor=actor, action=action, environment=place)
    return place


def _rows(place: Environment) -> list[ReferenceConsent]:
    return list(ReferenceConsent.objects.filter(environment=place).select_related("target__environment"))


def _page(
    request: HttpRequest, place: Environment, form: ConsentForm, *, refused: bool = False
) -> HttpResponse:
    actor = principal_of(request)
    context = {
        "environment": place,
        "form": form,
        "consents": _rows(place),
        "may_change": allows(actor, Action.CONSENT_GIVE, environment_id=place.pk),
    }
    return render_page(request, "sync_app/consents.html", context, refused=refused)
