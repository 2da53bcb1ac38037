"""Pages of trusts: a new one, a change, the test of a sample token, and the job that uses a trust.

The job of GitHub or GitLab signs in and reads a secret, in the form of docs/tokens.md.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit_app.events.actions import Action
from environments_app import acts
from environments_app.authentication.drf import principal_of
from environments_app.authorization.act import Act
from environments_app.authorization.policy import Principal, allows, require
from environments_app.environments.service import find_environment
from environments_app.errors import Conflict, InvalidField, KeysUnavailable
from environments_app.forms.trust import TrialForm, TrustForm
from environments_app.models import Environment, Trust
from environments_app.models.trust import TrustRole
from environments_app.trusts import service
from environments_app.trusts.definition import patterns_of, preset_of
from environments_app.trusts.presets import PRESETS
from environments_app.trusts.sign_in import try_token
from environments_app.trusts.upkeep import trust_status
from environments_app.views.base import act_page, attempt, render_page
from environments_app.views.program_releases import release_panel


def workflow_of(trust: Trust, *, server: str, secret: str = "") -> str:
    """Return a job of the trust's platform that reads a secret; empty for other platforms and for viewers.

    Without the name of a `secret` it holds NAME, under the trust's path. No value is in it.
    """
    write = _WRITERS.get(trust.preset, _shell) if trust.role != TrustRole.VIEWER else None
    prefix = f"{trust.prefix}/" if trust.prefix else ""
    return write(trust, server, secret or f"{prefix}NAME") if write else ""


def _shell(trust: Trust, server: str, secret: str) -> str:
    """Return the lines for a platform whose token a command or a variable holds."""
    fetch = preset_of(trust).fetch
    if not fetch:
        return ""
    return f"""export KEEPER={quote(server, safe=":/[]")}
jwt={fetch.format(audience=shlex.quote(trust.audience))}
token=$(jq -n --arg jwt "$jwt" '{{trust: "{trust.name}", jwt: $jwt}}' |
  curl -sSf -H 'Content-Type: application/json' -d @- "$KEEPER/api/auth/jwt" | jq -r .token)
password=$(curl -sSf -H "Authorization: Bearer $token" \\
  "$KEEPER/api/environments/{trust.environment.name}/secrets/{secret}" | jq -r .value)
DB_PASSWORD="$password" ./deploy
"""


def _github(trust: Trust, server: str, secret: str) -> str:
    audience = "$KEEPER" if trust.audience == server else quote(trust.audience, safe=":/")
    return f"""permissions:
  id-token: write
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - name: Read a secret
        env:
          KEEPER: {server}
        run: |
          jwt=$(curl -sSf -H "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \\
            "$ACTIONS_ID_TOKEN_REQUEST_URL&audience={audience}" | jq -r .value)
          token=$(jq -n --arg jwt "$jwt" '{{trust: "{trust.name}", jwt: $jwt}}' |
            curl -sSf -H 'Content-Type: application/json' -d @- "$KEEPER/api/auth/jwt" | jq -r .token)
          echo "::add-mask::$token"
          password=$(curl -sSf -H "Authorization: Bearer $token" \\
            "$KEEPER/api/environments/{trust.environment.name}/secrets/{secret}" | jq -r .value)
          echo "::add-mask::$password"
          DB_PASSWORD="$password" ./deploy
"""


def _gitlab(trust: Trust, server: str, secret: str) -> str:
    plain = trust.audience.startswith("https://") and trust.audience == quote(trust.audience, safe=":/")
    return f"""deploy:
  id_tokens:
    KEEPER_JWT:
      aud: {trust.audience if plain else json.dumps(trust.audience)}
  script:
    - export BAO_ADDR={server}/vault
    - export BAO_TOKEN=$(bao write -field=token auth/jwt/login role={trust.name} jwt=$KEEPER_JWT)
    - DB_PASSWORD=$(bao kv get -field=value {trust.environment.name}/{secret}) ./deploy
