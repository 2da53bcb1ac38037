"""Forms of the rotation pages, with the settings of generated values; the rules are in the use cases.

There is one field for the kind of value, and one for each of its options.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from django import forms

from secrets_app.types.generators.options import Option, OptionValue
from secrets_app.types.generators.registry import GENERATORS
from sync_app.domain.cadence import MAX_SECONDS
from sync_app.forms.target import input_of
from sync_app.models import RotationPolicy
from sync_app.rotation.policies.rules import CHANGEABLE
from sync_app.rotators.base import Rotator
from sync_app.rotators.generated.rotator import GeneratedValue
from sync_app.rotators.registry import GENERATED, ROTATORS

_OPTION: Final = "option-"
_SEPARATOR: Final = ", "


def add_fields(fields: dict[str, forms.Field], *, prefix: str) -> None:
    """Add the fields in place of those that the rotator declares; `prefix` is that of its settings."""
    fields[f"{prefix}kind"] = forms.ChoiceField(
        label="Type of value", choices=[(name, each.label) for name, each in GENERATORS.items()]
    )
    for kind, generator in GENERATORS.items():
        for option in generator.options:
            field = _field_of(option)
            field.widget.attrs["data-shown-when"] = f"{prefix}kind={kind}"
            fields[_name(prefix, kind, option)] = field


def settings_of(cleaned: Mapping[str, Any], *, prefix: str) -> dict[str, str]:
    """Return the rotator's settings; `options` has what differs from a generator's defaults."""
    kind = str(cleaned[f"{prefix}kind"])
    given = {
        option.name: _value_of(option, cleaned.get(_name(prefix, kind, option)))
        for option in GENERATORS[kind].options
    }
    defaults = {option.name: option.default for option in GENERATORS[kind].options}
    changed = {name: value for name, value in given.items() if value != defaults[name]}
    return {"kind": kind, "options": json.dumps(changed, sort_keys=True)}


def generator_initial(settings: Mapping[str, str], *, prefix: str) -> dict[str, Any]:
    """Return what the fields begin with, from a rotator's settings."""
    kind = settings.get("kind", "password")
    options = json.loads(settings.get("options") or "{}")
    begin: dict[str, Any] = {f"{prefix}kind": kind}
    for option in GENERATORS[kind].options:
        if option.name in options:
            begin[_name(prefix, kind, option)] = _shown(options[option.name])
    return begin


def _name(prefix: str, kind: str, option: Option) -> str:
    return f"{prefix}{_OPTION}{kind}-{option.name}"


def _field_of(option: Option) -> forms.Field:
    shared: dict[str, Any] = {
        "label": option.label,
        "help_text": option.help,
        "initial": _shown(option.default),
        "required": False,
    }
    if option.kind == "boolean":
        return forms.BooleanField(**shared)
    if option.kind == "choice":
        choices = [(choice, "space" if choice == " " else choice) for choice in option.choices]
        return forms.ChoiceField(choices=choices, **shared)
    if option.kind == "integer":
        return forms.IntegerField(min_value=option.minimum, max_value=option.maximum, **shared)
    attrs = {"autocomplete": "off", "spellcheck": "false"}
    return forms.CharField(strip=option.kind == "list", widget=forms.TextInput(attrs), **shared)


def _value_of(option: Option, value: Any) -> OptionValue:
    """Return what a field holds as the option takes it; an empty one is the default."""
    if option.kind == "boolean":
        return bool(value)
    if option.kind == "list":
        return [part.strip() for part in str(value or "").split(",") if part.strip()]
    return option.default if value in (None, "") else value


def _shown(value: OptionValue) -> Any:
    return _SEPARATOR.join(value) if isinstance(value, list) else value


_SETTING: Final = "setting-"
_CREDENTIAL: Final = "credential-"
_DAY: Final = 86_400


