"""The forms in which people give a password."""

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from audit_app.errors import TooManyRefusals
from environments_app.models import User
from environments_app.names import MAX_USERNAME
from environments_app.sign_in import check_password

_MAX_PASSWORD = 4096


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
            raise ValidationError("There were too many attempts. Wait a while, then try again.") from error
        if self.user is None:
            raise ValidationError("Username or password is not right.")


class ConfirmForm(forms.Form):
    """One's own password again; wrong ones count as those of the sign-in page do."""

    password = forms.CharField(
        strip=False,
        max_length=_MAX_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )

    def __init__(self, request: HttpRequest, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.request = request

    def clean_password(self) -> str:
        """Ask `sign_in` about the password of whoever is signed in."""
        return _own_password(self.request, self.cleaned_data["password"])


class PasswordForm(forms.Form):
    """A new password for oneself; the rules for passwords stand in the use case."""

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
        help_text="At least 12 characters, neither common nor like your name.",
    )
    again = forms.CharField(
        label="New password again",
        strip=False,
        max_length=_MAX_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, request: HttpRequest, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.request = request

    def clean_current(self) -> str:
        """Ask `sign_in` about the password of whoever is signed in."""
        return _own_password(self.request, self.cleaned_data["current"])

    def clean_again(self) -> str:
        """Compare the two."""
        again: str = self.cleaned_data["again"]
        if again != self.cleaned_data.get("password"):
            raise ValidationError("The two new passwords differ.")
        return again


def _own_password(request: HttpRequest, password: str) -> str:
    try:
        user = check_password(request, username=request.user.get_username(), password=password)
    except TooManyRefusals as error:
        raise ValidationError("There were too many attempts. Wait a while, then try again.") from error
    if user is None or user != request.user:
        raise ValidationError("The password is not right.")
    return password
