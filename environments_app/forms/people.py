"""The forms of the page of people; the rules are in the use cases."""

from typing import Any

from django import forms
from django.db.models import TextChoices

from environments_app.authorization.policy import Principal
from environments_app.models import User, UserRole
from environments_app.names import MAX_USERNAME
from environments_app.users import accounts
from environments_app.users.password_links import can_send, invite_new


class PersonForm(forms.Form):
    display_name = forms.CharField(label="Name", required=False, max_length=100)
    email = forms.EmailField(label="Email", required=False)
    role = forms.ChoiceField(
        choices=UserRole.choices,
        help_text="Administrators manage people and settings. Auditors read the audit log, reports, access "
        "and settings, and change nothing. Neither reads values.",
    )

    @staticmethod
    def initial_of(user: User) -> dict[str, Any]:
        return {name: getattr(user, name) for name in PersonForm.base_fields}


class SignInWay(TextChoices):
    """How the person of a new account gets to sign in."""

    INVITATION = "invitation", "A password they choose (email invitation)"
    PASSWORD = "password", "A temporary password, shown to you once"
    SSO = "sso", "Single sign-on"


class NewPersonForm(PersonForm):
    username = forms.CharField(
        max_length=MAX_USERNAME,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off"}),
    )
    sign_in = forms.ChoiceField(label="Signs in with", choices=SignInWay.choices, widget=forms.RadioSelect)
    field_order = ("username", "display_name", "email", "role", "sign_in")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].initial = UserRole.USER
        field = self.fields["sign_in"]
        ways = [way for way in SignInWay if way != SignInWay.INVITATION or can_send()]
        field.choices = [(way.value, way.label) for way in ways]  # type: ignore[attr-defined]  # a choice field
        field.initial = ways[0].value
        if SignInWay.INVITATION in ways:
            field.help_text = "An invitation sends a link to choose a password to the email address."


def add_person(*, actor: Principal, sign_in: str, **fields: Any) -> tuple[User, str | None]:
    """Create an account as the form states; return it, and its temporary password if it has one.

    Raises as `create_user` and `invite_new` do.
    """
    if sign_in == SignInWay.INVITATION:
        return invite_new(actor=actor, **fields), None
    password = accounts.new_password() if sign_in == SignInWay.PASSWORD else None
    return accounts.create_user(actor=actor, password=password, **fields), password
