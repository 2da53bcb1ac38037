"""The acts on people, tokens, approvals, requests for access, trusts, recipients and group mappings.

An act on a group mapping shows who would be changed, before the mapping is made or removed.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from django import forms
from django.conf import settings
from django.contrib.auth.models import Group

from audit_app.events.actions import Action
from core.workers import nudge
from environments_app import event_sinks
from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.approvals import applying, history
from environments_app.approvals import service as approvals
from environments_app.approvals.access_proposals import duration_words
from environments_app.authentication import lockout, second_factor
from environments_app.authorization.act import Act, Shown, environment_of
from environments_app.authorization.policy import Principal
from environments_app.environments import groups, memberships
from environments_app.forms.environment import MemberForm, RotateForm, TokenForm
from environments_app.forms.people import Added, NewPersonForm, PersonForm, add_person
from environments_app.models import (
    AccessRequest,
    Approval,
    ApprovalState,
    DeliveryState,
    Environment,
    OidcProvider,
    ProvisionedUser,
    Role,
    SamlGroupMapping,
    ScimClient,
    ServiceToken,
    TokenRole,
    User,
)
from environments_app.notifications.recipients import (
    add_recipient,
    remove_addressee,
    retry_delivery,
    try_addressee,
)
from environments_app.reviews import service as reviews
from environments_app.sessions.service import end_other_sessions, revoke_token
from environments_app.single_sign_on.group_mapping import Change, changed_by_mapping, changed_by_removal
from environments_app.tokens import rotation as token_rotation
from environments_app.tokens import scim_clients
from environments_app.tokens import service as tokens
from environments_app.trusts import service as trusts
from environments_app.users import accounts
from environments_app.users.handing_over import hand_over
from environments_app.users.password_links import SENDING, invitation_of, invite, withdraw_invitation


class NetworksForm(forms.Form):
    cidrs = TokenForm.base_fields["cidrs"]


class RoleForm(forms.Form):
    role = PersonForm.base_fields["role"]


class GroupForm(forms.Form):
    group = forms.ModelChoiceField(queryset=Group.objects.order_by("name"))


class HandOverForm(forms.Form):
    client = forms.ModelChoiceField(queryset=ScimClient.objects.filter(removed_at=None), label="SCIM client")
    external_id = forms.CharField(
        label="External ID",
        max_length=255,
        help_text="The provider's permanent name of this person, exactly: Okta's user ID, Entra's object ID.",
    )
    user_name = forms.CharField(
        label="userName", max_length=255, help_text="The person's userName at the provider."
    )


class GrantForm(MemberForm):
    username = None  # type: ignore[assignment]  # Django's way to drop an inherited field
    environment = forms.ModelChoiceField(queryset=Environment.objects.order_by("position", "name"))
    field_order = ("environment", "role", "prefix", "minutes", "expires_at")


class IssueForm(TokenForm):
    role = forms.ChoiceField(choices=[*Role.choices, (TokenRole.ADMIN.value, TokenRole.ADMIN.label)])
    environment = forms.ModelChoiceField(
        queryset=Environment.objects.order_by("position", "name"),
        required=False,
        help_text="Leave blank for a token that administers the installation, with the role Administrator.",
    )
    field_order = ("name", "environment", "role", "prefix", "cidrs", "expires_at")


def _shown_password(created: Added) -> Shown:
    user, password = created.account, created.password
    if invitation_of(user):
        return Shown(lines=(f"Invitation sent to {user.email}.", *created.access))
    sign_in = "signs in with this temporary password" if password else "signs in by single sign-on"
    return Shown(lines=(f"{user.username} {sign_in}.", *created.access), once=password or "")


def _rotate(*, actor: Principal, token: ServiceToken, overlap_hours: int) -> tuple[ServiceToken, str]:
    return token_rotation.rotate(actor=actor, token=token, overlap=timedelta(hours=overlap_hours))


def _shown_token(issued: tuple[ServiceToken, str]) -> Shown:
    token, text = issued
    ends = f"expires {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "without expiry"
    return Shown(lines=(f"{token.name}: {token.role}, {ends}.",), once=text)


def _shown_client_token(issued: tuple[ServiceToken, str]) -> Shown:
    shown = _shown_token(issued)
    return Shown(
        lines=(*shown.lines, f"Base URL: {settings.KEEPER_URL or 'https://KEEPER'}/scim/v2"), once=shown.once
    )


def _has_ended(token: ServiceToken) -> str:
    return "" if token.is_live else "It has ended."


def _why_not_handed_over(user: User) -> str:
    managed = ProvisionedUser.managing(user) if user.is_active else None
    return f"{managed.client.name} manages it already." if managed else ""


def _invite(*, actor: Principal, user: User) -> None:
    """Send an invitation to an account without a password; an earlier link ends."""
    invite(actor=actor, user=user)
    nudge(SENDING)


_user_act: Final = partial(Act, permission=Action.USER_CHANGE, takes="user")
HAND_OVER: Final = Act(
    name="hand_over",
    label="Hand over",
    permission=Action.SCIM_CLIENT_CHANGE,
    records=Action.USER_PROVISION,
    use_case=hand_over,
    against=_why_not_handed_over,
    takes="user",
    form=HandOverForm,
    confirmation="The SCIM client changes and ends the account from now on. Whoever proves the external "
    "ID at its identity provider signs in with it; the password ends then, and by another external ID than "
    "before, the earlier sign-in ends now. Sessions and personal tokens "
    "end now. An account without single sign-on shows names alone until managers confirm it; a role in "
    "the installation stays in force. Where the person has access, this is a break-glass act.",
    done="Handed over.",
    bulk=False,
)
USERS: Final = (
    Act(
        name="invite",
        label="Invite a person",
        permission=Action.USER_CREATE,
        use_case=add_person,
        form=NewPersonForm,
        confirmation="Keeper creates an account, and sends an invitation or shows a temporary password once.",
        done="Invited.",
        show=_shown_password,
    ),
    _user_act(
        name="role",
        label="Change role",
        use_case=accounts.update_user,
        form=RoleForm,
        confirmation="The role in the installation changes at once, for open sessions too.",
        done="Role changed.",
    ),
    _user_act(
        name="disable",
        on_page=True,
        label="Disable",
        use_case=accounts.disable_user,
        against=lambda user: "" if user.is_active else "It is disabled already.",
        confirmation="All their sessions end at once, and they cannot sign in until an administrator enables "
        "them again. One-time links that they made and their requests stay, and work again then. For "
        "somebody who leaves, use Offboarding: it ends these, and marks what they know.",
        done="Account disabled.",
        dangerous=True,
    ),
    _user_act(
        name="enable",
        on_page=True,
        label="Enable",
        use_case=partial(accounts.update_user, is_active=True),
        against=lambda user: "It is enabled already." if user.is_active else "",
        confirmation="They can sign in again, with the access that they had.",
        done="Account enabled.",
    ),
    _user_act(
        name="reset_mfa",
        on_page=True,
        label="Reset two-factor authentication",
        use_case=second_factor.remove,
        against=lambda user: "" if user.second_factor else "It is not set up.",
        confirmation="For a person who lost the device. Their access to values is suspended until a manager "
        "confirms it.",
        done="Two-factor authentication reset.",
        dangerous=True,
    ),
    _user_act(
        name="end_sessions",
        records=Action.SESSION_END,
        on_page=True,
        label="End sessions",
        use_case=end_other_sessions,
        confirmation="All their sessions and personal tokens end at once. They can sign in again.",
        done="Signed out everywhere.",
    ),
    _user_act(
        name="invite",
        label="Send an invitation",
        use_case=_invite,
        on_page=True,
        done="Invitation on its way.",
    ),
    _user_act(
        name="invite_withdraw",
        label="Withdraw the invitation",
        use_case=withdraw_invitation,
        on_page=True,
        done="Invitation withdrawn.",
    ),
    _user_act(
        name="unlock",
        label="Unlock",
        use_case=lockout.unlock,
        confirmation="Failed attempts to sign in are forgotten, so that the person can try again now. "
        "The password stays as it is.",
        done="Unlocked.",
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
        done="Added.",
    ),
    HAND_OVER,
)
GROUPS: Final = (
    Act(
        name="grant",
        label="Grant access",
        permission=Action.MEMBER_GRANT,
        use_case=memberships.grant,
        takes="group",
        form=GrantForm,
        confirmation="All members of the group hold the role at once, and so does everyone who joins later. "
        "Where it reads values and you are no manager, this is a break-glass act.",
        done="Access granted.",
        bulk=False,
    ),
)
TOKENS: Final = (
    Act(
        name="issue",
        label="Issue a token",
        permission=Action.TOKEN_ISSUE,
        use_case=tokens.issue,
        form=IssueForm,
        confirmation="Keeper shows the token once and stores a hash of it. A token that reads values is a "
        "break-glass act where you are no manager: it is recorded, and managers are alerted.",
        done="Issued.",
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
        done="Rotated.",
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
        on_page=True,
        confirmation="Programs that use it are refused from the next request on. A revoked token cannot be "
        "restored; a new one can be issued.",
        done="Token revoked.",
        named=lambda token: str(token.name),
        dangerous=True,
    ),
)
PERSONAL_TOKENS: Final = (
    Act(
        name="revoke",
        label="Revoke",
        permission=Action.TOKEN_REVOKE,
        use_case=revoke_token,
        takes="token",
        against=lambda token: "It is revoked already." if token.revoked_at else "",
        confirmation="Programs that use it are refused from the next request on. Its person can issue "
        "another one.",
        done="Token revoked.",
        named=lambda token: f"{token.name} of {token.user.username}",
        dangerous=True,
    ),
)
_client_act: Final = partial(
    Act,
    permission=Action.SCIM_CLIENT_CHANGE,
    takes="client",
    against=lambda client: "It was removed." if client.removed_at else "",
    bulk=False,
)
SCIM_CLIENTS: Final = (
    _client_act(
        name="issue",
        label="Issue a token",
        records=Action.TOKEN_ISSUE,
        use_case=scim_clients.issue_client_token,
        form=NetworksForm,
        confirmation="Keeper shows the token once. Whoever holds it makes and ends accounts of people; it "
        "opens nothing else. An earlier token stays valid until it is revoked.",
        done="Issued.",
        show=_shown_client_token,
    ),
    _client_act(
        name="remove",
        label="Remove",
        use_case=scim_clients.remove_client,
        confirmation="Its tokens end at once. The accounts that it made stay as they are, and first sign-ins "
        "are no longer bound to it. Another client can take its place.",
        done="Removed.",
        dangerous=True,
    ),
)
TEST_MESSAGE: Final = Act(
    name="test",
    label="Send a test",
    permission=Action.NOTIFICATION_TEST,
    use_case=try_addressee,
    takes="addressee",
    place=environment_of,
    summary="Send a test message to a recipient",
    on_page=True,
    confirmation="A worker sends a test message. The list of deliveries shows whether it arrived.",
    done="Test message queued. The result appears below within a minute.",
)
RETRY_MESSAGE: Final = Act(
    name="retry",
    label="Try again",
    permission=Action.NOTIFICATION_RETRY,
    use_case=retry_delivery,
    takes="delivery",
    place=environment_of,
    against=lambda delivery: "" if delivery.state == DeliveryState.FAILED else f"It is {delivery.state}.",
    on_page=True,
    confirmation="A worker sends the message again within a minute, and repeats it while it fails.",
    done="Trying again. The result appears here within a minute.",
    named=lambda delivery: str(delivery.subject),
)
MEMBERSHIPS: Final = (
    Act(
        name="revoke",
        label="Revoke",
        permission=Action.MEMBER_REVOKE,
        use_case=memberships.revoke_membership,
        takes="membership",
        place=environment_of,
        on_page=True,
        done="Access revoked.",
    ),
)
REMOVE_ADDRESSEE: Final = Act(
    name="remove",
    label="Remove",
    permission=Action.NOTIFICATION_REMOVE,
    use_case=remove_addressee,
    takes="addressee",
    place=environment_of,
    on_page=True,
    done="Removed {row}.",
)
FETCH_KEYS: Final = Act(
    name="fetch_keys",
    label="Fetch keys now",
    permission=Action.TRUST_CHANGE,
    use_case=trusts.fetch_keys_now,
    takes="trust",
    place=environment_of,
    summary="Fetch the keys of a trust now",
    about="Fetch the keys of the issuer, at most once a minute. A key that it has removed is accepted no "
    "longer, a new one at once. If it serves no key, none is accepted.",
    confirmation="Keeper fetches the keys of the issuer. Tokens that a removed key has signed are refused.",
    on_page=True,
    done="Keys fetched.",
    named=lambda trust: str(trust.name),
)
TRUSTS: Final = (
    Act(
        name="disable",
        label="Disable",
        permission=Action.TRUST_CHANGE,
        use_case=partial(trusts.change, enabled=False),
        takes="trust",
        place=environment_of,
        against=lambda trust: "It is disabled already." if trust.disabled_at else "",
        confirmation="Workloads can no longer sign in by it, and the tokens that it issued stop working.",
        done="Trust disabled. Its tokens no longer work.",
        named=lambda trust: str(trust.name),
        dangerous=True,
    ),
    FETCH_KEYS,
    Act(
        name="delete",
        label="Delete",
        permission=Action.TRUST_DELETE,
        use_case=trusts.delete,
        takes="trust",
        place=environment_of,
        on_page=True,
        done="Trust deleted. Its tokens no longer work.",
    ),
)
_request_act: Final = partial(Act, takes="request", place=environment_of)
ACCESS_REQUESTS: Final = (
    _request_act(
        name="grant",
        label="Grant",
        permission=Action.MEMBER_GRANT,
        use_case=decisions.approve,
        summary="Grant access",
        about="You can't grant more than was requested. "
        "Only another person may, who manages the environment.",
    ),
    _request_act(
        name="refuse",
        label="Refuse",
        permission=Action.ACCESS_DECIDE,
        use_case=decisions.reject,
        summary="Refuse access",
        about="Refuse it. The requester is notified, which reveals that the environment exists.",
        on_page=True,
        done="Request rejected.",
    ),
    _request_act(
        name="withdraw",
        label="Withdraw",
        permission=Action.ACCESS_WITHDRAW,
        use_case=access_requests.withdraw,
        summary="Withdraw a request for access",
        on_page=True,
        done="Request canceled.",
    ),
)
_review_act: Final = partial(Act, takes="review", on_page=True, in_admin=False)
REVIEWS: Final = (
    _review_act(
        name="sign",
        label="Sign off",
        permission=Action.REVIEW_SIGN,
        use_case=reviews.sign,
        summary="Sign off a review of access",
        about="Acknowledge that what remains is appropriate, as an operator who decided nothing.",
        done="Signed off.",
    ),
    _review_act(
        name="cancel",
        label="Cancel the review",
        permission=Action.REVIEW_START,
        records=Action.REVIEW_CANCEL,
        use_case=reviews.cancel,
        summary="Cancel a review of access",
        about="What was ended stays ended.",
        done="Review canceled.",
        dangerous=True,
    ),
)
_approval_act: Final = partial(Act, permission=Action.APPROVAL_DECIDE, takes="approval", place=environment_of)
APPROVALS: Final = (
    _approval_act(
        name="refuse",
        label="Refuse",
        use_case=approvals.reject,
        summary="Refuse",
        on_page=True,
        done="Request rejected.",
    ),
    _approval_act(
        name="withdraw",
        label="Withdraw",
        records=Action.APPROVAL_WITHDRAW,
        use_case=approvals.withdraw,
        summary="Withdraw a request for approval",
        on_page=True,
        done="Request canceled.",
    ),
    _approval_act(
        name="comment",
        label="Comment",
        records=Action.APPROVAL_COMMENT,
        use_case=history.comment,
        on_page=True,
        done="Comment added.",
    ),
    _approval_act(
        name="explain",
        label="Save",
        records=Action.APPROVAL_ASK,
        use_case=approvals.explain,
        on_page=True,
        done="Request saved.",
    ),
)


class CommentForm(forms.Form):
    comment = forms.CharField(required=False, max_length=approvals.MAX_COMMENT)


def _undecided(approval: Approval) -> str:
    waits = approval.is_live and approval.state == ApprovalState.PENDING
    return "" if waits else f"It is {approval.shown_state}."


def _proposed(actor: Principal, approval: Approval) -> Sequence[str]:
    """Return what a request would do, without values, and why this person may not decide about it."""
    changes = [
        f"{line['label']}: {line['before'] or '-'} → {line['after'] or '-'}" for line in approval.summary
    ]
    reason = [f"Reason: {approval.reason}"] if approval.reason else []
    against = [approvals.obstacle(actor, approval), approvals.changed_since(approval)]
    asked = f"{approval.requester_name} asks to {approval.asked_act_and_place}."
    return [asked, *changes, *reason, *filter(None, against)]


def _shown_approval(applied: applying.Applied) -> Shown:
    if applied.reason:
        return Shown(lines=(f"It was approved, but not applied: {applied.reason}",), ok=False)
    if applied.done:
        return Shown(lines=(f"It was applied. {applied.sentence}".strip(),))
    more = applied.approval.state == ApprovalState.PENDING
    return Shown(lines=("It needs more approvals." if more else "The requester can now apply it.",))


def _unanswered(request: AccessRequest) -> str:
    return "" if request.is_open else f"It is {request.shown_state}."


def _asked_access(_actor: Principal, request: AccessRequest) -> Sequence[str]:
    where = f" under {request.prefix}/" if request.prefix else ""
    lasting = duration_words(request.minutes) if request.minutes is not None else "no expiry"
    line = f"{request.get_role_display()} in {request.environment_name}{where}, {lasting}."
    return [line, f"Reason: {request.reason}"] if request.reason else [line]


# What an operator decides in the admin; the pages and the API have forms of their own for it.
APPROVAL_DECISIONS: Final = (
    _approval_act(
        name="approve",
        label="Approve",
        use_case=applying.approve_and_apply,
        against=_undecided,
        foresee=_proposed,
        form=CommentForm,
        confirmation="You are the second person for this change. Keeper applies it at once, unless its "
        "requester holds it.",
        done="Approved.",
        show=_shown_approval,
        bulk=False,
    ),
    _approval_act(
        name="reject",
        label="Reject",
        use_case=approvals.reject,
        against=_undecided,
        foresee=_proposed,
        form=CommentForm,
        confirmation="The requester is told, with your comment. Nothing is changed.",
        done="Request rejected.",
        dangerous=True,
        bulk=False,
    ),
)
ACCESS_DECISIONS: Final = (
    _request_act(
        name="approve",
        label="Grant",
        permission=Action.MEMBER_GRANT,
        use_case=decisions.approve,
        against=_unanswered,
        foresee=_asked_access,
        form=CommentForm,
        confirmation="The person has the access at once, as requested. Where it reads values and you are no "
        "manager, this is a break-glass act. The page of the request can grant less.",
        done="Access granted.",
        bulk=False,
    ),
    _request_act(
        name="reject",
        label="Reject",
        permission=Action.MEMBER_GRANT,
        use_case=decisions.reject,
        against=_unanswered,
        foresee=_asked_access,
        form=CommentForm,
        confirmation="The requester is told, which reveals that the environment exists.",
        done="Request rejected.",
        dangerous=True,
        bulk=False,
    ),
)


class RecipientForm(forms.Form):
    environment = forms.ModelChoiceField(queryset=Environment.objects.order_by("position", "name"))
    email = forms.EmailField(label="Email address", max_length=254)


ADD_RECIPIENT: Final = Act(
    name="add_recipient",
    label="Add a recipient",
    permission=Action.NOTIFICATION_CREATE,
    use_case=add_recipient,
    form=RecipientForm,
    confirmation="The address gets the alerts of the environment: failed syncs and rotations, requests, "
    "and what expires. They name secrets and hold no value.",
    done="Recipient added.",
)


_REST: Final = "Keeper learns who is in a group at each sign-in: others in it change at their next one."


EVENT_SINKS: Final = (
    Act(
        name="test",
        label="Test",
        permission=Action.SINK_TEST,
        use_case=event_sinks.try_sink,
        takes="sink",
        confirmation="Keeper records an event and sends what the sink lacks, up to this event.",
        done="Tested.",
        show=lambda shown: shown,
        bulk=False,
    ),
)
SINK_STATES: Final = (
    Act(
        name="skip_event",
        label="Skip the refused event",
        permission=Action.SINK_SKIP,
        use_case=event_sinks.skip_event,
        takes="sink",
        against=lambda sink: "" if sink.refused_stream else "It refuses no event.",
        confirmation="The sink never gets this event. Keeper records that, and sends what waits behind it.",
        foresee=lambda _actor, sink: [f"Event {sink.refused_stream} #{sink.refused_sequence}: {sink.error}"],
        done="Skipped. What waits behind it is sent.",
        dangerous=True,
        bulk=False,
    ),
)


class MappingForm(forms.Form):
    provider = forms.ModelChoiceField(
        queryset=OidcProvider.objects.order_by("slug"),
        required=False,
        help_text="Leave blank for the SAML identity provider.",
    )
    group = forms.CharField(max_length=200)
    environment = forms.ModelChoiceField(
        queryset=Environment.objects.order_by("position", "name"),
        required=False,
        help_text="Leave blank for a role in the installation.",
    )
    role = forms.ChoiceField(choices=SamlGroupMapping._meta.get_field("role").choices or ())
    # A field is no class attribute once the class is made: Form.prefix is not touched.
    prefix = forms.CharField(required=False, max_length=512)  # type: ignore[assignment]  # not Form.prefix


def _shown_changes(changes: Sequence[Change]) -> Shown:
    lines = [_line(change) for change in changes]
    return Shown(lines=[*(lines or ["It changes no one whom Keeper knows to be in the group."]), _REST])


def _line(change: Change) -> str:
    roles = f"{change.before or 'no access'} now, {change.after or 'no access'} after the next sign-in"
    others = f"; also given access there by {', '.join(change.by_others)}" if change.by_others else ""
    return f"{change.username}: {roles}{others}."


MAPPINGS: Final = (
    Act(
        name="preview",
        label="Who would this change?",
        permission=Action.SAML_MAPPING_CHANGE,
        use_case=changed_by_mapping,
        form=MappingForm,
        confirmation="Describe a mapping. Keeper lists the people whose access it would change; nothing is "
        "stored.",
        done="These people would change.",
        show=_shown_changes,
    ),
    Act(
        name="removal",
        label="Who would its removal change?",
        permission=Action.SAML_MAPPING_CHANGE,
        use_case=changed_by_removal,
        takes="mapping",
        confirmation="Keeper lists the people who have access by this mapping; nothing is changed.",
        done="These people would change.",
        show=_shown_changes,
        bulk=False,
    ),
)
