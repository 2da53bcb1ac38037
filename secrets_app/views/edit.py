"""The pages on which secrets are written: new, edit, roll back, and the generator beside the form."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from audit_app.events.actions import Action
from environments_app.approvals.gate import needs_second_person
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows
from environments_app.models import Environment
from environments_app.views.base import chosen_environment, is_partial, render_page, show_refusal
from secrets_app.errors import InvalidInput, ManagedValue, NameTaken, StaleVersion
from secrets_app.forms.secret import SecretForm
from secrets_app.importing.plan import guess_type
from secrets_app.interfaces import panels_of
from secrets_app.models import Secret
from secrets_app.queries.lookup import environments_where, find_secret
from secrets_app.services import write
from secrets_app.services.read import reveal
from secrets_app.types.generators.registry import GENERATORS, generate, options_from_form
from secrets_app.types.registry import SecretType, inspect, parse_secret_type
from secrets_app.views.secrets import show_deleted

_GUARDED: Final = "Changes to {} need approval."
_COMPARED: Final = ("secret_type", "description", "tags", "owner", "expires_at")


@require_http_methods(["GET", "POST"])
def secret_new(request: HttpRequest) -> HttpResponse:
    actor = principal_of(request)
    environments = environments_where(actor, Action.SECRET_CREATE)
    if request.method == "GET" and not environments:
        return render(request, "secrets_app/secret_form.html", {"nowhere": True})
    initial = {
        "environment": chosen_environment(request),
        "name": request.GET.get("name", ""),
        "secret_type": SecretType.PASSWORD,
    }
    decoys = environments_where(actor, Action.SECRET_DECOY_SET).exists()
    form = SecretForm(_typed(request), environments=environments, initial=initial, decoys=decoys)
    secret = None
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            secret = write.create(
                actor=actor,
                environment=data["environment"],
                name=data["name"],
                secret_type=SecretType(data["secret_type"]),
                value=data["value"],
                comment=data["comment"],
                decoy=data.get("decoy", False),
                **form.metadata,
            )
        except InvalidInput as error:
            show_refusal(form, error)
        except NameTaken as error:
            form.add_error("name", str(error))
    if "row" in request.POST and is_partial(request):
        return _added(request, form, secret)
    if secret:
        messages.success(request, f"Created {secret.name}.")
        _warn_of_past_expiry(request, form, secret)
        if "row" in request.POST:
            return redirect(f"{reverse('secret-list')}?{urlencode({'environment': secret.environment.name})}")
        return redirect("secret-detail", id=secret.pk)
    guarded = [place.name for place in environments if needs_second_person(actor, place)]
    return _form(request, form, secret=None, guarded=guarded)


def _typed(request: HttpRequest) -> QueryDict | None:
    """Return what the form of a new secret sends, with the type that fits its value where it names none."""
    if request.method != "POST":
        return None
    data = request.POST.copy()
    if not data.get("secret_type"):
        data["secret_type"] = str(
            guess_type(data.get("name", ""), data.get("value", "").replace("\r\n", "\n"))
        )
    return data


def _added(request: HttpRequest, form: SecretForm, secret: Secret | None) -> HttpResponse:
    """Return the outcome of the row above the list, which stays on its page; no value is in it."""
    response = render(request, "secrets_app/_added.html", {"form": form, "secret": secret})
    if secret:
        response.headers["HX-Trigger"] = "secret-added"
    return response


@require_http_methods(["GET", "POST"])
def secret_edit(request: HttpRequest, id: int) -> HttpResponse:
    """Change a secret; after a concurrent change the input is kept."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id, deleted=None if request.method == "GET" else False)
    if not secret.live:
        return show_deleted(request, secret)
    if request.method == "POST" and "fill_in" in request.POST:
        return _filled_in(request, secret)
    form = _form_of(secret, request.POST or None)
    conflict = None
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            write.update(
                actor=actor,
                secret=secret,
                value=data["value"] or None,
                secret_type=SecretType(data["secret_type"]),
                expected=data["expected"] or None,
                comment=data["comment"],
                **form.metadata,
            )
        except InvalidInput as error:
            show_refusal(form, error)
        except ManagedValue as error:
            form.add_error("value", str(error))
        except StaleVersion:
            secret = find_secret(actor=actor, id=id)
            conflict = _conflict(form, secret)
            # Saving again is then a decision made in the knowledge of the newer version.
            form.data = {**request.POST.dict(), "expected": secret.etag}
        else:
            messages.success(request, f"Saved {secret.name}.")
            _warn_of_past_expiry(request, form, secret)
            return redirect("secret-detail", id=secret.pk)
    return _form(request, form, secret=secret, conflict=conflict)


