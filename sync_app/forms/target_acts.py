"""The forms of targets in the admin, cleaned to the arguments of use cases; credentials are write-only."""

from collections.abc import Callable
from typing import Any

from django import forms

from environments_app.admin.forms import write_only
from environments_app.models import Environment
from sync_app.backends.registry import BACKENDS
from sync_app.forms.target import CredentialsForm, RulesForm, TargetForm
from sync_app.models import Target


def new_target_form(backend: str) -> Callable[..., forms.Form]:
    """Return the form of a new target of one kind of system."""

    def make(*args: Any, **kwargs: Any) -> forms.Form:
        environments = Environment.objects.order_by("position", "name")
        form = NewTargetForm(*args, backend=BACKENDS[backend], environments=environments, **kwargs)
        form.backend = backend
        return form

    return make


def credentials_form(target: Target) -> Callable[..., forms.Form]:
    return lambda *args, **kwargs: NewCredentialsForm(*args, target=target, **kwargs)


def rules_form(target: Target) -> Callable[..., forms.Form]:
    """Return the form of a target's rules, begun with those that it has."""

    def make(*args: Any, **kwargs: Any) -> forms.Form:
        return ChangedRulesForm(*args, target=target, initial=RulesForm.initial_of(target), **kwargs)

    return make


class NewTargetForm(TargetForm):
    backend: str
    field_order = ("environment", "name", "scope")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        write_only(self.credential_fields())

    def clean(self) -> dict[str, Any]:
        super().clean()
        if self.errors:
            return self.cleaned_data
        given = {name: self.cleaned_data[name] for name in ("environment", "name", "scope")}
        sealed = {"destination": self.destination, "credentials": self.credentials}
        return given | self.rules | sealed | {"backend": self.backend}


class NewCredentialsForm(CredentialsForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        write_only(self.credential_fields())

    def clean(self) -> dict[str, Any]:
        super().clean()
        if self.errors:
            return self.cleaned_data
        return {"credentials": self.credentials, "destination": self.changed_destination}


class ChangedRulesForm(RulesForm):
    def clean(self) -> dict[str, Any]:
        super().clean()
        if self.errors:
            return self.cleaned_data
        return {**self.rules, "destination": self.backend_rules}
