"""Acts of operators on people, tokens, recipients and group mappings in the admin, beside the forms.

An act on a group mapping shows who would be changed, before the mapping is made or removed.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from django import forms
from django.contrib.auth.models import Group

from audit_app.events.actions import Action
from environments_app.admin.acts import Act, Shown, environment_of, offer
from environments_app.authentication import lockout, second_factor
from environments_app.authorization.policy import Principal
from environments_app.environments import groups, memberships
from environments_app.forms.environment import MemberForm, RotateForm, TokenForm
from environments_app.forms.people import NewPersonForm, PersonForm, add_person
from environments_app.models import Environment, Recipient, SamlGroupMapping, ServiceToken, TokenRole, User
from environments_app.notifications.recipients import try_addressee
from environments_app.saml.group_mapping import Change, changed_by_mapping, changed_by_removal
from environments_app.sessions.service import end_other_sessions
from environments_app.tokens import rotation as token_rotation
from environments_app.tokens import service as tokens
from environments_app.users import accounts
from environments_app.users.password_links import invitation_of


class RoleForm(forms.Form):
    role = PersonForm.base_fields["role"]


class GroupForm(forms.Form):
    group = forms.ModelChoiceField(queryset=Group.objects.order_by("name"))


class GrantForm(MemberForm):
    username = None  # type: ignore[assignment]  # Django's way to drop an inherited field
    group = None  # type: ignore[assignment]  # as above
    environment = forms.ModelChoiceField(queryset=Environment.objects.order_by("position", "name"))
    field_order = ("environment", "role", "prefix", "expires_at")


class IssueForm(TokenForm):
    role = forms.ChoiceField(choices=TokenRole.choices)
    environment = forms.ModelChoiceField(
        queryset=Environment.objects.order_by("position", "name"),
        required=False,
        help_text="Leave blank for a token that administers the installation, with the role Administrator.",
    )
    field_order = ("name", "environment", "role", "prefix", "cidrs", "expires_at")


def _shown_password(created: tuple[User, str | None]) -> Shown:
    user, password = created
    if invitation_of(user):
        return Shown(lines=(f"An invitation goes to {user.email}.",))
    sign_in = "signs in with this temporary password" if password else "signs in by single sign-on"
    return Shown(lines=(f"{user.username} {sign_in}.",), once=password or "")


def _rotate(*, actor: Principal, token: ServiceToken, overlap_hours: int) -> tuple[ServiceToken, str]:
    return token_rotation.rotate(actor=actor, token=token, overlap=timedelta(hours=overlap_hours))


def _shown_token(issued: tuple[ServiceToken, str]) -> Shown:
    token, text = issued
    ends = f"expires {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "without expiry"
    return Shown(lines=(f"{token.name}: {token.role}, {ends}.",), once=text)


def _has_ended(token: ServiceToken) -> str:
    return "" if token.is_live else "It has ended."


_user_act: Final = partial(Act, permission=Action.USER_CHANGE, takes="user")
_USERS: Final = (
    Act(
        name="invite",
        label="Invite a person",
        permission=Action.USER_CREATE,
        use_case=add_person,
        form=NewPersonForm,
        confirmation="Keeper creates an account, and sends an invitation or shows a temporary password once.",
        done="Invited",
        show=_shown_password,
    ),
    _user_act(
        name="role",
        label="Change role",
        use_case=accounts.update_user,
        form=RoleForm,
        confirmation="The role in the installation changes at once, for open sessions too.",
        done="Role changed",
    ),
    _user_act(
        name="disable",
        label="Disable",
        use_case=accounts.disable_user,
        against=lambda user: "" if user.is_active else "It is disabled already.",
        confirmation="All their sessions end at once, and they cannot sign in until an administrator enables "
        "them again. What they know stays as it is: an account's page leads to rotating that.",
        done="Disabled",
        dangerous=True,
    ),
    _user_act(
        name="enable",
        label="Enable",
        use_case=partial(accounts.update_user, is_active=True),
        against=lambda user: "It is enabled already." if user.is_active else "",
        confirmation="They can sign in again, with the access that they had.",
        done="Enabled",
    ),
    _user_act(
        name="reset_mfa",
        label="Reset two-factor authentication",
        use_case=second_factor.remove,
        against=lambda user: "" if user.second_factor else "It is not set up.",
        confirmation="For a person who lost the device. Their access to values is suspended until a manager "
        "confirms it.",
        done="Two-factor authentication reset",
        dangerous=True,
    ),
    _user_act(
        name="end_sessions",
        label="End sessions",
        use_case=end_other_sessions,
        confirmation="All their sessions end at once. They can sign in again.",
        done="Sessions ended",
    ),
    _user_act(
        name="unlock",
        label="Unlock",
        use_case=lockout.unlock,
        confirmation="Failed attempts to sign in are forgotten, so that the person can try again now. "
        "The password stays as it is.",
        done="Unlocked",
    ),
    Act(
        name="add_to_group",
        label="Add to a group",
        permission=Action.GROUP_CHANGE,
        use_case=groups.add_to_group,
        takes="user",
        form=GroupForm,
        confirmation="They hold every role of the group at once. Where a role reads values and you are no "
        "manager, this is a break-glass act: it is recorded, and managers are alerted.",
        done="Added",
    ),
)
_GROUPS: Final = (
    Act(
        name="grant",
        label="Grant access",
        permission=Action.MEMBER_GRANT,
        use_case=memberships.grant,
        takes="group",
        form=GrantForm,
        confirmation="All members of the group hold the role at once, and so does everyone who joins later. "
        "Where it reads values and you are no manager, this is a break-glass act.",
        done="Access granted",
        bulk=False,
    ),
)
_TOKENS: Final = (
    Act(
        name="issue",
        label="Issue a token",
        permission=Action.TOKEN_ISSUE,
        use_case=tokens.issue,
        form=IssueForm,
        confirmation="Keeper shows the token once and stores a hash of it. A token that reads values is a "
        "break-glass act where you are no manager: it is recorded, and managers are alerted.",
        done="Issued",
        show=_shown_token,
    ),
    Act(
        name="rotate",
        label="Rotate",
        permission=Action.TOKEN_ISSUE,
        use_case=_rotate,
        takes="token",
        place=environment_of,
        against=_has_ended,
        form=RotateForm,
        confirmation="Keeper issues a successor with the same permissions, and shows it once. "
        "The old token works until the overlap ends.",
        done="Rotated",
        show=_shown_token,
        named=lambda token: str(token.name),
        bulk=False,
    ),
    Act(
        name="revoke",
        label="Revoke",
        permission=Action.TOKEN_REVOKE,
        use_case=tokens.revoke,
        takes="token",
        place=environment_of,
        against=lambda token: "It is revoked already." if token.revoked_at else "",
        confirmation="Programs that use it are refused from the next request on. A revoked token cannot be "
        "restored; a new one can be issued.",
        done="Revoked",
        named=lambda token: str(token.name),
        dangerous=True,
    ),
)
TEST_MESSAGE: Final = Act(
    name="send_test",
    label="Send a test",
    permission=Action.NOTIFICATION_TEST,
    use_case=try_addressee,
    takes="addressee",
    place=environment_of,
    confirmation="A worker sends a test message. The list of deliveries shows whether it arrived.",
    done="Test queued",
)


_REST: Final = "Keeper learns who is in a group at each sign-in: others in it change at their next one."


class MappingForm(forms.Form):
    group = forms.CharField(max_length=200)
    environment = forms.ModelChoiceField(
        queryset=Environment.objects.order_by("position", "name"),
        required=False,
        help_text="Leave blank for a role in the installation.",
    )
    role = forms.ChoiceField(choices=SamlGroupMapping._meta.get_field("role").choices or ())
    # A field is no class attribute once the class is made: Form.prefix is not touched.
    prefix = forms.CharField(required=False, max_length=512)  # type: ignore[assignment]


def _shown_changes(changes: Sequence[Change]) -> Shown:
    lines = [_line(change) for change in changes]
    return Shown(lines=[*(lines or ["It changes no one whom Keeper knows to be in the group."]), _REST])


def _line(change: Change) -> str:
    roles = f"{change.before or 'no access'} now, {change.after or 'no access'} after the next sign-in"
    others = f"; also given access there by {', '.join(change.by_others)}" if change.by_others else ""
    return f"{change.username}: {roles}{others}."


_MAPPINGS: Final = (
    Act(
        name="preview",
        label="Who would this change?",
        permission=Action.SAML_MAPPING_CHANGE,
        use_case=changed_by_mapping,
        form=MappingForm,
        confirmation="Describe a mapping. Keeper lists the people whose access it would change; nothing is "
        "stored.",
        done="People",
        show=_shown_changes,
    ),
    Act(
        name="removal",
        label="Who would its removal change?",
        permission=Action.SAML_MAPPING_CHANGE,
        use_case=changed_by_removal,
        takes="mapping",
        confirmation="Keeper lists the people who have access by this mapping; nothing is changed.",
        done="People",
        show=_shown_changes,
        bulk=False,
    ),
)


def register() -> None:
    """Offer the acts, once the pages are registered."""
    offer(User, *_USERS)
    offer(Group, *_GROUPS)
    offer(ServiceToken, *_TOKENS)
    offer(Recipient, TEST_MESSAGE)
    offer(SamlGroupMapping, *_MAPPINGS)
