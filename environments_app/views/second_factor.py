"""The pages of the user's second factor: set-up with a QR code, recovery codes, passkeys, removal."""

from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from environments_app.authentication import passkeys, second_factor
from environments_app.authentication.drf import principal_of
from environments_app.errors import ConfirmationNeeded, Conflict, InvalidField
from environments_app.views.base import confirm_first
from environments_app.views.profile import own_account

View = Callable[[HttpRequest], HttpResponse]
_MODULE_PIXELS = 5


def _own_page(view: View) -> View:
    """Ask for a fresh sign-in if one is needed, and show what prevents it."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except ConfirmationNeeded:
            return confirm_first(request, back=reverse("second-factor"))
        except Conflict as error:
            messages.error(request, str(error))
            return redirect("second-factor")

    return answer


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    user = own_account(request)
    context = {
        "is_local": user.has_usable_password(),
        "is_set_up": user.second_factor is not None,
        "codes_left": second_factor.recovery_codes_left(user),
        "passkeys": passkeys.passkeys_of(user),
        "takes_passkeys": passkeys.relying_party(request) is not None,
        "is_required": settings.KEEPER_REQUIRE_ADMIN_MFA and user.is_staff,
    }
    return render(request, "environments_app/second_factor.html", context)


@require_POST
@_own_page
def start(request: HttpRequest) -> HttpResponse:
    """Make a seed and show it, as a QR code and as text."""
    return _setting_up(request, second_factor.begin(actor=principal_of(request), user=own_account(request)))


@sensitive_post_parameters("code")
@require_POST
@_own_page
def enrol(request: HttpRequest) -> HttpResponse:
    """Take the first code; from now on one is asked for at each sign-in."""
    actor, user = principal_of(request), own_account(request)
    try:
        codes = second_factor.enrol(actor=actor, user=user, code=request.POST.get("code", ""))
    except InvalidField as error:
        enrolment = second_factor.pending(actor=actor, user=user)
        if enrolment is None:
            raise Conflict("Setup has expired. Start again.") from error
        return _setting_up(request, enrolment, error=error.reason)
    _go_on(request)
    messages.success(request, "Two-factor authentication is on. You were signed out everywhere else.")
    return _codes(request, codes)


@require_POST
@_own_page
def new_codes(request: HttpRequest) -> HttpResponse:
    return _codes(
        request, second_factor.renew_recovery_codes(actor=principal_of(request), user=own_account(request))
    )


@require_POST
@_own_page
def remove(request: HttpRequest) -> HttpResponse:
    """Let the password alone suffice again, where it may."""
    user = own_account(request)
    if settings.KEEPER_REQUIRE_ADMIN_MFA and user.is_staff:
        raise Conflict("Administrators and auditors must use two-factor authentication.")
    second_factor.remove(actor=principal_of(request), user=user)
    _go_on(request)
    messages.success(request, "Two-factor authentication is off. You were signed out everywhere else.")
    return redirect("second-factor")


@require_POST
@_own_page
def passkey_start(request: HttpRequest) -> HttpResponse:
    return _adding_passkey(request)


@sensitive_post_parameters("passkey")
@require_POST
@_own_page
def passkey_register(request: HttpRequest) -> HttpResponse:
    try:
        passkey = passkeys.register(
            actor=principal_of(request),
            user=own_account(request),
            name=request.POST.get("name", ""),
            credential=request.POST.get("passkey", ""),
            challenge=passkeys.take_challenge(request),
            party=_party(request),
        )
    except InvalidField as error:
        return _adding_passkey(request, error=error.reason)
    messages.success(request, f"Passkey “{passkey.name}” added.")
    return redirect("second-factor")


@require_POST
@_own_page
def passkey_remove(request: HttpRequest) -> HttpResponse:
    uuid = request.POST.get("passkey", "")
    passkeys.remove_passkey(actor=principal_of(request), user=own_account(request), uuid=uuid)
    messages.success(request, "Passkey removed.")
    return redirect("second-factor")


def _party(request: HttpRequest) -> passkeys.RelyingParty:
    party = passkeys.relying_party(request)
    if party is None:
        raise Conflict("Passkeys work only at Keeper's own host name, not at an IP address.")
    return party


def _adding_passkey(request: HttpRequest, *, error: str = "") -> HttpResponse:
    ceremony = passkeys.begin_registration(
        actor=principal_of(request), user=own_account(request), party=_party(request)
    )
    passkeys.keep_challenge(request, ceremony)
    context = {"options": ceremony.options, "name": request.POST.get("name", ""), "error": error}
    return render(request, "environments_app/passkey_add.html", context, status=422 if error else 200)


def _go_on(request: HttpRequest) -> None:
    """Let the session continue under a new id, where all others of the person have ended."""
    update_session_auth_hash(request, own_account(request))


def _setting_up(request: HttpRequest, enrolment: second_factor.Enrolment, *, error: str = "") -> HttpResponse:
    import segno  # noqa: PLC0415 - some MB in each process, for a page that few open

    secret = " ".join(enrolment.secret[start : start + 4] for start in range(0, len(enrolment.secret), 4))
    # An SVG with attributes alone, as the pages' policy demands; the library makes it of numbers.
    code = segno.make(enrolment.uri, error="m", micro=False).svg_inline(
        scale=_MODULE_PIXELS, dark="#000", light="#fff", svgclass="qr", lineclass=None
    )
    context = {"qr": SafeString(code), "secret": secret, "error": error}
    return render(request, "environments_app/second_factor_start.html", context, status=422 if error else 200)


def _codes(request: HttpRequest, codes: list[str]) -> HttpResponse:
    return render(request, "environments_app/recovery_codes.html", {"codes": codes})
