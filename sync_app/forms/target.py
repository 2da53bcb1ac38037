"""The forms of the sync pages; the rules are in the use cases."""

from collections.abc import Iterable
from typing import Any, Final

from django import forms

from environments_app.models import Environment
from environments_app.names import MAX_PREFIX
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import FormField
from sync_app.backends.registry import BACKENDS
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Conflict, Deletion, Direction
from sync_app.models import Target
from sync_app.models.target import MAX_TAGS_TEXT
from sync_app.targets.rules import CHANGEABLE

SIGN_IN: Final = "sign_in"
_DESTINATION: Final = "destination-"
_CREDENTIAL: Final = "credential-"
_DELETES: Final = f"deletion={Deletion.RECOVERABLE}"


class RulesForm(forms.Form):
    """What a target does, and what it may never do."""

    direction = forms.ChoiceField(
        choices=[
            (Direction.PUSH, "Push: Keeper to the target"),
            (Direction.PULL, "Pull: the target to Keeper"),
            (Direction.BOTH, "Both ways"),
        ]
    )
    conflict = forms.ChoiceField(
        label="On conflict",
        choices=[
            (Conflict.ASK, "Ask"),
            (Conflict.KEEPER_WINS, "Use Keeper's value"),
            (Conflict.TARGET_WINS, "Use the target's value"),
        ],
    )
    deletion = forms.ChoiceField(
        label="When a secret is deleted in Keeper",
        choices=[
            (Deletion.NEVER, "Keep it in the target"),
            (Deletion.RECOVERABLE, "Delete it in the target (recoverable)"),
        ],
    )
    budget_number = forms.IntegerField(
        label="Max deletions per sync",
        min_value=0,
        initial=10,
        help_text="If exceeded, nothing is deleted.",
        widget=forms.NumberInput({"data-shown-when": _DELETES}),
    )
    budget_percent = forms.IntegerField(
        label="Max deletions (%)",
        min_value=0,
        max_value=100,
        initial=10,
        widget=forms.NumberInput({"data-shown-when": _DELETES}),
    )
    interval_seconds = forms.TypedChoiceField(
        label="Check",
        coerce=int,
        choices=[
            (60, "every minute"),
            (300, "every 5 minutes"),
            (900, "every 15 minutes"),
            (3600, "every hour"),
            (86400, "every day"),
            (0, "manually and on change"),
        ],
        initial=300,
    )
    automatic = forms.BooleanField(
        label="Apply changes automatically",
        required=False,
        help_text="If off, changes wait for someone to apply the plan.",
    )

    def __init__(self, *args: Any, target: Target | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Offer an interval that the API set and that is not among the choices.
        seconds = self.initial.get("interval_seconds")
        field = self.fields["interval_seconds"]
        if seconds is not None and seconds not in dict(field.choices):  # type: ignore[attr-defined]  # a ChoiceField
            field.choices = [*field.choices, (seconds, f"every {seconds} seconds")]  # type: ignore[attr-defined]  # a ChoiceField
        for each in backend_rules(target.backend) if target else ():
            self.fields[_DESTINATION + each.name] = input_of(each)

    @property
    def backend_rules(self) -> dict[str, str]:
        return {name: text for name, text in _named(self.cleaned_data, _DESTINATION).items() if text}

    @property
    def rules(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in CHANGEABLE}

    @staticmethod
    def initial_of(target: Target) -> dict[str, Any]:
        chosen = {
            _DESTINATION + each.name: target.destination.get(each.name, each.default)
            for each in backend_rules(target.backend)
        }
        return {name: getattr(target, name) for name in CHANGEABLE} | chosen


class DestinationForm(forms.Form):
    """The destination of a backend and its credentials; none of those that are kept is ever shown."""

    def __init__(self, *args: Any, backend: type[Backend], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in backend.destination_fields:
            self.fields[_DESTINATION + field.name] = _shown_with_its_way(field)
        self._ways = {_CREDENTIAL + field.name: field.way for field in backend.credential_fields if field.way}
        if ways := list(dict.fromkeys(self._ways.values())):
            self.fields[SIGN_IN] = forms.ChoiceField(
                label="Sign-in method",
                choices=[(way, way) for way in ways],
                initial=ways[0],
                required=False,
                widget=forms.RadioSelect,
            )
        for field in backend.credential_fields:
            self.fields[_CREDENTIAL + field.name] = _shown_with_its_way(field)

    @property
    def destination(self) -> dict[str, str]:
        return _named(self.cleaned_data, _DESTINATION)

    @property
    def credentials(self) -> dict[str, str]:
        """What was entered for the chosen way of signing in, by the backend's names."""
        chosen = self.cleaned_data.get(SIGN_IN)
        left_out = {name for name, way in self._ways.items() if chosen and way != chosen}
        given = {name: text for name, text in self.cleaned_data.items() if name not in left_out}
        return _named(given, _CREDENTIAL)

    def destination_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(_DESTINATION)]

    def credential_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name == SIGN_IN or name.startswith(_CREDENTIAL)]

    def field_of(self, name: str) -> str | None:
        """Return the form's name of a field that a use case refuses, if there is one."""
        candidates = (name, _DESTINATION + name, _CREDENTIAL + name)
        return next((candidate for candidate in candidates if candidate in self.fields), None)