class CadenceForm(forms.Form):
    """How often a secret is rotated, and how long the previous value works."""

    interval_seconds = forms.TypedChoiceField(
        label="Rotate",
        coerce=int,
        choices=[
            (0, "manually, or on a cron schedule"),
            (_DAY, "every day"),
            (7 * _DAY, "every week"),
            (30 * _DAY, "every 30 days"),
            (90 * _DAY, "every 90 days"),
            (365 * _DAY, "every year"),
        ],
        initial=30 * _DAY,
    )
    cron = forms.CharField(
        label="Cron schedule",
        required=False,
        max_length=100,
        help_text="Five fields, for example 0 3 * * sun.",
    )
    window = forms.CharField(
        label="Maintenance window",
        required=False,
        max_length=64,
        help_text="For example, mon-fri 01:00-05:00. Leave blank for any time.",
    )
    time_zone = forms.CharField(
        label="Time zone",
        max_length=64,
        initial="UTC",
        help_text="For the cron schedule and maintenance window.",
    )
    grace_seconds = forms.TypedChoiceField(
        label="Overlap",
        coerce=int,
        choices=[
            (0, "none"),
            (3600, "an hour"),
            (_DAY, "a day"),
            (7 * _DAY, "a week"),
            (30 * _DAY, "30 days"),
        ],
        initial=_DAY,
        help_text="The previous value keeps working for this long.",
    )
    waits_for_consumers = forms.BooleanField(
        label="Wait for all consumers to confirm before retiring", required=False
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("interval_seconds", "grace_seconds"):
            # Offer a time that the API set and that is not among the choices.
            seconds, field = self.initial.get(name), self.fields[name]
            if seconds is not None and seconds <= MAX_SECONDS and seconds not in dict(field.choices):  # type: ignore[attr-defined]  # a ChoiceField
                field.choices = [*field.choices, (seconds, f"{seconds} seconds")]  # type: ignore[attr-defined]  # a ChoiceField

    @property
    def rules(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in CHANGEABLE}

    def rule_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in CHANGEABLE]

    @staticmethod
    def initial_of(policy: RotationPolicy) -> dict[str, Any]:
        return {name: getattr(policy, name) for name in CHANGEABLE}


class ConnectionForm(forms.Form):
    """A rotator's settings and its administrator's credential, which is never shown again."""

    def __init__(self, *args: Any, rotator: type[Rotator], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._generates = issubclass(rotator, GeneratedValue)
        if self._generates:
            add_fields(self.fields, prefix=_SETTING)
        else:
            for field in rotator.settings_fields:
                self.fields[_SETTING + field.name] = input_of(field)
        for field in rotator.admin_fields:
            self.fields[_CREDENTIAL + field.name] = input_of(field)

    @property
    def settings(self) -> dict[str, str]:
        if self._generates:
            return settings_of(self.cleaned_data, prefix=_SETTING)
        return self._named(_SETTING)

    @property
    def credentials(self) -> dict[str, str]:
        return self._named(_CREDENTIAL)

    def setting_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(_SETTING)]

    def credential_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(_CREDENTIAL)]

    def field_of(self, name: str) -> str | None:
        """Return the form's name of a field that a use case refuses, if there is one."""
        kind = self.cleaned_data.get(f"{_SETTING}kind", "")
        candidates = (name, _SETTING + name, _CREDENTIAL + name, f"{_SETTING}option-{kind}-{name}")
        return next((candidate for candidate in candidates if candidate in self.fields), None)

    @staticmethod
    def initial_of(policy: RotationPolicy) -> dict[str, Any]:
        if policy.rotator == GENERATED:
            return generator_initial(policy.settings, prefix=_SETTING)
        return {_SETTING + name: text for name, text in policy.settings.items()}

    def _named(self, prefix: str) -> dict[str, str]:
        given = self.cleaned_data
        return {name.removeprefix(prefix): text for name, text in given.items() if name.startswith(prefix)}


class PolicyForm(CadenceForm, ConnectionForm):
    """A new policy with one kind of rotator."""


class PolicyFilterForm(forms.Form):
    state = forms.ChoiceField(
        required=False,
        choices=[
            ("", "Any state"),
            ("failed", "Failed"),
            ("running", "In progress"),
            ("due", "Due"),
            ("overdue", "Overdue"),
        ],
    )


def rotator_of(name: str) -> type[Rotator] | None:
    return ROTATORS.get(name)


def rotator_label(name: str) -> str:
    """Return what a kind of rotator is called; one that this Keeper does not know keeps its stored name."""
    kind = ROTATORS.get(name)
    return kind.label if kind else name