"""


_WRITERS: Final[Mapping[str, Callable[[Trust, str, str], str]]] = {"github": _github, "gitlab": _gitlab}


class TrustPanel:
    def panel(self, *, environment: Environment) -> Mapping[str, Any]:
        rows = Trust.objects.filter(environment=environment).order_by("name")
        return {
            "template": "environments_app/_trust_panel.html",
            "anchor": "trusts",
            "title": "Workload identity",
            "environment": environment,
            "rows": [{"trust": trust, "state": trust_status(trust)} for trust in rows],
            "presets": [(key, preset) for key, preset in PRESETS.items()],
        }


@sensitive_post_parameters("proof-password")
@require_http_methods(["GET", "POST"])
def trust_new(request: HttpRequest, name: str, preset: str) -> HttpResponse:
    """Show the form of a new trust, and create it."""
    actor = principal_of(request)
    environment = find_environment(actor=actor, name=name)
    require(actor=actor, action=Action.TRUST_CREATE, environment=environment)
    if preset not in PRESETS:
        raise Http404
    form = TrustForm(request.POST or None, preset=preset, initial=TrustForm.initial_of_preset(preset))
    if request.method == "POST" and form.is_valid():
        fields = {**form.cleaned_data, "preset": preset}
        trust = attempt(
            form,
            lambda: service.create(actor=principal_of(request), environment=environment, **fields),
            request=request,
        )
        if trust is not None:
            messages.success(request, "Trust created.")
            return redirect("trust-detail", name=name, id=trust.pk)
    context = {"environment": environment, "form": form, "preset": preset, "label": PRESETS[preset].label}
    refused = request.method == "POST"
    return render_page(request, "environments_app/trust_new.html", context, refused=refused)


@require_GET
def trust_detail(request: HttpRequest, name: str, id: int) -> HttpResponse:
    return _page(request, *_found(request, name, id))


@require_POST
def trust_change(request: HttpRequest, name: str, id: int) -> HttpResponse:
    actor, trust = _found(request, name, id)
    form = TrustForm(request.POST, preset=_preset_key(trust), initial=TrustForm.initial_of(trust))
    if form.is_valid():
        changes = form.changes()
        ended = attempt(form, lambda: service.ended_by(trust, changes))
        if ended is None:
            return _page(request, actor, trust, refused=True, change_form=form)
        if ended and request.POST.get("confirmed") != "yes":
            return _page(request, actor, trust, refused=True, change_form=form, ended=ended)
        if attempt(form, lambda: service.change(actor=actor, trust=trust, **changes)) is not None:
            messages.success(request, "Trust saved.")
            return redirect("trust-detail", name=name, id=id)
    return _page(request, actor, trust, refused=True, change_form=form)


@require_POST
def trust_toggle(request: HttpRequest, name: str, id: int) -> HttpResponse:
    """Disable or enable a trust."""
    actor, trust = _found(request, name, id)
    enabled = request.POST.get("enabled") == "yes"
    service.change(actor=actor, trust=trust, enabled=enabled)
    messages.success(request, "Trust enabled." if enabled else "Trust disabled. Its tokens no longer work.")
    return redirect("trust-detail", name=name, id=id)


@require_POST
def trust_test(request: HttpRequest, name: str, id: int) -> HttpResponse:
    """Show which rules a sample token meets; the page does not repeat the token."""
    actor, trust = _found(request, name, id)
    form = TrialForm(request.POST)
    if not form.is_valid():
        return _page(request, actor, trust, refused=True, trial_form=form)
    try:
        trial = try_token(actor=actor, trust=trust, jwt=form.cleaned_data["jwt"])
    except KeysUnavailable as error:
        return _page(request, actor, trust, trial_problem=str(error))
    return _page(request, actor, trust, trial=trial)


def _preset_key(trust: Trust) -> str:
    return trust.preset if trust.preset in PRESETS else "oidc"


def _found(request: HttpRequest, name: str, id: int) -> tuple[Principal, Trust]:
    actor = principal_of(request)
    environment = find_environment(actor=actor, name=name)
    return actor, service.find_trust(actor=actor, environment=environment, id=id)


def _page(
    request: HttpRequest, actor: Principal, trust: Trust, *, refused: bool = False, **shown: Any
) -> HttpResponse:
    environment = trust.environment
    may = {
        act: allows(actor, action, environment_id=environment.pk)
        for act, action in (
            ("change", Action.TRUST_CHANGE),
            ("delete", Action.TRUST_DELETE),
            ("test", Action.TRUST_TEST),
        )
    }
    pages = ("change", "toggle", "delete", "test")
    context = {
        **release_panel(actor, environment, programs=[trust.uuid], program=f"trust-{trust.pk}"),
        "environment": environment,
        "trust": trust,
        "state": trust_status(trust),
        "preset": preset_of(trust),
        "patterns": patterns_of(trust),
        "verified": trust.is_authentic(),
        "urls": {act: reverse(f"trust-{act}", args=[environment.name, trust.pk]) for act in pages},
        "may": may,
        "change_form": TrustForm(preset=_preset_key(trust), initial=TrustForm.initial_of(trust)),
        "trial_form": TrialForm(),
        "workflow": workflow_of(trust, server=request.build_absolute_uri("/").rstrip("/")),
        "sign_in_url": request.build_absolute_uri(reverse("api-workload-sign-in")),
    }
    return render_page(request, "environments_app/trust_detail.html", context | shown, refused=refused)


def _of_act(request: HttpRequest, *, name: str, id: int) -> Trust:
    return _found(request, name, id)[1]


def _page_of(act: Act) -> Callable[..., HttpResponse]:
    return act_page(
        act,
        _of_act,
        back=lambda trust: reverse("trust-detail", args=[trust.environment.name, trust.pk]),
        after=_environment_of if act.name == "delete" else None,
        refusals=(Conflict, InvalidField, KeysUnavailable),
    )


def _environment_of(trust: Trust) -> str:
    return reverse("environment-detail", args=[trust.environment.name])


ACT_PAGES: Final = {act.slug: _page_of(act) for act in acts.TRUSTS if act.on_page}
