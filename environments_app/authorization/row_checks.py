"""Integrity checks: whether the rows that grant anything are those that Keeper wrote."""

from collections.abc import Iterator
from typing import Any, Final

from django.db.models import QuerySet

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.integrity.row_checks import check_rows
from environments_app.models import (
    AccessConfirmation,
    AccessRequest,
    Approval,
    ApprovalEntry,
    DeviceSignIn,
    Environment,
    GroupMember,
    Membership,
    Passkey,
    PasswordLink,
    PersonalToken,
    Recipient,
    SamlAssertion,
    SamlGroupMapping,
    SamlProvider,
    SecondFactor,
    ServiceToken,
    Trust,
    User,
)

_EDITED: Final = "the row was not written by Keeper, and grants nothing"
_KINDS: tuple[tuple[type[AuthenticatedRow], tuple[Any, ...]], ...] = (
    (Environment, ()),
    (User, ()),
    (GroupMember, ("user", "group")),
    (Membership, ("environment", "user", "group")),
    (ServiceToken, ("environment",)),
    (Trust, ("environment",)),
    (PersonalToken, ("user", "environment")),
    (DeviceSignIn, ()),
    (PasswordLink, ("user",)),
    (Recipient, ("environment",)),
    (AccessConfirmation, ("environment", "user")),
    (SecondFactor, ("user",)),
    (Passkey, ("user",)),
    (Approval, ("environment",)),
    (ApprovalEntry, ("approval",)),
    (AccessRequest, ("environment", "requester", "decided_by")),
    (SamlGroupMapping, ("environment",)),
    (SamlProvider, ()),
    (SamlAssertion, ()),
)


# The events that record the present state of these rows.
_CHANGES: Final = (
    Action.RESTORE_SUSPEND,
    Action.RESTORE_RELEASE,
    Action.ENVIRONMENT_CREATE,
    Action.ENVIRONMENT_UPDATE,
    Action.USER_CREATE,
    Action.USER_CHANGE,
    Action.SECOND_FACTOR_CHANGE,
    Action.GROUP_CHANGE,
    Action.SAML_MAPPING_CHANGE,
    Action.SAML_METADATA_CHANGE,
    Action.MEMBER_GRANT,
    Action.MEMBER_CHANGE,
    Action.MEMBER_REVOKE,
    Action.MEMBER_EXPIRE,
    Action.ACCESS_CONFIRM,
    Action.ACCESS_ASK,
    Action.ACCESS_DECIDE,
    Action.ACCESS_WITHDRAW,
    Action.ACCESS_EXPIRE,
    Action.TOKEN_ISSUE,
    Action.TOKEN_CHANGE,
    Action.TOKEN_REVOKE,
    Action.TRUST_CREATE,
    Action.TRUST_CHANGE,
    Action.TRUST_DELETE,
    Action.TRUST_SIGN_IN,
    Action.TRUST_PURGE,
    Action.NOTIFICATION_CREATE,
    Action.NOTIFICATION_REMOVE,
    Action.APPROVAL_ASK,
    Action.APPROVAL_DECIDE,
    Action.APPROVAL_WITHDRAW,
    Action.APPROVAL_CARRY_OUT,
    Action.APPROVAL_EXPIRE,
)


def access_rows() -> Iterator[Problem]:
    """Yield each row that grants access or receives notifications (users, tokens, …) and is not genuine.

    That is a row which Keeper did not write, or which contradicts its newest event.
    """
    for model, related in _KINDS:
        rows: QuerySet[AuthenticatedRow] = QuerySet(model).prefetch_related(*related)
        yield from check_rows(rows, _EDITED, _CHANGES, of_the_rows=False)
