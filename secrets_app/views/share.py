"""The pages on which a value is shared once, and on which a colleague or a person outside opens it."""

from typing import Any, Final, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from audit_app.errors import TooManyRefusals
from audit_app.events.actions import Action
from environments_app.authentication.drf import address_of, principal_of, request_id_of
from environments_app.authorization.policy import Principal, allows
from environments_app.authorization.principals import anonymous_principal
from environments_app.errors import InvalidField
from environments_app.forms.authentication import too_many
from environments_app.users.accounts import user_by_name
from environments_app.users.password_backend import named_user
from environments_app.views.base import attempt, render_page
from secrets_app.errors import ShareEnded
from secrets_app.models import Proof, Secret, Share
from secrets_app.queries.lookup import find_secret, require_authentic, require_on
from secrets_app.services.outside import (
    CODE_LIFE,
    OutsideShare,
    ask_code,
    find_outside,
    most_hours,
    open_outside,
    share_outside,
)
from secrets_app.services.read import RevealedValue
from secrets_app.services.share import MAX_NOTE, find_share, open_share, revoke_share, share_once
from secrets_app.views.presenters import MASK_AFTER_SECONDS, value_fields

_COLLEAGUE: Final = "colleague"
_FOR: Final = {
    _COLLEAGUE: "A colleague, who signs in",
    Proof.PHRASE: "Someone outside, with a pass phrase",
    Proof.EMAIL: "Someone outside, with a code by e-mail",
}
_HOURS: Final = {1: "1 hour", 24: "1 day", 72: "3 days", 168: "7 days"}


