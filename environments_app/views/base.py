"""What views of all apps share: how a page is rendered, and how a refusal is shown on its form."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods

from environments_app.approvals.one_person import named
from environments_app.authentication.drf import principal_of, session_principal
from environments_app.authentication.sign_in import confirm_session, provider_subject
from environments_app.authorization.act import Act
from environments_app.authorization.policy import Principal
from environments_app.environments.service import find_environment
from environments_app.errors import (
    AlreadyGranted,
    ApprovalNeeded,
    ConfirmationNeeded,
    Conflict,
    CountAsOne,
    Forbidden,
    InvalidField,
    Invisible,
)
from environments_app.forms.authentication import ProofForm, confirm_link
from environments_app.models import Environment, User, UserRole

_ATTRIBUTE = "current_environment"
# The parameter of an address, and the key of the session, that name the environment of a page.
ENVIRONMENT_PARAMETER: Final = "environment"
_PROOF: Final = f"{ProofForm.prefix}-password"


def render_page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    partial: str = "",
    refused: bool | None = None,
) -> HttpResponse:
    """Render a page inside the `environment` of its context, with status 422 if its `form` was refused.

    `partial` is the template for a request of htmx that replaces a part of the page, which takes no
    response with another status than 200. `refused` overrules the form.
    """
    if isinstance(environment := context.get("environment"), Environment):
        set_page_environment(request, environment)
    if refused is None:
        refused = isinstance(form := context.get("form"), forms.BaseForm) and bool(form.errors)
    if partial and is_partial(request):
        return render(request, partial, context)
    return render(request, template, context, status=422 if refused else 200)


_View: TypeAlias = Callable[..., HttpResponse]


def form_of(page: str, anchor: str = "") -> Callable[[_View], _View]:
    """Decorate a view that takes a form of another page, to which a GET of its address leads.

    Such an address stays in the browser where the answer is a page: what is shown once, or the form with its
    errors. The other page takes the same parts of the address.
    """

    def decorate(view: _View) -> _View:
        @wraps(view)
        def take(request: HttpRequest, **address: Any) -> HttpResponse:
            if request.method == "POST":
                return view(request, **address)
            return HttpResponseRedirect(f"{reverse(page, kwargs=address)}{anchor}")

        return require_http_methods(["GET", "POST"])(take)

    return decorate


def is_partial(request: HttpRequest) -> bool:
    """Return whether htmx replaces a part of the page with the response."""
    return "HX-Request" in request.headers and "HX-Boosted" not in request.headers


def show_accounts(rows: Iterable[Any], uuid_of: Callable[[Any], UUID | None]) -> None:
    """Set `account` of each row to the account with its uuid, for the template; a program has none."""
    rows = list(rows)
    uuids = {uuid for row in rows if (uuid := uuid_of(row))}
    people = User.objects.in_bulk(uuids, field_name="uuid") if uuids else {}
    for row in rows:
        row.account = people.get(uuid_of(row))


def attempt(
    form: forms.BaseForm,
    use_case: Callable[[], Any],
    *,
    refusals: tuple[type[Exception], ...] = (Conflict, InvalidField),
    sentence: Callable[[object], str] = str,
    request: HttpRequest | None = None,
) -> Any:
    """Run a use case; what it refuses is shown on the form, which keeps the input, and None returned.

    With a `request` the form asks for the password where the use case needs a fresh proof: its template shows
    `form.proof`. The use case has to take its actor from the request then, which the password has changed.
    """
    if request is not None and _PROOF in request.POST and not _proves(request, form):
        return None
    try:
        return use_case()
    except AlreadyGranted as error:
        change = reverse("member-change", args=[error.environment, error.membership])
        link = '<a href="{}" data-leave>Change that one</a>'
        form.add_error(None, format_html(f"There is a membership for this path already. {link}.", change))
    except CountAsOne as error:
        access = reverse("environment-access", args=[error.environment])
        link = format_html('{} <a href="{}" data-leave>Open Access</a>', error.reason, access)
        form.add_error(error.field, link)
    except ConfirmationNeeded:
        if request is None or _proves(request, form):
            form.add_error(None, confirm_link())
    except refusals as error:
        show_refusal(form, error, sentence)
    return None


def _proves(request: HttpRequest, form: forms.BaseForm) -> bool:
    """Return whether nothing is left to prove in the form; what is, is its `proof`."""
    proof = ask_proof(request)
    if proof is not None:
        proof.fields["password"].widget.attrs["autofocus"] = True
        form.proof = proof  # type: ignore[attr-defined]  # for the template alone
    return proof is None


def show_refusal(form: forms.BaseForm, error: Exception, sentence: Callable[[object], str] = str) -> None:
    """Show a refusal at the form's field that the error names, or above the form."""
    find = getattr(form, "field_of", lambda name: name if name in form.fields else None)
    field = find(getattr(error, "field", ""))
    form.add_error(field, sentence(getattr(error, "reason", error)))


