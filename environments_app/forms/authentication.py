"""The forms in which people give a password."""

from math import ceil
from typing import ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from audit_app.errors import TooManyRefusals
from environments_app.authentication.sign_in import check_code, check_password
from environments_app.models import User
from environments_app.names import MAX_USERNAME

_MAX_PASSWORD = 4096
_MAX_CODE = 40
_WRONG_CODE = "Invalid or already used code."
_MINUTE = 60


def _too_many(seconds: int) -> str:
    number, unit = (seconds, "second") if seconds < _MINUTE else (ceil(seconds / _MINUTE), "minute")
    return f"Too many attempts. Try again in {number} {unit}{'' if number == 1 else 's'}."


class SignInForm(forms.Form):
    """Username and password; `retry_after` is set when attempts are refused for a while."""

    username = forms.CharField(
        max_length=MAX_USERNAME,
        widget=forms.TextInput(
            attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}
        ),
    )
    password = forms.CharField(
        strip=False,
        max_length=_MAX_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.request = request
        self.user: User | None = None
        self.retry_after: int | None = None

    def clean(self) -> None:
        """Ask `sign_in`; one sentence answers whatever was wrong."""
        super().clean()
        if self.errors:
            return
        try:
            self.user = check_password(
                self.request,
                username=self.cleaned_data["username"],
                password=self.cleaned_data["password"],
            )
        except TooManyRefusals as error:
            self.retry_after = error.retry_after
            raise ValidationError(_too_many(error.retry_after)) from error
        if self.user is None:
            raise ValidationError("Incorrect username or password.")


class CodeField(forms.CharField):
    """A code of the second factor, or a recovery code."""

    def __init__(self) -> None:
        super().__init__(
            label="Authentication code",
            max_length=_MAX_CODE,
            widget=forms.TextInput(
                attrs={"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
            ),
            help_text="Six digits, or a recovery code.",
        )


class CodeForm(forms.Form):
    """The second factor after a correct password; `how` is the kind used."""

    code = CodeField()

    def __init__(self, request: HttpRequest, user: User, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.fields["code"].widget.attrs["autofocus"] = True
        self.request, self.user = request, user
        self.how: str | None = None
        self.retry_after: int | None = None

    def clean_code(self) -> str:
        """Ask `sign_in`."""
        try:
            self.how = check_code(self.request, user=self.user, code=self.cleaned_data["code"])
        except TooManyRefusals as error:
            self.retry_after = error.retry_after
            raise ValidationError(_too_many(error.retry_after)) from error
        if self.how is None:
            raise ValidationError(_WRONG_CODE)
        return ""


class OwnForm(forms.Form):
    """A form to confirm the user's identity: password, and second factor if the account has one.

    Wrong ones count for this session alone; `retry_after` is set when it has to wait.
    """

    own_password: ClassVar[str] = "password"  # noqa: S105 - the name of a field

    def __init__(self, request: HttpRequest, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.request = request
        self.retry_after: int | None = None
        if isinstance(request.user, User) and request.user.second_factor:
            self.fields["code"] = CodeField()

    def clean(self) -> None:
        """Check the signed-in user by `sign_in`; the code is consumed last."""
        super().clean()
        if self.errors:
            return
        try:
            password = self.cleaned_data[self.own_password]
            name = self.request.user.get_username()
            user = check_password(self.request, username=name, password=password, own=True)
            if user is None or user != self.request.user:
                self.add_error(self.own_password, "Incorrect password.")
            elif user.second_factor and not check_code(
                self.request, user=user, code=self.cleaned_data.get("code", ""), own=True
            ):
                self.add_error("code" if "code" in self.fields else None, _WRONG_CODE)
        except TooManyRefusals as error:
            self.retry_after = error.retry_after
            raise ValidationError(_too_many(error.retry_after)) from error


class ConfirmForm(OwnForm):
    """The user's own password, to confirm."""

    password = forms.CharField(
        strip=False,
        max_length=_MAX_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )


class PasswordForm(OwnForm):
    """A new password of the user; the rules are in the use case."""

    own_password = "current"  # noqa: S105 - the name of a field

    current = forms.CharField(
        label="Current password",
        strip=False,
        max_length=_MAX_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    password = forms.CharField(
        label="New password",
        strip=False,
        max_length=_MAX_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 12 characters. Avoid common passwords and your name.",
    )
    again = forms.CharField(
        label="Confirm new password",
        strip=False,
        max_length=_MAX_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean_again(self) -> str:
        """Compare the two."""
        again: str = self.cleaned_data["again"]
        if again != self.cleaned_data.get("password"):
            raise ValidationError("The passwords don't match.")
        return again


def confirm_link() -> str:
    """Return the sentence that asks for a fresh proof, in a window of its own, so that the form stays."""
    return format_html(
        '<a href="{}" target="_blank" rel="noopener">Confirm your password</a>, then try again.',
        reverse("confirm"),
    )