class ShareForm(forms.Form):
    """Who may open the link; a colleague alone where `most`, the hours of links for people outside, is 0."""

    to = forms.ChoiceField(label="For", choices=list(_FOR.items()), initial=_COLLEAGUE)
    recipient = forms.CharField(
        label="Recipient",
        required=False,
        help_text="Username. Leave blank to allow any signed-in user.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    address = forms.EmailField(
        label="E-mail",
        required=False,
        help_text="When the link is opened, Keeper sends a code there. You send the link.",
        widget=forms.EmailInput(attrs={"autocomplete": "off", "data-shown-when": f"to={Proof.EMAIL}"}),
    )
    hours = forms.TypedChoiceField(label="Expires in", coerce=int, choices=list(_HOURS.items()), initial=24)
    note = forms.CharField(
        max_length=MAX_NOTE, required=False, help_text="Shown to the recipient before they view the secret."
    )

    def __init__(self, *args: Any, most: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.most = most
        if not most:
            del self.fields["to"], self.fields["address"]
            return
        self.fields["recipient"].widget.attrs["data-shown-when"] = f"to={_COLLEAGUE}"
        hours = cast("forms.TypedChoiceField", self.fields["hours"])
        hours.choices = sorted({most: f"{most} hours", **_HOURS}.items())
        hours.initial = min(24, most)
        hours.help_text = f"For someone outside {most} hours at most."
        if not settings.EMAIL_HOST:
            del self.fields["address"]
            to = cast("forms.ChoiceField", self.fields["to"])
            to.choices = [(word, label) for word, label in _FOR.items() if word != Proof.EMAIL]


class OutsideForm(forms.Form):
    """What the page for people outside sends: the link's code, then the pass phrase or e-mailed code."""

    code = forms.CharField(
        label="Code of the link",
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "data-from-link": ""}),
        help_text="The part of the link after the # sign.",
    )
    act = forms.ChoiceField(choices=[("look", ""), ("send", ""), ("open", "")], required=False)
    proof = forms.CharField(
        max_length=200,
        required=False,
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


@require_http_methods(["GET", "POST"])
def secret_share(request: HttpRequest, id: int) -> HttpResponse:
    """Share the current version once; the link is shown this once."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id)
    require_on(actor=actor, action=Action.SECRET_SHARE, secret=secret)
    require_authentic(secret)
    # The menu's entry for somebody outside chooses that in the form.
    form = ShareForm(
        request.POST or None,
        most=most_hours(secret.environment),
        initial={"to": request.GET.get("to", _COLLEAGUE)},
    )
    context: dict[str, Any] = {
        "form": form,
        "secret": secret,
        "environment": secret.environment,
        "may_allow": allows(actor, Action.ENVIRONMENT_UPDATE, environment_id=secret.environment_id),
    }
    if request.method == "POST" and form.is_valid():
        made = attempt(form, lambda: _made(actor, secret, form.cleaned_data))
        if made is not None:
            path = reverse("share-outside") + "#" if made.share.outside else reverse("share", args=["-"])[:-1]
            context |= {"made": made, "link": request.build_absolute_uri(path) + made.link}
    return render_page(request, "secrets_app/share.html", context)


def _made(actor: Principal, secret: Secret, given: dict[str, Any]) -> OutsideShare:
    """Make the link that the form asks for; the fields of another choice do not count."""
    to, hours, note = given.get("to", _COLLEAGUE), given["hours"], given["note"]
    if to == _COLLEAGUE:
        name = given["recipient"]
        if "@" in name and named_user(name) is None:
            how = (
                'choose "Someone outside" above'
                if most_hours(secret.environment)
                else "a manager allows links for people outside in the environment's Settings"
            )
            raise InvalidField("recipient", f"No user has this name. For someone outside, {how}.")
        recipient = user_by_name(name, field="recipient")
        share, link = share_once(actor=actor, secret=secret, recipient=recipient, hours=hours, note=note)
        return OutsideShare(share, link, "")
    address = given.get("address", "") if to == Proof.EMAIL else ""
    return share_outside(actor=actor, secret=secret, proof=Proof(to), address=address, hours=hours, note=note)


@require_POST
def share_revoke(request: HttpRequest, id: int, share: int) -> HttpResponse:
    """End a link, and lead to the page it was ended on: that of its secret or of its environment."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id, deleted=None)
    rows = Share.objects.select_related("environment", "secret__environment", "shared_by", "recipient")
    row = rows.filter(pk=share, secret=secret).first()
    if row is None:
        raise Http404
    revoke_share(actor=actor, share=row)
    messages.success(request, "Link ended.")
    if request.POST.get("from") == "environment":
        return redirect(reverse("environment-detail", args=[secret.environment.name]) + "#links")
    return redirect("secret-detail", id=id)


@require_http_methods(["GET", "POST"])
def shared(request: HttpRequest, link: str) -> HttpResponse:
    """Describe the share of a link, and show its value once by POST: prefetching consumes nothing."""
    actor = principal_of(request)
    if request.method == "GET":
        return render(request, "secrets_app/shared.html", {"share": find_share(actor=actor, link=link)})
    return render(request, "secrets_app/shared.html", _shown(open_share(actor=actor, link=link)))


@csrf_exempt  # It uses nothing of a session, and under no-referrer a form's origin is not told.
@login_not_required
@sensitive_variables()
@sensitive_post_parameters("code", "proof")
@require_http_methods(["GET", "POST"])
def outside(request: HttpRequest) -> HttpResponse:
    """Show a value once to a person without an account; to open the page uses nothing up."""
    form = OutsideForm(request.POST or None)
    context: dict[str, Any] = {"form": form, "minutes": int(CODE_LIFE.total_seconds()) // 60}
    status = _answer(request, form, context) if request.method == "POST" else 200
    response = render(request, "secrets_app/outside.html", context, status=status)
    response.headers["Referrer-Policy"] = "no-referrer"
    if "retry_after" in context:
        response.headers["Retry-After"] = str(context["retry_after"])
    return response


def _answer(request: HttpRequest, form: OutsideForm, context: dict[str, Any]) -> int:
    """Do what the form asks for, put what the page shows into the context, and return the status."""
    actor = anonymous_principal(address_of(request), request_id_of(request))
    if not form.is_valid():
        return 422
    link, act = form.cleaned_data["code"], form.cleaned_data["act"]
    try:
        context["share"] = find_outside(actor=actor, link=link)
        if act == "send":
            attempt(form, lambda: ask_code(actor=actor, link=link))
            context["sent"] = not form.errors
        elif act == "open":
            _open(actor, form, context)
    except ShareEnded as error:
        context |= {"share": None, "ended": str(error)}
        return 410
    except TooManyRefusals as error:
        form.add_error(None, too_many(error.retry_after))
        context["retry_after"] = error.retry_after
        return 429
    return 422 if form.errors else 200


def _open(actor: Principal, form: OutsideForm, context: dict[str, Any]) -> None:
    link, proof = form.cleaned_data["code"], form.cleaned_data["proof"]
    if not proof:
        form.add_error("proof", "Enter what the sender gave you.")
        return
    revealed = attempt(form, lambda: open_outside(actor=actor, link=link, proof=proof))
    context |= {} if revealed is None else _shown(revealed)


def _shown(revealed: RevealedValue) -> dict[str, Any]:
    value = revealed.value
    return {
        "value": value,
        "fields": value_fields(revealed.secret_type, value),
        "version": revealed.version.number,
        "mask_after": MASK_AFTER_SECONDS * 4,
    }
