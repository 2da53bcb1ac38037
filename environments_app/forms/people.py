"""The forms of the page of people; the rules are in the use cases."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django import forms
from django.db.models import TextChoices

from environments_app.authorization.policy import Principal
from environments_app.environments.memberships import grant
from environments_app.errors import ApprovalNeeded
from environments_app.forms.environment import MEMBER_ROLES_HELP, PATH_HELP, offer_choices
from environments_app.forms.fields import path_field
from environments_app.models import Environment, Role, User, UserRole
from environments_app.names import MAX_USERNAME
from environments_app.users import accounts
from environments_app.users.invitations import Offer, check_offer
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
        required=False,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off"}),
        help_text="Leave blank to take the part of the email address before the @.",
    )
    environments = forms.MultipleChoiceField(
        label="Access to",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="In a protected environment, a second person decides.",
    )
    access = forms.ChoiceField(
        label="Role there",
        choices=Role.choices,
        required=False,
        initial=Role.READER,
        help_text=MEMBER_ROLES_HELP,
    )
    prefix = path_field(PATH_HELP)  # type: ignore[assignment]  # not Form.prefix
    sign_in = forms.ChoiceField(label="Signs in with", choices=SignInWay.choices, widget=forms.RadioSelect)
    field_order = ("email", "environments", "access", "prefix", "sign_in", "username", "display_name", "role")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Administrators see all of them.
        rows = Environment.objects.order_by("position", "name")
        environments = list(rows.values_list("name", flat=True))
        self.fields["role"].initial = UserRole.USER
        self.fields["role"].label = "Role in Keeper itself"
        offer_choices(self, "environments", [(name, name) for name in environments])
        ways = [way for way in SignInWay if way != SignInWay.INVITATION or can_send()]
        offer_choices(self, "sign_in", [(way.value, way.label) for way in ways])
        self.fields["sign_in"].initial = ways[0].value
        if SignInWay.INVITATION in ways:
            self.fields["email"].widget.attrs["aria-required"] = "true"
        if not environments:
            del self.fields["environments"], self.fields["access"], self.fields["prefix"]

    def clean_access(self) -> str:
        return self.cleaned_data["access"] or Role.READER

    def clean(self) -> dict[str, Any]:
        """Name the account by its address if no other name was entered."""
        fields: dict[str, Any] = super().clean() or self.cleaned_data
        if "username" in fields and "email" in fields:
            fields["username"] = fields["username"] or fields["email"].partition("@")[0].lower()
            if not fields["username"]:
                self.add_error("username", "Enter a username, or an email address.")
        return fields


class Added(NamedTuple):
    """A new account: its temporary password if it has one, and in words what access it has or waits for."""

    account: User
    password: str | None
    access: Sequence[str]


def add_person(
    *,
    actor: Principal,
    sign_in: str,
    environments: Sequence[str] = (),
    access: str = Role.READER,
    prefix: str = "",
    **fields: Any,
) -> Added:
    """Create an account as the form states.

    An invitation gives access when it is accepted. Another account has it at once, save where a second
    person has to approve it. Raises as `create_user`, `invite_new` and `check_offer` do.
    """
    offered: dict[str, Any] = {"environments": environments, "access": access, "prefix": prefix}
    offers = check_offer(actor=actor, role=fields["role"], **offered)
    if sign_in == SignInWay.INVITATION:
        account = invite_new(actor=actor, **offered, **fields)
        return Added(account, None, [_promised(offer) for offer in offers])
    password = accounts.new_password() if sign_in == SignInWay.PASSWORD else None
    account = accounts.create_user(actor=actor, password=password, **fields)
    return Added(account, password, [_given(actor, account, offer) for offer in offers])


def _promised(offer: Offer) -> str:
    return f"{offer.words}, once a second person approves it" if offer.obstacle else offer.words


def _given(actor: Principal, account: User, offer: Offer) -> str:
    """Grant a role to a new account, or leave a request for approval; return which, in words."""
    try:
        grant(
            actor=actor,
            environment=offer.environment,
            user=account,
            role=offer.role,
            prefix=offer.prefix,
        )
    except ApprovalNeeded:
        return f"{offer.words}, once a second person approves it"
    return offer.words
