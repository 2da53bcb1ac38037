"""Forms in which people give a password, ask for a link by e-mail, or choose a password with it."""

from math import ceil
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from audit_app.errors import TooManyRefusals
from environments_app.authentication.passkeys import begin_sign_in, keep_challenge, relying_party
from environments_app.authentication.sign_in import (
    check_code,
    check_lone_passkey,
    check_passkey,
    check_password,
)
from environments_app.models import User
from environments_app.names import MAX_USERNAME

MAX_PASSWORD = 4096
_MAX_CODE = 40
_WRONG_CODE = "Invalid or already used code."
_MINUTE = 60


def too_many(seconds: int) -> str:
    """Return the sentence for who has to wait."""
    number, unit = (seconds, "second") if seconds < _MINUTE else (ceil(seconds / _MINUTE), "minute")
    return f"Too many attempts. Try again in {number} {unit}{'' if number == 1 else 's'}."


def _password(label: str | None = None, help_text: str = "", **attrs: Any) -> forms.CharField:
    return forms.CharField(
        label=label,
        strip=False,
        max_length=MAX_PASSWORD,
        widget=forms.PasswordInput(attrs=attrs),
        help_text=help_text,
    )


class SignInForm(forms.Form):
    """Username and password; `retry_after` is set when attempts are refused for a while."""

    refusal: ClassVar[str] = "Incorrect username or password."

    username = forms.CharField(
        max_length=MAX_USERNAME,
        widget=forms.TextInput(
            # The browser offers its passkeys in the field.
            attrs={"autocomplete": "username webauthn", "autocapitalize": "none", "autofocus": True}
        ),
    )
    password = _password(autocomplete="current-password")

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
            self.user = self.checked_user()
        except TooManyRefusals as error:
            self.retry_after = error.retry_after
            raise ValidationError(too_many(error.retry_after)) from error
        if self.user is None:
            raise ValidationError(self.refusal)

    def checked_user(self) -> User | None:
        return check_password(
            self.request, username=self.cleaned_data["username"], password=self.cleaned_data["password"]
        )


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


class PasskeyField(forms.CharField):
    """What a browser answers for a passkey, as JSON, in place of a code."""

    def __init__(self) -> None:
        super().__init__(required=False, max_length=20_000, widget=forms.HiddenInput())


class PasskeySignInForm(SignInForm):
    """A passkey in place of username and password; `challenge` is what the page asked the browser for."""

    refusal = "This passkey wasn't accepted. Try again, or sign in with your password."

    passkey = PasskeyField()
    challenge = forms.CharField(required=False, max_length=200)

    def __init__(self, request: HttpRequest, data: dict[str, str] | None = None) -> None:
        super().__init__(request, data)
        for name in ("username", "password"):
            self.fields[name].required = False

    def checked_user(self) -> User | None:
        fields = self.cleaned_data
        return check_lone_passkey(self.request, credential=fields["passkey"], challenge=fields["challenge"])


class SecondFactorForm(forms.Form):
    """A form that asks for the second factor of a person: a code, or a passkey.

    `passkey_options` is what the browser is asked for, as JSON, and empty where there is no passkey.
    """

    request: HttpRequest

    def ask_second_factor(self, user: User) -> None:
        """Add the fields, and a new challenge where the person has a passkey for this host."""
        self.fields["code"] = CodeField()
        self.fields["code"].required = not self.data.get(self.add_prefix("passkey"))
        self.fields["passkey"] = PasskeyField()
        self._asked = user

    @property
    def passkey_options(self) -> str:
        """Return what the browser is asked for, under a new challenge."""
        party = relying_party(self.request) if "passkey" in self.fields else None
        ceremony = begin_sign_in(self._asked, party) if party else None
        if ceremony is None:
            return ""
        keep_challenge(self.request, ceremony)
        return ceremony.options

    def check_second_factor(self, *, own: bool = False, alone: bool = False) -> str | None:
        """Return the kind of the second factor that was proved; raises ValidationError, TooManyRefusals.

        `alone` demands a passkey that replaces the password too.
        """
        code, credential = self.cleaned_data.get("code", ""), self.cleaned_data.get("passkey", "")
        if credential:
            how = check_passkey(self.request, user=self._asked, credential=credential, own=own, alone=alone)
            if how is None and alone:
                raise ValidationError("This passkey wasn't accepted without your password. Enter it as well.")
            if how is None:
                raise ValidationError("This passkey wasn't accepted. Try again, or enter a code.")
            return how
        how = check_code(self.request, user=self._asked, code=code, own=own)
        if how is None:
            raise ValidationError(_WRONG_CODE)
        return how