class CredentialsForm(DestinationForm):
    """New credentials of a target, and what of its destination may change with them in hand."""

    def __init__(self, *args: Any, target: Target, **kwargs: Any) -> None:
        backend = BACKENDS[target.backend]
        super().__init__(*args, backend=backend, **kwargs)
        self._kept = dict(target.destination)
        for field in backend.destination_fields:
            if field.fixed or field.rule:
                del self.fields[_DESTINATION + field.name]
            else:
                self.initial.setdefault(_DESTINATION + field.name, self._kept.get(field.name, ""))

    @property
    def changed_destination(self) -> dict[str, str]:
        return {name: text for name, text in self.destination.items() if text != self._kept.get(name, "")}


class TargetForm(RulesForm, DestinationForm):
    environment = forms.ModelChoiceField(Environment.objects.none(), to_field_name="name", empty_label=None)
    name = forms.CharField(
        max_length=63,
        help_text="Lowercase letters, numbers, . _ -",
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    scope = forms.CharField(
        label="Path prefix",
        required=False,
        max_length=MAX_PREFIX,
        help_text="For example, payments. Leave blank to sync all secrets. Can't be changed later.",
    )

    only_tags = forms.CharField(
        label="Tags",
        required=False,
        max_length=MAX_TAGS_TEXT,
        help_text="Comma-separated. Only secrets with one of these tags are synced. For push only. Can't be "
        "changed later.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )

    def __init__(
        self, *args: Any, backend: type[Backend], environments: Iterable[Environment], **kwargs: Any
    ) -> None:
        super().__init__(*args, backend=backend, **kwargs)
        self.fields["environment"].queryset = environments  # type: ignore[attr-defined]  # a ModelChoiceField
        self._rules = [_DESTINATION + field.name for field in backend.destination_fields if field.rule]

    @property
    def tags(self) -> list[str]:
        return [tag.strip() for tag in self.cleaned_data["only_tags"].split(",") if tag.strip()]

    def destination_fields(self) -> list[forms.BoundField]:
        return [bound for bound in super().destination_fields() if bound.name not in self._rules]

    def rule_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("scope", "only_tags", *CHANGEABLE, *self._rules)]


def _state_name(state: DeliveryState) -> str:
    return "Not seen yet" if state is DeliveryState.UNKNOWN else state.replace("_", " ").capitalize()


class EntryFilterForm(forms.Form):
    q = forms.CharField(label="Search", required=False, max_length=200)
    state = forms.ChoiceField(
        required=False,
        choices=[("", "Any state"), *((state.value, _state_name(state)) for state in DeliveryState)],
    )


def backend_of(name: str) -> type[Backend] | None:
    return BACKENDS.get(name)


def backend_rules(name: str) -> list[FormField]:
    """Return the fields of a kind of system that are rules, changed without new credentials."""
    kind = backend_of(name)
    return [field for field in kind.destination_fields if field.rule] if kind else []


def input_of(each: FormField) -> forms.Field:
    """Return the input for a field that a backend or rotator declares."""
    if each.choices:
        return forms.ChoiceField(
            label=each.label,
            choices=list(zip(each.choices, each.choice_labels or each.choices, strict=True)),
            initial=each.initial or each.default,
            required=not (each.initial or each.default),
            help_text=each.help,
        )
    attrs = {"autocomplete": "off", "spellcheck": "false"}
    if each.sensitive:
        attrs["class"] = "font-monospace concealed"
    return forms.CharField(
        label=each.label,
        required=each.required,
        initial=each.initial or each.default,
        help_text=each.help,
        strip=not each.sensitive,
        # A line of text loses what separates lines.
        widget=forms.Textarea({**attrs, "rows": 3}) if each.lines else forms.TextInput(attrs),
    )


def _shown_with_its_way(each: FormField) -> forms.Field:
    """Return the input, shown only while the way of signing in is chosen that the field belongs to."""
    field = input_of(each)
    if each.way:
        field.widget.attrs["data-shown-when"] = f"{SIGN_IN}={each.way}"
    if each.way and each.sensitive:
        field.widget.attrs["aria-required"] = "true"
    return field


def _named(given: dict[str, Any], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): text for name, text in given.items() if name.startswith(prefix)}
