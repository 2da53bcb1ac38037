"""The page of an environment's notifications: recipients, webhooks, and what became of messages."""

from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit_app.events.actions import Action
from environments_app.acts import REMOVE_ADDRESSEE, RETRY_MESSAGE, TEST_MESSAGE
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows, require
from environments_app.errors import Invisible
from environments_app.models import Addressee, Alert, Delivery, Environment, Recipient, User
from environments_app.notifications.recipients import add_recipient, find_addressee
from environments_app.views.base import act_page, attempt, enter_environment, form_of, render_page
from secrets_app.acts import WebhookForm
from secrets_app.models import Webhook
from secrets_app.webhooks import add_webhook, names_of_addressees

_DELIVERIES_SHOWN: Final = 20


class RecipientForm(forms.Form):
    email = forms.EmailField(label="Email address", max_length=254)


@require_GET
def notifications(request: HttpRequest, name: str) -> HttpResponse:
    return _page(request, _place(request, name, Action.NOTIFICATION_VIEW))


@form_of("notifications")
def recipient_add(request: HttpRequest, name: str) -> HttpResponse:
    place = _place(request, name, Action.NOTIFICATION_CREATE)
    form = RecipientForm(request.POST)
    added = form.is_valid() and attempt(
        form,
        lambda: add_recipient(
            actor=principal_of(request), environment=place, email=form.cleaned_data["email"]
        ),
    )
    if not added:
        return _page(request, place, recipient_form=form)
    messages.success(request, f"Added {added}.")
    return redirect("notifications", name=name)


@form_of("notifications")
def webhook_add(request: HttpRequest, name: str) -> HttpResponse:
    place = _place(request, name, Action.NOTIFICATION_CREATE)
    form = WebhookForm(request.POST)
    added = form.is_valid() and attempt(
        form, lambda: add_webhook(actor=principal_of(request), environment=place, **form.cleaned_data)
    )
    if not added:
        return _page(request, place, webhook_form=form)
    webhook, key = added
    context = {"webhook": webhook, "key": key, "environment": place}
    return render_page(request, "secrets_app/webhook_made.html", context)


def _place(request: HttpRequest, name: str, action: Action) -> Environment:
    actor, place = enter_environment(request, name)
    require(actor=actor, action=action, environment=place)
    return place


def _addressee(request: HttpRequest, *, name: str, id: int, model: type[Addressee]) -> Addressee:
    actor, place = enter_environment(request, name)
    return find_addressee(actor=actor, model=model, environment=place, id=id)


def _message(request: HttpRequest, *, name: str, id: int) -> Delivery:
    place = _place(request, name, Action.NOTIFICATION_VIEW)
    row = Delivery.objects.filter(environment=place, pk=id).first()
    if row is None:
        raise Invisible("There is no such message.")
    return row


def _back(row: Addressee | Delivery) -> str:
    return reverse("notifications", args=[row.environment.name])  # type: ignore[union-attr]  # found by it


ACT_PAGES: Final = {
    act.slug: act_page(act, _addressee, back=_back) for act in (REMOVE_ADDRESSEE, TEST_MESSAGE)
}
retry: Final = act_page(RETRY_MESSAGE, _message, back=_back)


def _page(request: HttpRequest, place: Environment, **bound: forms.Form) -> HttpResponse:
    recipients = list(Recipient.objects.filter(environment=place))
    webhooks = list(Webhook.objects.filter(environment=place).defer("sealed"))
    deliveries = list(Delivery.objects.filter(environment=place)[:_DELIVERIES_SHOWN])
    # A manager knows the members, and no directory of the installation.
    members = Q(memberships__environment=place) | Q(groups__memberships__environment=place)
    people = User.objects.all() if principal_of(request).sees_installation else User.objects.filter(members)
    names = names_of_addressees(deliveries, among=people)
    context: dict[str, Any] = {
        "environment": place,
        "recipients": recipients,
        "webhooks": webhooks,
        "alerts": Alert.objects.filter(environment=place, open=True).order_by("-pk")[:_DELIVERIES_SHOWN],
        "can_retry": allows(principal_of(request), Action.NOTIFICATION_RETRY, environment_id=place.pk),
        "deliveries": [{"row": row, "to": names.get(row.addressee, "removed")} for row in deliveries],
        "recipient_form": RecipientForm(),
        "webhook_form": WebhookForm(),
        "no_mail_server": not settings.EMAIL_HOST,
        "interval": settings.KEEPER_ALERT_INTERVAL_MINUTES,
    }
    return render_page(request, "secrets_app/notifications.html", context | bound, refused=bool(bound))
