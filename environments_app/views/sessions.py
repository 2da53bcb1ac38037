"""What the scripts of a page ask about its session, the end of a second tab, and sign-ins of clients."""

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit_app.errors import TooManyRefusals
from core.network.client_address import subscriber
from environments_app.authentication.drf import address_of, principal_of
from environments_app.errors import InvalidField, Invisible
from environments_app.forms.authentication import ProofForm
from environments_app.forms.personal_token import DeviceApprovalForm, DeviceCodeForm
from environments_app.models import DeviceSignIn, User
from environments_app.sessions.store import extend, remaining, watch
from environments_app.tokens import loopback
from environments_app.tokens.device import approve, deny, find_waiting
from environments_app.views.base import ask_proof, attempt


@login_not_required
@require_http_methods(["GET", "POST"])
def session_state(request: HttpRequest) -> HttpResponse:
    """Return whose session this browser has, when it ends and a fresh CSRF token; POST extends it.

    GET does not count as use of the session: a page that is left open must not keep it from ending.
    """
    if request.method == "GET":
        watch(request.session)
    user = request.user if isinstance(request.user, User) else None
    if request.method == "POST" and user is not None:
        extend(request.session)
    time_left = remaining(request.session) if user else None
    return JsonResponse(
        {
            "person": str(user.uuid) if user else "",
            "name": user.username if user else "",
            "ends_in": time_left.seconds if time_left else 0,
            "extendable": bool(time_left and time_left.extendable),
            "csrf": get_token(request),
        }
    )


@require_GET
def signed_in(request: HttpRequest) -> HttpResponse:
    """Report that the sign-in in a second tab is done: the first tab continues with it."""
    return render(request, "environments_app/signed_in.html")


@require_http_methods(["GET", "POST"])
def device(request: HttpRequest) -> HttpResponse:
    """Ask for the code of a client, then show which client it is. No address carries the code."""
    form = DeviceCodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        code = form.cleaned_data["code"]
        actor = principal_of(request)
        waiting = attempt(
            form, lambda: find_waiting(actor=actor, code=code), refusals=(Invisible, TooManyRefusals)
        )
        if waiting is not None:
            approval = DeviceApprovalForm(environments=_names(request))
            return _waiting(request, waiting, approval, ask_proof(request))
    return render(
        request, "environments_app/device.html", {"code_form": form}, status=422 if form.errors else 200
    )


@sensitive_post_parameters("proof-password")
@require_POST
def device_approve(request: HttpRequest) -> HttpResponse:
    """Give the client of a code a personal token of the user."""
    code = request.POST.get("code", "")
    form, proof = DeviceApprovalForm(request.POST, environments=_names(request)), ask_proof(request)
    actor = principal_of(request)
    try:
        waiting = find_waiting(actor=actor, code=code)
    except (Invisible, TooManyRefusals) as error:
        return _ended(request, error)
    if form.is_valid() and not (proof and proof.is_bound):
        token = attempt(form, lambda: approve(actor=actor, code=code, **form.arguments))
        if token is not None:
            messages.success(request, f"Approved. {token.name} is signed in as you.")
            return redirect(reverse("profile") + "#tokens")
    return _waiting(request, waiting, form, proof)


@require_POST
def device_deny(request: HttpRequest) -> HttpResponse:
    try:
        deny(actor=principal_of(request), code=request.POST.get("code", ""))
    except (Invisible, TooManyRefusals) as error:
        return _ended(request, error)
    messages.success(request, "Denied. The client gets nothing.")
    return redirect("device")


@require_GET
def loopback_page(request: HttpRequest) -> HttpResponse:
    """Show which program on this machine asks to be signed in. The address approves nothing."""
    try:
        program = loopback.parse_request(request.GET.dict())
    except InvalidField as error:
        return _not_asked(request, error)
    return _asked(request, program, DeviceApprovalForm(environments=_names(request)), ask_proof(request))


@sensitive_post_parameters("proof-password")
@require_POST
def loopback_answer(request: HttpRequest) -> HttpResponse:
    """Approve or deny a program, and lead the browser back to it."""
    try:
        program = loopback.parse_request(request.POST.dict())
    except InvalidField as error:
        return _not_asked(request, error)
    if "deny" in request.POST:
        return _led_back(request, loopback.denied_address(program), approved=False)
    form, proof = DeviceApprovalForm(request.POST, environments=_names(request)), ask_proof(request)
    if form.is_valid() and not (proof and proof.is_bound):
        actor = principal_of(request)
        address = attempt(form, lambda: loopback.approve(actor=actor, asked=program, **form.arguments))
        if address is not None:
            return _led_back(request, address, approved=True)
    return _asked(request, program, form, proof)


def _asked(
    request: HttpRequest,
    asked: loopback.LoopbackRequest,
    form: DeviceApprovalForm,
    proof: ProofForm | None,
) -> HttpResponse:
    context = {"asked": asked, "form": form, "proof": proof}
    refused = form.errors or (proof and proof.errors)
    return render(request, "environments_app/loopback.html", context, status=422 if refused else 200)


def _not_asked(request: HttpRequest, error: InvalidField) -> HttpResponse:
    return render(request, "environments_app/loopback.html", {"problem": error.reason}, status=400)


def _led_back(request: HttpRequest, address: str, *, approved: bool) -> HttpResponse:
    # The policy for forms lets none lead to another origin, so the page does it.
    context = {"address": address, "approved": approved}
    response = render(request, "environments_app/loopback.html", context)
    response["Refresh"] = f"0; url={address}"
    return response


def _ended(request: HttpRequest, error: Exception) -> HttpResponse:
    messages.error(request, str(error))
    return redirect("device")


def _waiting(
    request: HttpRequest, waiting: DeviceSignIn, form: DeviceApprovalForm, proof: ProofForm | None
) -> HttpResponse:
    own = subscriber(address_of(request))
    context = {"waiting": waiting, "form": form, "own_address": own, "proof": proof}
    refused = form.errors or (proof and proof.errors)
    return render(request, "environments_app/device.html", context, status=422 if refused else 200)


def _names(request: HttpRequest) -> list[str]:
    return sorted({grant.environment_name for grant in principal_of(request).grants})
