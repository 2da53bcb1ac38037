"""The forms of the secret pages; the rules are in the use cases."""

from collections.abc import Iterable
from typing import Any, Final, cast

from django import forms
from django.http import HttpRequest

from core.parsing import whole_number
from environments_app.forms.fields import CommaSeparatedField, expiry_field
from environments_app.models import Environment
from secrets_app.errors import InvalidInput
from secrets_app.interfaces import panel_filters
from secrets_app.models import MAX_NAME_LENGTH, Secret
from secrets_app.types.registry import SecretType
from secrets_app.values.metadata import MAX_COMMENT, MAX_DESCRIPTION, MAX_OWNER, Metadata

MAX_NUMBER: Final = 2**31 - 1
# Of a field for names, addresses and values, which no browser completes or corrects.
AS_WRITTEN: Final = {"autocomplete": "off", "spellcheck": "false", "class": "font-monospace"}


def version_number(request: HttpRequest) -> int | None:
    """Return the number that a form sends, or None if it sends none. Raises InvalidInput."""
    text = request.POST.get("version", "")
    if not text:
        return None
    number = whole_number(text, largest=MAX_NUMBER)
    if number is None:
        raise InvalidInput("version", "Choose a version.")
    return number


class PlacedForm(forms.Form):
    """The base of forms about an environment, one of those that are given to it."""

    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        to_field_name="name",
        error_messages={"required": "Choose an environment."},
        widget=forms.Select(attrs={"data-page-environment": ""}),
    )

    def __init__(self, *args: Any, environments: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = {place.name: place for place in environments}
        if len(self._places) == 1:
            self.initial["environment"] = next(iter(self._places))
        field = cast("forms.ModelChoiceField[Environment]", self.fields["environment"])
        field.queryset = environments
        # No environment is preselected that the person did not choose.
        chosen = self.initial.get("environment") in self._places
        field.empty_label = None if chosen else "Choose an environment"

    @property
    def places(self) -> list[str]:
        """The names of the environments to choose from."""
        return list(self._places)

    @property
    def place(self) -> Environment | None:
        """The environment that the form shows as chosen, whose colour its page takes."""
        return self._places.get(str(self["environment"].value() or ""))


class WrittenFields:
    """What the forms that write a secret have in common: how their fields become arguments."""

    cleaned_data: dict[str, Any]
    changed_data: list[str]

    def clean_value(self) -> str:
        """Undo what browsers do to a textarea: they send every line end as CR LF (HTML, 4.10.21)."""
        return str(self.cleaned_data["value"]).replace("\r\n", "\n")

    @property
    def metadata(self) -> Metadata:
        data = self.cleaned_data
        metadata = Metadata(
            description=data["description"].replace("\r\n", "\n"), tags=data["tags"], owner=data["owner"]
        )
        # An untouched date was not set by the user: it may move with the value.
        if "expires_at" in self.changed_data:
            metadata["expires_at"] = data["expires_at"]
        if "uses_references" in data:
            metadata["uses_references"] = data["uses_references"]
        return metadata


class SecretForm(WrittenFields, PlacedForm):
    name = forms.CharField(
        max_length=MAX_NAME_LENGTH,
        strip=False,
        help_text="For example, payments/stripe-key",
        widget=forms.TextInput(attrs={"data-paste-name": "", **AS_WRITTEN}),
    )
    secret_type = forms.ChoiceField(label="Type", choices=SecretType.choices)
    value = forms.CharField(
        strip=False,
        required=False,
        widget=forms.Textarea(attrs={"rows": 5, "data-paste-value": "", **AS_WRITTEN}),
    )
    uses_references = forms.BooleanField(
        label="Expand references when syncing",
        required=False,
        help_text="Replaces ${environment/name} with that secret's value in sync targets, "
        "as long as you can reveal it.",
    )
    description = forms.CharField(
        max_length=MAX_DESCRIPTION, required=False, widget=forms.Textarea(attrs={"rows": 2})
    )
    tags = CommaSeparatedField(required=False, help_text="Comma-separated.")
    owner = forms.CharField(max_length=MAX_OWNER, required=False, help_text="A person or a team.")
    expires_at = expiry_field(
        "Certificates use their own expiry date by default.",
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "data-warn-past": "expires-past"}, format="%Y-%m-%dT%H:%M"
        ),
    )
    comment = forms.CharField(max_length=MAX_COMMENT, required=False, help_text="Describe this change.")
    decoy = forms.BooleanField(
        label="Make it a decoy",
        required=False,
        help_text="Nobody needs it, and each use of it raises an alert. Exports and targets leave it out.",
    )
    expected = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, secret: Secret | None = None, decoys: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not decoys:
            del self.fields["decoy"]
        if secret is None:
            self.fields["value"].required = True
            self.fields["name"].widget.attrs["autofocus"] = not self.is_bound
            return
        for name in ("environment", "name"):
            self.fields[name].disabled = True
        self.fields["value"].help_text = "Leave blank to keep the current value."

    @staticmethod
    def initial_of(secret: Secret) -> dict[str, Any]:
        return {
            "environment": secret.environment.name,
            "name": secret.name,
            "secret_type": secret.secret_type,
            "uses_references": secret.uses_references,
            "description": secret.description,
            "tags": ", ".join(secret.tags),
            "owner": secret.owner,
            # To the minute, as the field shows it: what is sent back unchanged is then the same.
            "expires_at": secret.expires_at and secret.expires_at.replace(second=0, microsecond=0),
            "expected": secret.etag,
        }


