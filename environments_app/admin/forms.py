"""The admin's forms of accounts, groups and roles: refusals are shown at their field; write-only fields."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from environments_app.errors import AccessError
from environments_app.forms.fields import CommaSeparatedField
from environments_app.models import INSTALLATION_ROLES, GroupMember, User
from environments_app.names import fold_username, validate_new_username
from environments_app.tokens.scim_clients import sign_ins

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:  # generic to the type checker only
    ModelForm = forms.ModelForm


class WriteOnlyTextarea(forms.Textarea):
    """A text area that no answer fills: a value that was refused is typed again."""

    def format_value(self, value: Any) -> str:
        return ""


def write_only(fields: Iterable[forms.BoundField]) -> None:
    """Have fields of text show nothing of what was typed into them before."""
    for bound in fields:
        field, attrs = bound.field, {"autocomplete": "new-password", "spellcheck": "false"}
        if isinstance(field.widget, forms.Textarea):
            field.widget = WriteOnlyTextarea({**field.widget.attrs, **attrs})
        elif isinstance(field.widget, forms.TextInput):
            field.widget = forms.PasswordInput({**field.widget.attrs, **attrs})


def _password_field(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=help_text,
    )


class AccountForm(ModelForm):
    """An account; errors of its password are shown at the field."""

    class Meta:
        model = User
        fields = ("username", "email", "display_name", "role", "is_active")

    def clean(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().clean() or self.cleaned_data
        if fields.get("new_password"):
            try:
                validate_password(fields["new_password"], self._described(fields))
            except ValidationError as error:
                self.add_error("new_password", error)
        return fields

    def _described(self, fields: dict[str, Any]) -> User:
        names = ("username", "email", "display_name")
        return User(**{name: fields.get(name, getattr(self.instance, name)) for name in names})


class NewUserForm(AccountForm):
    new_password = _password_field("Password", "Empty: signs in by single sign-on only.")

    def clean_username(self) -> str:
        try:
            return validate_new_username(self.cleaned_data["username"])
        except AccessError as error:
            raise ValidationError(str(error)) from error

    def _post_clean(self) -> None:
        # The model would fold the name once more, and raise for one that was refused already.
        if "username" in self.cleaned_data:
            super()._post_clean()  # type: ignore[misc]  # Django's, without a stub


class UserForm(AccountForm):
    """An existing account; its password can only be replaced."""

    new_password = _password_field(
        "New password", "Empty: it stays. What the account reads is suspended until managers confirm it."
    )
    remove_second_factor = forms.BooleanField(
        required=False, help_text="For who lost it. What the account reads is suspended as well."
    )


class MembershipForm(ModelForm):
    def clean(self) -> dict[str, Any]:
        """Refuse neither and both, in words; the database does as well, by a constraint's name."""
        fields: dict[str, Any] = super().clean() or self.cleaned_data
        if "user" in fields and "group" in fields and bool(fields["user"]) == bool(fields["group"]):
            self.add_error("user", "Choose either a user or a group.")
        return fields


class GroupForm(ModelForm):
    """A group and the people in it, by their usernames."""

    members = CommaSeparatedField(
        required=False,
        widget=forms.TextInput(
            attrs={"class": "vTextField", "autocapitalize": "none", "spellcheck": "false"}
        ),
        help_text="Usernames, separated by commas. They hold every role of the group.",
    )

    class Meta:
        model = Group
        fields = ("name",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk:
            rows = GroupMember.objects.filter(group=self.instance).order_by("user__username")
            self.initial["members"] = ", ".join(rows.values_list("user__username", flat=True))

    def clean_members(self) -> list[User]:
        """Return the people of these names."""
        names = {fold_username(name) for name in self.cleaned_data["members"]}
        people = list(User.objects.filter(username__in=names).order_by("username"))
        if unknown := sorted(names - {person.username for person in people}):
            raise ValidationError(f"Nobody has the username {unknown[0]}.")
        return people


class ClaimLines(forms.CharField):
    """Claims with the values of which each has to have one: a claim=value a line."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        """Return the lines of stored claims; what was typed stays as it is."""
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{name}={text}" for name, texts in sorted(value.items()) for text in texts)

    def to_python(self, value: Any) -> Any:
        """Return the values of each claim. Raises ValidationError for a line without both."""
        claims: dict[str, list[str]] = {}
        for line in filter(str.strip, str(value or "").splitlines()):
            name, _, text = line.partition("=")
            if not name.strip() or not text.strip():
                raise ValidationError("Enter one claim=value a line.")
            claims.setdefault(name.strip(), []).append(text.strip())
        return claims

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare claims, and not their spelling."""
        try:
            return bool((initial or {}) != self.to_python(data))
        except ValidationError:
            return True


class OidcProviderForm(ModelForm):
    """A provider of OpenID Connect; its secret is only ever written."""

    client_secret = _password_field(
        "Client secret", "Empty: it stays. None is needed where Keeper signs by its key."
    )
    required_claims = ClaimLines(
        required=False,
        help_text="Who may sign in: one claim=value a line, such as hd=example.com. Of several lines of one "
        "claim, one has to fit.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not self.instance.pk:
            self.fields["client_secret"].help_text = "None is needed where Keeper signs by its key."


class ScimClientForm(ModelForm):
    """A SCIM client; its people sign in through one of the identity providers, or none."""

    issuer = forms.ChoiceField(
        label="Sign-in",
        required=False,
        choices=lambda: [("", "None: with a password"), *sign_ins().items()],
        help_text="Identity provider through which its people sign in. The first sign-in of a person must "
        "prove the external ID; until then nobody else can use the account. Whoever connected this "
        "sign-in to another account is disconnected and signed out, and nobody connects it any more. It "
        "never changes: to link another one, remove the client and add one by another name.",
    )

    class Meta:
        error_messages: ClassVar[dict[str, dict[str, str]]] = {
            "name": {
                "unique": "A SCIM client has this name, or had it and was removed: the audit log and its "
                "groups keep it. Choose another one, such as Okta 2."
            }
        }


class EventSinkForm(ModelForm):
    """A sink of events; its credential is only ever written."""

    credential = _password_field(
        "Credential",
        "Token of a Splunk collector, bearer token of an https sink, ACCESS_KEY_ID:SECRET of S3. Empty: it "
        "stays.",
    )


class SamlGroupMappingForm(ModelForm):
    def clean(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().clean() or self.cleaned_data
        if not {"role", "environment", "prefix"} <= fields.keys():
            return fields
        if fields["role"] not in INSTALLATION_ROLES and fields["environment"] is None:
            self.add_error("environment", "This role is held in an environment: choose one.")
        if fields["role"] in INSTALLATION_ROLES and (fields["environment"] or fields["prefix"]):
            self.add_error(
                "environment", "This role is held in the installation: leave environment and prefix empty."
            )
        return fields
