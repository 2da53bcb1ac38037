"""The form of a personal token."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms

from environments_app.forms.fields import path_field
from environments_app.tokens.personal import DEFAULT_LIFETIME, MAX_LIFETIME


class PersonalTokenForm(forms.Form):
    name = forms.CharField(max_length=100, initial="kpr", help_text="Where you use it, such as my-laptop.")
    environment = forms.ChoiceField(required=False)
    prefix = path_field("For example, payments. Leave blank for all secrets.")  # type: ignore[assignment]  # not Form.prefix
    hours = forms.IntegerField(
        label="Valid for (hours)",
        min_value=1,
        max_value=MAX_LIFETIME // timedelta(hours=1),
        initial=DEFAULT_LIFETIME // timedelta(hours=1),
    )

    decoy = forms.BooleanField(
        label="Make it a decoy",
        required=False,
        help_text="It opens nothing, and each use of it raises an alert. Leave it where only a thief looks.",
    )

    def __init__(self, *arguments: Any, environments: Sequence[str], **options: Any) -> None:
        super().__init__(*arguments, **{"auto_id": "id_token_%s", **options})
        field = self.fields["environment"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [("", "All your environments"), *((name, name) for name in environments)]

    @property
    def arguments(self) -> dict[str, Any]:
        fields = dict(self.cleaned_data)
        lifetime = timedelta(hours=fields.pop("hours"))
        return {**fields, "lifetime": lifetime}


class DeviceApprovalForm(PersonalTokenForm):
    """What narrows the token of a client, which has named itself."""

    name = None  # type: ignore[assignment]  # Django's way to drop an inherited field
    decoy = None  # type: ignore[assignment]  # Django's way to drop an inherited field


class DeviceCodeForm(forms.Form):
    code = forms.CharField(
        max_length=20,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}
        ),
        help_text="Eight letters, such as BCDF-GHJK.",
    )
