"""The form of the sign-in page."""

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