@require_POST
def secret_generate(request: HttpRequest) -> HttpResponse:
    """Return a generated value for the form; nothing is stored."""
    kind = request.POST.get("kind", "")
    generated = generate(kind, options_from_form(kind, request.POST))
    context = {
        "kind": kind,
        "value": generated.value,
        "public": generated.public,
        "secret_type": generated.secret_type,
    }
    return render_page(request, "secrets_app/generated.html", context, partial="secrets_app/_generated.html")


@sensitive_post_parameters()
@require_POST
def secret_check(request: HttpRequest) -> HttpResponse:
    """Return whether a value is one of its type; nothing is stored."""
    value = request.POST.get("value", "").replace("\r\n", "\n")
    checked, problem = "", ""
    try:
        secret_type = parse_secret_type(request.POST.get("secret_type", ""))
        inspect(secret_type, value)
        checked = f"Valid {secret_type.label}"
    except InvalidInput as error:
        problem = error.reason
    return render(request, "secrets_app/_checked.html", {"checked": checked, "problem": problem})


def _warn_of_past_expiry(request: HttpRequest, form: SecretForm, secret: Secret) -> None:
    entered = "expires_at" in form.changed_data
    if entered and secret.expires_at and secret.expires_at <= timezone.now():
        messages.warning(
            request, f"The expiry date of {secret.name} is in the past. It is marked as expired."
        )


def _filled_in(request: HttpRequest, secret: Secret) -> HttpResponse:
    """Return the form as it was filled in so far, with the value that is served; reading it is recorded."""
    value = request.POST.get("value", "")
    if value:
        messages.warning(request, "Clear the value field first.")
    else:
        value = reveal(actor=principal_of(request), secret=secret).value
        if "\r" in value:
            messages.warning(
                request, "This value uses Windows line endings (CR LF). Saving it here changes them to LF."
            )
    # A box that is not ticked is not sent.
    form = _form_of(secret, initial={"uses_references": "", **request.POST.dict(), "value": value})
    unsaved = _form_of(secret, request.POST).has_changed()
    return _form(request, form, secret=secret, unsaved=unsaved)


def _form_of(secret: Secret, data: Any = None, initial: Mapping[str, Any] | None = None) -> SecretForm:
    return SecretForm(
        data,
        environments=Environment.objects.filter(pk=secret.environment_id),
        secret=secret,
        initial=SecretForm.initial_of(secret) | dict(initial or {}),
    )


def _conflict(form: SecretForm, secret: Secret) -> dict[str, Any]:
    """Return the concurrent changes since the form was opened, beside the input."""
    _, _, state = form.data.get("expected", "").partition("-")
    theirs = SecretForm.initial_of(secret)
    fields = []
    for name in _COMPARED:
        stored = form.fields[name].widget.format_value(theirs[name]) or ""
        stored = stored[0] if isinstance(stored, list) else stored
        entered = str(form.data.get(name, "")).replace("\r\n", "\n")
        if stored != entered:
            fields.append({"label": form[name].label, "theirs": stored, "mine": entered})
    is_new_value = state.partition("-")[0] != str(secret.current_number)
    current = secret.versions.filter(number=secret.current_number).defer("value").first()
    return {
        "version": secret.current_number,
        "at": secret.updated_at,
        "url": reverse("secret-detail", args=[secret.pk]),
        "fields": fields,
        "is_new_value": is_new_value,
        "author": current.author if current and is_new_value else "",
    }


def _form(
    request: HttpRequest,
    form: SecretForm,
    *,
    secret: Secret | None,
    conflict: dict[str, Any] | None = None,
    guarded: Sequence[str] = (),
    unsaved: bool = False,
) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form,
        "secret": secret,
        "environment": secret.environment if secret else form.place,
        "generators": list(GENERATORS.values()),
        "conflict": conflict,
        "to_know": [],
        # Of a new secret: the environments whose changes need approval.
        "guarded": [(name, _GUARDED.format(name)) for name in guarded],
        "label": "Save" if secret else "Create secret",
        "unsaved": unsaved,
    }
    if secret:
        actor = principal_of(request)
        panels = panels_of(actor=actor, secret=secret)
        context["to_know"] += [panel["on_editing"] for panel in panels if "on_editing" in panel]
        if needs_second_person(actor, secret.environment):
            context["to_know"].append(_GUARDED.format(secret.environment.name))
            context["label"] = "Request approval"
        context["may_fill_in"] = not secret.guarded and allows(
            actor, Action.SECRET_REVEAL, environment_id=secret.environment_id, name=secret.name
        )
    refused = bool(form.errors) or conflict is not None
    return render_page(request, "secrets_app/secret_form.html", context, refused=refused)