def run_act(
    request: HttpRequest,
    use_case: Callable[[], Any],
    sentence: str | Callable[[Any], str],
    *,
    back: str,
    after: str = "",
    refusals: tuple[type[Exception], ...] = (Conflict, InvalidField),
) -> HttpResponse:
    """Run a use case that has no form, and lead to the address `after`, or `back` if it was refused.

    What the user may not do or see is answered as everywhere, and so is what needs an approval.
    """
    try:
        result = use_case()
    except ConfirmationNeeded:
        return confirm_first(request, back=back)
    except (ApprovalNeeded, Forbidden, Invisible):
        raise
    except refusals as error:
        messages.error(request, as_sentence(error))
        return HttpResponseRedirect(back)
    messages.success(request, sentence if isinstance(sentence, str) else sentence(result))
    return HttpResponseRedirect(after or back)


def act_page(
    act: Act,
    find: Callable[..., Any],
    *,
    back: Callable[[Any], str],
    after: Callable[[Any], str] | None = None,
    arguments: Callable[[HttpRequest], dict[str, Any]] | None = None,
    refusals: tuple[type[Exception], ...] = (Conflict, InvalidField),
) -> Callable[..., HttpResponse]:
    """Return the page of an act: a POST runs it, and a GET asks the act's question if it has one.

    `find` takes the request and the parts of the address, and returns the row. `back` and `after`
    return the address of the row's page, and where success leads if not there; `arguments` what the use case
    takes from the request.
    """

    def page(request: HttpRequest, **address: Any) -> HttpResponse:
        row = find(request, **address)
        typed = act.typed(row)
        if act.question and (request.method == "GET" or (typed and request.POST.get("typed") != typed)):
            return _ask(request, act, row, back(row))
        given = arguments(request) if arguments else {}
        return run_act(
            request,
            lambda: act.perform(actor=principal_of(request), row=row, **given),
            lambda result: act.done.format(row=row, result=result, **given),
            back=back(row),
            after=after(row) if after else "",
            refusals=refusals,
        )

    methods = ["GET", "POST"] if act.question else ["POST"]
    return require_http_methods(methods)(page)


def _ask(request: HttpRequest, act: Act, row: Any, back: str) -> HttpResponse:
    environment = getattr(row, "environment", None)
    approved = act.needs_approval and environment is not None and environment.protected
    context = {
        "title": act.question.format(row=row),
        "text": f"This needs approval first. {act.confirmation}" if approved else act.confirmation,
        "action": request.path,
        "lines": act.foresee(principal_of(request), row) if act.foresee else (),
        "typed": act.typed(row),
        "environment": environment,
        "label": act.label,
        "button_class": "btn-danger" if act.dangerous else "btn-primary",
        "cancel_url": back,
    }
    return render_page(request, "confirm.html", context)


def as_sentence(words: object) -> str:
    """Return an error's message as a sentence."""
    text = str(words).strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def ask_proof(request: HttpRequest) -> ProofForm | None:
    """Return the fields for the password, where an act needs a fresh proof and the session has none.

    The right password, sent with the form of the act, is that proof. None also where single sign-on gives it.
    """
    user = request.user
    if not isinstance(user, User) or principal_of(request).confirmed or provider_subject(request) is not None:
        return None
    form = ProofForm(request, request.POST if _PROOF in request.POST else None)
    if not form.is_bound or not form.is_valid():
        return form
    confirm_session(request, User.objects.get(pk=user.pk), how=form.how)
    request.principal = session_principal(request)  # type: ignore[attr-defined]  # ours, on Django's request
    return None


def confirm_first(request: HttpRequest, *, back: str) -> HttpResponse:
    """Lead a session whose proof has lapsed to `confirm`, and from there to the page `back`."""
    messages.info(request, "Confirm your password to continue.")
    return HttpResponseRedirect(f"{reverse('confirm')}?{urlencode({REDIRECT_FIELD_NAME: back})}")


def render_limited(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, retry_after: int | None
) -> HttpResponse:
    """Render a page with status 429 and when to try again, if attempts are refused for so many seconds."""
    response = render(request, template, context, status=429 if retry_after is not None else 200)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def enter_environment(request: HttpRequest, name: str) -> tuple[Principal, Environment]:
    """Return the actor, and the environment of this name. Raises Invisible."""
    actor = principal_of(request)
    return actor, find_environment(actor=actor, name=name)


def ask_administrator() -> str:
    """Return whom to ask for what administrators alone do, as a sentence."""
    people = User.objects.filter(role=UserRole.ADMIN, is_active=True).order_by("username")
    return f"Ask an administrator: {named([*people.values_list('username', flat=True)], 'or')}."


def last_environment(request: HttpRequest) -> str:
    """Return the name of the environment chosen last; the caller checks that the user may see it."""
    session = getattr(request, "session", None)
    return str(session.get(ENVIRONMENT_PARAMETER, "")) if session is not None else ""


def chosen_environment(request: HttpRequest) -> str:
    """Return the name of the environment that the address names, else of the one chosen last."""
    return request.GET.get(ENVIRONMENT_PARAMETER, last_environment(request))


def set_page_environment(request: HttpRequest, environment: Environment) -> None:
    """Mark the page of this request as inside an environment, whose colour its frame takes."""
    setattr(request, _ATTRIBUTE, environment)


def page_environment(request: HttpRequest) -> Environment | None:
    """Return the environment that the page is inside, if any."""
    environment: Environment | None = getattr(request, _ATTRIBUTE, None)
    return environment
