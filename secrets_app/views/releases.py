"""The pages of released programs: the request for a release, and the end of one."""

from typing import Any, Final

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from audit_app.events.actions import Action
from environments_app.approvals.program_releases import end_release, find_program_release
from environments_app.authorization.policy import require
from environments_app.errors import Conflict, InvalidField
from environments_app.forms.fields import expiry_field
from environments_app.models import Environment, ServiceToken, Trust
from environments_app.names import MAX_PREFIX
from environments_app.views.base import attempt, enter_environment, render_page, run_act
from secrets_app.errors import InvalidInput, StaleVersion
from secrets_app.services.guarded import MAX_REASON, MIN_REASON
from secrets_app.services.releases import called, release_by_name

_PROGRAMS: Final = 500
_REFUSALS: Final = (Conflict, InvalidField, InvalidInput, StaleVersion)


class ReleaseForm(forms.Form):
    """A program, what it reads, and why; `programs` are the choices, as KIND-ID."""

    program = forms.ChoiceField()
    reads = forms.ChoiceField(
        choices=[("secret", "One guarded secret"), ("path", "Each guarded secret under a path")],
        initial="secret",
    )
    path = forms.CharField(
        label="Secret or path",
        max_length=MAX_PREFIX,
        help_text="The name of the secret, or the path. Under a path, later secrets count too.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    expires_at = expiry_field("Leave blank: until it is ended.")
    reason = forms.CharField(
        min_length=MIN_REASON,
        max_length=MAX_REASON,
        help_text="Why the program needs it. Who agrees reads it.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, programs: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["program"].choices = programs  # type: ignore[attr-defined]  # of a ChoiceField

    def field_of(self, name: str) -> str | None:
        """Return the field that an error about an argument is shown at."""
        names = {"token": "program", "trust": "program", "secret": "path", "prefix": "path"}
        field = names.get(name, name)
        return field if field in self.fields else None

    @property
    def arguments(self) -> dict[str, Any]:
        """What the use case takes."""
        given = self.cleaned_data
        kind, _, pk = given["program"].partition("-")
        return {
            kind: int(pk),
            given["reads"]: given["path"].removesuffix("/"),
            "reason": given["reason"],
            "expires_at": given["expires_at"],
        }


@require_http_methods(["GET", "POST"])
def release_new(request: HttpRequest, name: str) -> HttpResponse:
    """Show the form, and ask for the release; `program`, `reads` and `path` of the address are filled in."""
    actor, environment = enter_environment(request, name)
    require(actor=actor, action=Action.TOKEN_VIEW, environment=environment)
    require(actor=actor, action=Action.SECRET_RELEASE, environment=environment)
    initial = {field: request.GET[field] for field in ("program", "reads", "path") if field in request.GET}
    form = ReleaseForm(request.POST or None, programs=_programs(environment), initial=initial)
    if request.method == "POST" and form.is_valid():
        done = attempt(
            form,
            lambda: release_by_name(actor=actor, environment=environment, **form.arguments),
            refusals=_REFUSALS,
        )
        if done is not None:
            return redirect("environment-detail", name=name)
    context = {"environment": environment, "form": form}
    return render_page(request, "secrets_app/release_new.html", context, refused=form.is_bound)


@require_POST
def release_end(request: HttpRequest, name: str, id: int) -> HttpResponse:
    """End a release at once, and go back to the page that showed it."""
    actor, environment = enter_environment(request, name)
    release = find_program_release(actor=actor, environment=environment, id=id)
    back = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        back = reverse("environment-detail", args=[name])
    return run_act(
        request,
        lambda: end_release(actor=actor, release=release),
        f"Release of {release} ended.",
        back=back,
    )


def _programs(environment: Environment) -> list[tuple[str, str]]:
    """Return the tokens and trusts that may be released, by name: their keys and what they are called."""
    tokens = ServiceToken.objects.filter(
        environment=environment, revoked_at=None, trust_uuid=None, parent_uuid=None, decoy=None
    )
    found = [
        (f"{kind}-{row.pk}", f"{row.name} ({called(row)}{', ' + row.prefix + '/' if row.prefix else ''})")
        for kind, rows in (
            ("token", tokens.order_by("name", "-pk")[:_PROGRAMS]),
            ("trust", Trust.objects.filter(environment=environment).order_by("name")[:_PROGRAMS]),
        )
        for row in rows
    ]
    return [("", "Choose a program"), *found]
