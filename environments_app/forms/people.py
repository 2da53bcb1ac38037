"""The forms of the page of people; the rules are in the use cases."""

from typing import Any

from django import forms

from environments_app.models import User, UserRole
from environments_app.names import MAX_USERNAME


class PersonForm(forms.Form):
    """What an administrator changes of an account."""

    display_name = forms.CharField(label="Name", required=False, max_length=100)
    email = forms.EmailField(label="Email", required=False)
    role = forms.ChoiceField(
        choices=UserRole.choices,
        help_text="Administrators manage people and settings. Auditors read the audit log, reports, access "
        "and settings, and change nothing. Neither reads values.",
    )

    @staticmethod
    def initial_of(user: User) -> dict[str, Any]:
        """Return what the form begins with."""
        return {name: getattr(user, name) for name in PersonForm.base_fields}


class NewPersonForm(PersonForm):
    """A new account."""

    username = forms.CharField(
        max_length=MAX_USERNAME,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off"}),
    )
    local = forms.BooleanField(
        label="Sign in with a password",
        required=False,
        initial=True,
        help_text="Keeper creates a temporary password. Otherwise, the person uses single sign-on.",
    )
    field_order = ("username", "display_name", "email", "role", "local")
