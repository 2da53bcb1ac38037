"""The pages of who has no session: ask for a link by e-mail, and choose a password with it."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from audit_app.errors import TooManyRefusals
from audit_app.interfaces.nudges import nudge
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.errors import InvalidField, LinkEnded
from environments_app.forms.authentication import too_many
from environments_app.forms.password_link import ChosenForm, ForgottenForm
from environments_app.users.password_links import choose_password, request_reset, resets_are_on
from environments_app.views.base import render_limited, show_refusal

SENDING = "environments_app.tasks.deliver_notifications"


@sensitive_post_parameters("email")
@csrf_protect
@never_cache
@require_http_methods(["GET", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    """Take the address of who forgot their password; the answer is the same for each address."""
    if not resets_are_on():
        raise Http404
    form = ForgottenForm(request.POST or None)
    if not form.is_valid():
        return _password_page(request, "password_forgotten.html", form)
    try:
        request_reset(email=form.cleaned_data["email"], address=address_of(request))
    except TooManyRefusals as error:
        return _too_many(request, "password_forgotten.html", form, error)
    nudge(SENDING)
    return render(request, "environments_app/password_forgotten.html", {"asked": True})


@sensitive_variables("form")
@sensitive_post_parameters("code", "password", "again")
@csrf_protect
@never_cache
@require_http_methods(["GET", "POST"])
def choose(request: HttpRequest) -> HttpResponse:
    """Set a password with the code of a link. To open the page uses nothing up: mail scanners do that."""
    form = ChosenForm(request.POST or None)
    if not form.is_valid():
        return _password_page(request, "password_choose.html", form)
    given = form.cleaned_data
    try:
        choose_password(
            code=given["code"],
            password=given["password"],
            address=address_of(request),
            request_id=request_id_of(request),
        )
    except LinkEnded as error:
        return _password_page(request, "password_choose.html", form, ended=str(error))
    except InvalidField as error:
        show_refusal(form, error)
        return _password_page(request, "password_choose.html", form)
    except TooManyRefusals as error:
        return _too_many(request, "password_choose.html", form, error)
    messages.success(request, "Password saved. Sign in with it.")
    return redirect("sign-in")


def _password_page(
    request: HttpRequest, template: str, form: ForgottenForm | ChosenForm, *, ended: str = ""
) -> HttpResponse:
    context = {"form": form, "ended": ended, "resets": resets_are_on()}
    status = 422 if form.errors or ended else 200
    return render(request, f"environments_app/{template}", context, status=status)


def _too_many(
    request: HttpRequest, template: str, form: ForgottenForm | ChosenForm, error: TooManyRefusals
) -> HttpResponse:
    form.add_error(None, too_many(error.retry_after))
    template = f"environments_app/{template}"
    return render_limited(request, template, {"form": form}, retry_after=error.retry_after)
