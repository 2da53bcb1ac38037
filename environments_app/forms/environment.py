"""Forms of an environment's page and of access requests; the rules are in the use cases."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

from django import forms
from django.conf import settings
from django.utils import timezone

from environments_app.approvals.access_proposals import duration_words
from environments_app.forms.fields import CommaSeparatedField, Suggesting, expiry_field, path_field
from environments_app.models import AccessRequest, Environment, Role
from environments_app.models.environment import MAX_APPROVALS, MAX_OFFLINE_HOURS, MAX_OUTSIDE_HOURS, Colour
from environments_app.tokens.rotation import MAX_OVERLAP
from environments_app.tokens.service import Lifetime


class EnvironmentForm(forms.Form):
    name = forms.CharField(
        strip=False,
        max_length=63,
        help_text="Lowercase letters, numbers, - and _.",
        widget=forms.TextInput(attrs={"autofocus": True}),
    )
    display_name = forms.CharField(required=False, max_length=100)
    description = forms.CharField(required=False, max_length=500)
    colour = forms.ChoiceField(choices=[("", "Automatic"), *Colour.choices], required=False)
    kms_key_alias = forms.CharField(
        label="KMS key",
        required=False,
        max_length=300,
        help_text="Alias, key ID or ARN. Leave blank to use the default key.",
    )


class DayForm(forms.Form):
    as_of = forms.DateField(
        label="At the end of",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="A day in UTC. Leave blank for now.",
    )


class SettingsForm(EnvironmentForm):
    name = None  # type: ignore[assignment]  # Django's way to drop an inherited field
    colour = forms.ChoiceField(choices=Colour.choices)
    protected = forms.BooleanField(
        required=False,
        help_text="Require approval for every change and type-to-confirm for destructive actions.",
    )
    offline_hours = forms.IntegerField(
        label="Offline copies (hours)",
        required=False,
        min_value=1,
        max_value=MAX_OFFLINE_HOURS,
        help_text="How long kpr may use its encrypted copy while Keeper can't be reached. "
        "Leave blank to forbid copies.",
    )
    outside_hours = forms.IntegerField(
        label="Links for people outside (hours)",
        required=False,
        min_value=1,
        max_value=MAX_OUTSIDE_HOURS,
        help_text="How long a one-time link for a person without an account may last. "
        "Leave blank to forbid them. Protected environments have none.",
    )
    approvals_required = forms.IntegerField(
        label="Approvals required",
        required=False,
        min_value=1,
        max_value=MAX_APPROVALS,
        help_text=f"Number of people who must approve a change, 1 to {MAX_APPROVALS}. Leave blank for 1.",
    )

    guarded_prefixes = forms.CharField(
        label="Guarded paths",
        required=False,
        max_length=4000,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
        help_text="Separated by spaces, such as app/root. A second person agrees to each read of a "
        "secret under them, and no program gets it. Another manager must agree to take one away; its secrets "
        "stay guarded.",
    )
    emergency_reads = forms.BooleanField(
        required=False,
        help_text="A person may show a guarded value at once, for a reason. Managers and auditors are "
        "alerted, and another person reviews each such read.",
    )

    @staticmethod
    def initial_of(environment: Environment) -> dict[str, Any]:
        return {name: getattr(environment, name) for name in SettingsForm.base_fields}


class _OneOfSeveral(forms.Form):
    """A form that shares a page with others: its fields have ids of their own, so that labels find them."""

    mark: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": f"id_{self.mark}_%s", **kwargs})


ROLES_HELP: Final = "Readers read values. Editors also change them. Viewers see names only."
MEMBER_ROLES_HELP: Final = f"{ROLES_HELP} Managers also decide who has access."
PATH_HELP: Final = "For example, payments: everything under payments/. Leave blank for all secrets."


_TEMPORARY_MINUTES: Final = (60, 480, 1440, 10080)


class MemberForm(_OneOfSeveral):
    """A role for a person or a group; `holders` are the names that the field suggests."""

    mark = "member"

    username = forms.CharField(
        label="Person or group",
        max_length=160,
        widget=Suggesting(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
        help_text="A username, or the name of a group. If both exist, write group:name or person:name.",
    )
    role = forms.ChoiceField(choices=Role.choices, help_text=MEMBER_ROLES_HELP)
    prefix = path_field(PATH_HELP)  # type: ignore[assignment]  # not Form.prefix
    minutes = forms.TypedChoiceField(
        label="Duration",
        required=False,
        coerce=int,
        empty_value=None,
        choices=lambda: [
            ("", "Until revoked, or the time below"),
            *map(_duration, _TEMPORARY_MINUTES),
        ],
    )
    expires_at = expiry_field("Leave blank for no expiry.")

    def clean(self) -> dict[str, Any]:
        """Leave the end of the access alone, which a duration gives as well."""
        cleaned = super().clean() or {}
        minutes = cleaned.pop("minutes", None)
        if minutes and cleaned.get("expires_at"):
            self.add_error("expires_at", "Choose a duration or a time, not both.")
        elif minutes:
            cleaned["expires_at"] = timezone.now() + timedelta(minutes=minutes)
        return cleaned

    def __init__(self, *args: Any, holders: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "username" in self.fields:
            self.fields["username"].widget.suggestions = holders


class MemberChangeForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)
    prefix = path_field(PATH_HELP)  # type: ignore[assignment]  # not Form.prefix
    # To the second, as access that was asked for ends: what is shown shorter would come back shortened.
    expires_at = expiry_field(
        "Leave blank for no expiry.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"),
    )
    # The state of the membership that the form was made of.
    seen = forms.CharField(required=False, widget=forms.HiddenInput)


class NarrowForm(forms.Form):
    """What is taken from a token; what is left empty stays as it is."""

    role = forms.ChoiceField(choices=[("", "Unchanged"), *Role.choices], required=False)
    prefix = path_field("Must be inside the current path.")  # type: ignore[assignment]  # not Form.prefix
    cidrs = CommaSeparatedField(
        label="Allowed IP ranges",
        required=False,
        help_text="Comma-separated CIDRs inside the current ranges.",
    )
    expires_at = expiry_field("Must be earlier than the current expiry.")


class AdminNarrowForm(NarrowForm):
    """What is taken from a token that administers: its role and reach stay."""

    role = None  # type: ignore[assignment]  # Django's way to drop an inherited field
    prefix = None  # type: ignore[assignment]  # Django's way to drop an inherited field


class RotateForm(forms.Form):
    overlap_hours = forms.IntegerField(
        label="Keep the old token valid for (hours)", min_value=0, max_value=MAX_OVERLAP.days * 24, initial=24
    )


class TokenForm(_OneOfSeveral):
    mark = "token"

    name = forms.CharField(max_length=100)
    # A viewer, the least, sees names and reads nothing: no program is served by that.
    role = forms.ChoiceField(choices=Role.choices, initial=Role.READER, help_text=ROLES_HELP)
    prefix = path_field(PATH_HELP)  # type: ignore[assignment]  # not Form.prefix
    cidrs = CommaSeparatedField(label="Allowed IP ranges", required=False, help_text="Comma-separated CIDRs.")
    expires_at = expiry_field("Leave blank for the default lifetime.")
    decoy = forms.BooleanField(
        label="Make it a decoy",
        required=False,
        help_text="It opens nothing, and each use of it raises an alert. Leave it where only a thief looks.",
    )

    def clean_expires_at(self) -> datetime | Lifetime:
        """Leave an empty one to the default."""
        return self.cleaned_data["expires_at"] or Lifetime.DEFAULT


class AdminTokenForm(TokenForm):
    role = None  # type: ignore[assignment]  # Django's way to drop an inherited field
    prefix = None  # type: ignore[assignment]  # Django's way to drop an inherited field
    decoy = None  # type: ignore[assignment]  # Django's way to drop an inherited field


_DURATION_MINUTES: Final = (60, 240, 480, 1440, 4320, 10080)


class AskForm(forms.Form):
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
        fitting = [minutes for minutes in _DURATION_MINUTES if minutes <= most] or [most]
        offer_choices(self, "minutes", [*map(_duration, fitting), ("", "Until revoked")])


class GrantForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)
    prefix = path_field()  # type: ignore[assignment]  # not Form.prefix
    minutes = forms.TypedChoiceField(label="Duration", required=False, coerce=int, empty_value=None)
    comment = forms.CharField(required=False, max_length=500, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, request: AccessRequest, data: Any = None) -> None:
        initial = {"role": request.role, "prefix": request.prefix, "minutes": request.minutes or ""}
        super().__init__(data, initial=initial)
        most = request.minutes or settings.KEEPER_ACCESS_MAX_HOURS * 60
        times = sorted({*(minutes for minutes in _DURATION_MINUTES if minutes < most), most})
        endless = [("", "Until revoked")] if request.minutes is None else []
        offer_choices(self, "minutes", [*map(_duration, times), *endless])
        rank = Role(request.role).rank
        offer_choices(self, "role", [(option.value, option.label) for option in Role if option.rank <= rank])


def _duration(minutes: int) -> tuple[str, str]:
    return str(minutes), duration_words(minutes)


def offer_choices(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    """Set the choices of a form's field."""
    cast("forms.ChoiceField", form.fields[name]).choices = choices