class CodeForm(SecondFactorForm):
    """The second factor after a correct password; `how` is the kind used."""

    def __init__(self, request: HttpRequest, user: User, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.request = request
        self.ask_second_factor(user)
        self.fields["code"].widget.attrs["autofocus"] = True
        self.how: str | None = None
        self.retry_after: int | None = None

    def clean(self) -> None:
        super().clean()
        if self.errors:
            return
        try:
            self.how = self.check_second_factor()
        except TooManyRefusals as error:
            self.retry_after = error.retry_after
            self.add_error("code", too_many(error.retry_after))
        except ValidationError as error:
            self.add_error("code", error)


class OwnForm(SecondFactorForm):
    """A form to confirm the user's identity: password, and second factor if the account has one.

    A passkey that replaces the password needs none: `how` is what was proved. Wrong ones count for this
    session alone; `retry_after` is set when it has to wait.
    """

    own_password: ClassVar[str] = "password"  # noqa: S105 - the name of a field

    def __init__(self, request: HttpRequest, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.request = request
        self.how = "password"
        self.retry_after: int | None = None
        if isinstance(request.user, User) and request.user.second_factor:
            self.ask_second_factor(request.user)
            self.fields[self.own_password].required = not self.data.get(self.add_prefix("passkey"))

    def clean(self) -> None:
        """Check the signed-in user by `sign_in`; the second factor is consumed last."""
        super().clean()
        if self.errors:
            return
        try:
            password = self.cleaned_data[self.own_password]
            if not password:
                self.how = "passkey"
                self._clean_second_factor(alone=True)
                return
            name = self.request.user.get_username()
            user = check_password(self.request, username=name, password=password, own=True)
            if user is None or user != self.request.user:
                self.add_error(self.own_password, "Incorrect password.")
            elif user.second_factor:
                self._clean_second_factor()
        except TooManyRefusals as error:
            self.retry_after = error.retry_after
            raise ValidationError(too_many(error.retry_after)) from error

    def _clean_second_factor(self, *, alone: bool = False) -> None:
        if "code" not in self.fields:
            # It was set up since this request began.
            raise ValidationError(_WRONG_CODE)
        try:
            self.check_second_factor(own=True, alone=alone)
        except ValidationError as error:
            self.add_error("code", error)


class ConfirmForm(OwnForm):
    password = _password(autocomplete="current-password", autofocus=True)


class ProofForm(OwnForm):
    """The password, on the form of an act that asks for a fresh proof of identity."""

    prefix = "proof"

    password = _password(
        "Your password", "You signed in a while ago. Confirm that it is you.", autocomplete="current-password"
    )


class NewPasswordForm(forms.Form):
    """A new password, twice; the rules are in the use case."""

    password = _password(
        "New password",
        "At least 12 characters. Avoid common passwords and your name.",
        autocomplete="new-password",
    )
    again = _password("Confirm new password", autocomplete="new-password")

    def clean_again(self) -> str:
        again: str = self.cleaned_data["again"]
        if again != self.cleaned_data.get("password"):
            raise ValidationError("The passwords don't match.")
        return again


class PasswordForm(NewPasswordForm, OwnForm):
    """A new password of the user, with the current one."""

    own_password = "current"  # noqa: S105 - the name of a field

    current = _password("Current password", autocomplete="current-password")
    field_order = ("current", "password", "again")


def confirm_link() -> str:
    """Return the sentence that asks for a fresh proof, in a window of its own, so that the form stays."""
    return format_html(
        '<a href="{}" target="_blank" rel="noopener">Confirm your password</a>, then try again.',
        f"{reverse('confirm')}?{urlencode({REDIRECT_FIELD_NAME: reverse('signed-in')})}",
    )


class ForgottenForm(forms.Form):
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
