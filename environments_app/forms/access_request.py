"""The forms of access requests; the rules are in the use cases."""

from typing import Any, Final, cast

from django import forms
from django.conf import settings

from environments_app.approvals.access_proposals import duration_words
from environments_app.forms.fields import path_field
from environments_app.models import AccessRequest, Role

# Minutes that a page offers.
_DURATIONS: Final = (60, 240, 480, 1440, 4320, 10080)


class AskForm(forms.Form):
    """A requested access."""

    environment = forms.CharField(strip=True, max_length=63, help_text="Environment name")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.READER)
    prefix = path_field("For example, payments. Leave blank for all secrets.")  # type: ignore[assignment]  # not Form.prefix
    minutes = forms.TypedChoiceField(
        label="Duration", required=False, coerce=int, empty_value=None, initial=240
    )
    reason = forms.CharField(
        label="Reason",
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Visible to reviewers.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        most = settings.KEEPER_ACCESS_MAX_HOURS * 60
        fitting = [minutes for minutes in _DURATIONS if minutes <= most] or [most]
        _offer(self, "minutes", [*map(_duration, fitting), ("", "Until revoked")])


class GrantForm(forms.Form):
    """What is granted of what was asked for: all of it, or less."""

    role = forms.ChoiceField(choices=Role.choices)
    prefix = path_field()  # type: ignore[assignment]  # not Form.prefix
    minutes = forms.TypedChoiceField(label="Duration", required=False, coerce=int, empty_value=None)
    comment = forms.CharField(required=False, max_length=500, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, request: AccessRequest, data: Any = None) -> None:
        asked = {"role": request.role, "prefix": request.prefix, "minutes": request.minutes or ""}
        super().__init__(data, initial=asked)
        most = request.minutes or settings.KEEPER_ACCESS_MAX_HOURS * 60
        times = sorted({*(minutes for minutes in _DURATIONS if minutes < most), most})
        endless = [("", "Until revoked")] if request.minutes is None else []
        _offer(self, "minutes", [*map(_duration, times), *endless])
        rank = Role(request.role).rank
        _offer(self, "role", [(each.value, each.label) for each in Role if each.rank <= rank])


def _duration(minutes: int) -> tuple[str, str]:
    return str(minutes), duration_words(minutes)


def _offer(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    cast("forms.ChoiceField", form.fields[name]).choices = choices