# How old the value is, in days; the dashboard counts by the same ranges.
AGES = {
    "0-30": "Under 30 days",
    "30-90": "30 to 90 days",
    "90-180": "90 to 180 days",
    "180-365": "180 days to a year",
    "365-": "Over a year",
}
# What the audit log answers, for those who may read it; and who answers for a secret.
USES: Final = {
    "unused-30": "Not used for 30 days",
    "unused-90": "Not used for 90 days",
    "unused-365": "Not used for a year",
    "left": "Known to people who left",
    "ownerless": "No owner",
    "decoys": "Decoys",
}
_SORTS = [
    ("", "Name (A-Z)"),
    ("-name", "Name (Z-A)"),
    ("-updated", "Recently updated"),
    ("updated", "Least recently updated"),
    ("-created", "Recently created"),
    ("expires", "Expiring soonest"),
    ("rotation_due", "Rotation due first"),
]


class FilterForm(forms.Form):
    """The filters of the list of secrets, from its address."""

    q = forms.CharField(label="Search", required=False)
    environment = forms.ChoiceField(required=False)
    type = forms.ChoiceField(required=False, choices=[("", "Any type"), *SecretType.choices])
    tag = forms.CharField(required=False)
    owner = forms.CharField(required=False)
    state = forms.ChoiceField(
        required=False,
        choices=[
            ("", "Any state"),
            ("expiring", "Expired or within 30 days"),
            ("overdue", "Rotation overdue"),
        ],
    )
    age = forms.ChoiceField(label="Age", required=False, choices=[("", "Any age"), *AGES.items()])
    use = forms.ChoiceField(label="Use", required=False, choices=[("", "Any use"), *USES.items()])
    view = forms.ChoiceField(
        required=False, choices=[("", "List"), ("folders", "Folders")], widget=forms.HiddenInput
    )
    ordering = forms.ChoiceField(label="Sort", required=False, choices=_SORTS)
    starred = forms.BooleanField(required=False, widget=forms.HiddenInput)
    recent = forms.BooleanField(required=False, widget=forms.HiddenInput)
    deleted = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, environments: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(environment.name, environment.name) for environment in environments]
        self.fields["environment"].choices = [("", "All environments"), *choices]  # type: ignore[attr-defined]  # a ChoiceField
        # Not declared: forms have an attribute of this name.
        self.fields["prefix"] = forms.CharField(label="Path prefix", required=False)
        for name, added in panel_filters().items():
            self.fields[name] = forms.ChoiceField(
                label=added.label, required=False, choices=list(added.choices.items())
            )
        self.order_fields([*(name for name in self.fields if name != "ordering"), "ordering"])

    @property
    def narrowing(self) -> list[str]:
        """The names of the filters that a page shows as chips: where one is, is shown by the frame."""
        shown_elsewhere = {"view", "ordering", "environment", "deleted", "starred", "recent"}
        # The open folder is shown by the tree and the path above the rows.
        shown_elsewhere |= {"prefix"} if self.shows_folders else set()
        return [name for name in self.fields if name not in shown_elsewhere]

    @property
    def menu_fields(self) -> list[forms.BoundField]:
        return [bound for bound in self.visible_fields() if bound.name not in {"q", "environment", "type"}]

    @property
    def menu_count(self) -> int:
        names = {bound.name for bound in self.menu_fields} & set(self.narrowing)
        return sum(bool(self.data.get(name)) for name in names)

    def words(self, name: str, text: str) -> str:
        """Return a filter in force in words: `Type: API key`, `Path: payments`."""
        if name == "q":
            return f"“{text}”"
        field = self.fields[name]
        choices = cast("Iterable[tuple[str, str]]", getattr(field, "choices", ()))
        chosen = dict(choices).get(text, text)
        if name in {"state", "use"}:
            return str(chosen)
        return f"{self[name].label}: {chosen}"

    @property
    def parameters(self) -> dict[str, str]:
        """The filters in the words of the API."""
        names = ("q", "environment", "type", "tag", "owner", "prefix", "age", *panel_filters())
        parameters = {name: str(self.data.get(name, "")) for name in names}
        state = self.data.get("state")
        parameters |= {"expiring": "30"} if state == "expiring" else {}
        parameters |= {"rotation": "overdue"} if state == "overdue" else {}
        use = str(self.data.get("use", ""))
        if use.startswith("unused-") and use in USES:
            parameters["unused"] = use.removeprefix("unused-")
        parameters |= {"known_to": "left"} if use == "left" else {}
        parameters |= {"owner": "none"} if use == "ownerless" else {}
        parameters |= {"decoy": "true"} if use == "decoys" else {}
        return parameters

    @property
    def unused_days(self) -> str:
        """The days of the filter *Not used*, "" without it."""
        return self.parameters.get("unused", "")

    @property
    def wants_deleted(self) -> bool:
        return bool(self.data.get("deleted"))

    @property
    def wants_starred(self) -> bool:
        return bool(self.data.get("starred"))

    @property
    def wants_recent(self) -> bool:
        return bool(self.data.get("recent"))

    @property
    def shows_folders(self) -> bool:
        return bool(self.data.get("view") == "folders")
