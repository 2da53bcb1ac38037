"""The page on which many chosen secrets are acted on: a preview of each, then a result of each."""

from typing import Any, Final

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from audit_app.parsing import whole_number
from environments_app.authentication.drf import principal_of
from environments_app.errors import ConfirmationNeeded
from environments_app.forms.authentication import confirm_link
from environments_app.models import Environment
from secrets_app.errors import InvalidInput, TooManyItems
from secrets_app.forms.transfer import EXPORT_FORMATS
from secrets_app.models import Secret
from secrets_app.queries.lookup import environments_where, visible_secrets
from secrets_app.services.bulk_actions import (
    BULK_ACTIONS,
    EXPORT,
    MAX_CHOSEN,
    BulkAction,
    Options,
    execute,
    preview,
)
from secrets_app.services.export_names import export_values
from secrets_app.services.read import reveal_environment
from secrets_app.values.names import validate_tags
from secrets_app.views.import_export import file_of

_MAX_ID: Final = 2**63 - 1


class OptionsForm(forms.Form):
    """What the chosen act needs besides the secrets."""

    tags = forms.CharField(required=False, help_text="Comma-separated.")
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        label="To",
        to_field_name="name",
        required=False,
        empty_label="Choose an environment",
    )
    format = forms.ChoiceField(choices=EXPORT_FORMATS, required=False)

    def __init__(self, data: Any, *, needs: str, places: Any) -> None:
        super().__init__(data)
        self.fields["environment"].queryset = places  # type: ignore[attr-defined]  # a ModelChoiceField
        for name in [name for name in self.fields if name != needs]:
            del self.fields[name]
        for field in self.fields.values():
            field.required = True

    def clean_tags(self) -> list[str]:
        """Check the tags by the rules for tags."""
        try:
            return validate_tags([tag.strip() for tag in self.cleaned_data["tags"].split(",") if tag.strip()])
        except InvalidInput as error:
            raise forms.ValidationError(error.reason) from error

    @property
    def options(self) -> Options:
        """The options that were given."""
        given = getattr(self, "cleaned_data", {})
        return Options(tags=given.get("tags", ()), environment=given.get("environment"))


@login_required
@require_POST
def secret_bulk(request: HttpRequest) -> HttpResponse:
    """Preview an act on the chosen secrets or, once that was seen, carry it out."""
    actor = principal_of(request)
    name, step = request.POST.get("act", ""), request.POST.get("step", "")
    act = BULK_ACTIONS.get(name)
    if act is None and name != EXPORT:
        raise InvalidInput("act", "Choose an action.")
    seen = _seen(request)
    secrets = _chosen(request, seen, deleted=bool(act and act.on_deleted))
    form = OptionsForm(
        request.POST if step else None,
        needs="format" if act is None else act.needs,
        places=environments_where(actor, Action.SECRET_CREATE),
    )
    context: dict[str, Any] = {
        "act": act or {"name": EXPORT, "verb": "Export", "destructive": False},
        "form": form,
        "secrets": secrets,
        "most": MAX_CHOSEN,
        "list_url": reverse("secret-list"),
        "typed": _typed_name(act, secrets),
    }
    try:
        if act is None:
            return _exported(request, form, secrets, context)
        is_confirmed = context["typed"] in {"", request.POST.get("typed")}
        if step == "apply" and form.is_valid() and is_confirmed:
            results = execute(actor=actor, act=act, secrets=secrets, seen=seen, options=form.options)
            context |= {"results": results, "done": sum(result.done for result in results)}
        else:
            ready = form.is_valid() if step else not act.needs
            context |= _preview(request, act, secrets, form) | {"ready": ready}
        context["destination"] = form.options.environment
    except (TooManyItems, ConfirmationNeeded) as error:
        told = confirm_link() if isinstance(error, ConfirmationNeeded) else str(error)
        form.add_error(None, told) if form.is_bound else context.update({"refused": told})
    status = 422 if form.errors else 200
    return render(request, "secrets_app/bulk.html", context, status=status)


def _seen(request: HttpRequest) -> dict[int, str]:
    """Return the chosen secrets' ids with the ETags in which they were seen."""
    seen = {}
    for pick in request.POST.getlist("pick"):
        text, _, etag = pick.partition(":")
        pk = whole_number(text, largest=_MAX_ID)
        if pk is not None:
            seen[pk] = etag
    return seen


def _chosen(request: HttpRequest, seen: dict[int, str], *, deleted: bool) -> list[Secret]:
    if len(seen) > MAX_CHOSEN:
        raise TooManyItems(f"Select up to {MAX_CHOSEN} secrets at a time. Nothing was changed.")
    rows = visible_secrets(principal_of(request), deleted=deleted).filter(pk__in=seen)
    return verified_rows(rows.order_by("name", "id"))


def _preview(
    request: HttpRequest, act: BulkAction, secrets: list[Secret], form: OptionsForm
) -> dict[str, Any]:
    chosen = preview(actor=principal_of(request), act=act, secrets=secrets, options=form.options)
    return {"chosen": chosen, "count": sum(not each.reason for each in chosen)}


def _typed_name(act: BulkAction | None, secrets: list[Secret]) -> str:
    """Return the names of protected environments, which a destructive act asks to be typed."""
    if act is None or not act.destructive:
        return ""
    names = {secret.environment.name for secret in secrets if secret.environment.protected}
    return " ".join(sorted(names))


def _exported(
    request: HttpRequest, form: OptionsForm, secrets: list[Secret], context: dict[str, Any]
) -> HttpResponse:
    places = {secret.environment_id: secret.environment for secret in secrets}
    chosen = [{"secret": secret, "reason": ""} for secret in secrets]
    context |= {"chosen": chosen, "count": len(secrets), "ready": True}
    if len(places) != 1:
        context["refused"] = "Select secrets from one environment to export them as a file."
        context["count"] = 0
    elif request.POST.get("step") == "apply" and form.is_valid():
        (environment,) = places.values()
        kind = form.cleaned_data["format"]
        try:
            exported = reveal_environment(
                actor=principal_of(request),
                environment=environment,
                names={secret.name for secret in secrets},
            )
            values = export_values(exported, format=kind)
        except InvalidInput as error:
            form.add_error("format", error.reason)
        else:
            return file_of(values, format=kind, name=environment.name)
    status = 422 if form.errors else 200
    return render(request, "secrets_app/bulk.html", context, status=status)
