"""The forms of links in e-mails: ask for one, and choose a password with it."""

from django import forms

from environments_app.forms.authentication import MAX_PASSWORD, NewPasswordForm


class ForgottenForm(forms.Form):
    """The e-mail address of who forgot their password."""

    email = forms.EmailField(
        label="Email address",
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autocapitalize": "none", "autofocus": True}),
    )


class ChosenForm(NewPasswordForm):
    """A new password, with the code of the link: a script takes it from behind the link's `#`."""

    code = forms.CharField(
        label="Code",
        max_length=MAX_PASSWORD,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "data-from-link": ""}),
        help_text="The part of the link after the # sign.",
    )
    field_order = ("code", "password", "again")
