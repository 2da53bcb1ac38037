"""The settings of generated values as fields: one for the kind of value, and one for each of its options."""

import json
from collections.abc import Mapping
from typing import Any, Final

from django import forms

from secrets_app.generators.options import Option, OptionValue
from secrets_app.generators.registry import GENERATORS

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
