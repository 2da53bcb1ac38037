"""Rows of access: locked before a change, and held against what Keeper wrote.

A row is changed only if it is the one that Keeper wrote. The integrity checks hold the same for every row
that grants anything.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import Problem
from audit_app.integrity.row_authentication import AuthenticatedRow, verified_rows
from audit_app.integrity.row_state import check_rows
from environments_app.errors import InvalidField, Invisible, Tampered
from environments_app.models import (
    AccessConfirmation,
    AccessRequest,
    Approval,
    ApprovalEntry,
    ConnectedSignIn,
    Departure,
    DeviceSignIn,
    Environment,
    EventSink,
    GroupMember,
    Membership,
    OidcClientKey,
    OidcProvider,
    Passkey,
    PasswordLink,
    PersonalToken,
    ProgramRelease,
    ProvisionedGroup,
    ProvisionedUser,
    Recipient,
    Review,
    ReviewItem,
    SamlAssertion,
    SamlGroupMapping,
    SamlProvider,
    ScimClient,
    SecondFactor,
    ServiceToken,
    Trust,
    User,
)

Row = TypeVar("Row", bound=AuthenticatedRow)


@contextmanager
def lock_authentic(
    row: Row, *, beside: Collection[int] = (), first: Callable[[], None] = lambda: None
) -> Iterator[Row]:
    """Yield the row as it is stored, locked until the block's transaction ends.

    `beside` are the ids of others on which the change depends. They are locked with it, all in the
    order of ids: of two who change each other, one waits, and neither for what the other holds. `first` locks
    and asks, in the same transaction, what goes before the row.
    Raises Tampered if it was changed outside Keeper: saving it would make the forgery genuine; Invisible if
    it is gone by now.
    """
    try:
        with transaction.atomic():
            first()
            yield _locked(row, beside)
    except Tampered:
        # Outside the transaction, which was rolled back.
        verified_rows([row])
        raise


def _locked(row: Row, beside: Collection[int]) -> Row:
    rows: models.QuerySet[Row] = models.QuerySet(type(row)).select_for_update()
    if beside:
        list(rows.filter(pk__in={row.pk, *beside}).order_by("pk").values_list("pk"))
    stored = rows.filter(pk=row.pk).first()
    if stored is None:
        raise Invisible
    require_authentic(stored)
    return stored


def require_authentic(row: AuthenticatedRow) -> None:
    """Raise Tampered if a row is not as Keeper wrote it."""
    if not row.is_authentic():
        raise Tampered("The stored row was changed outside Keeper; it can only be removed or replaced.")


def set_fields(row: models.Model, changes: Mapping[str, Any]) -> list[str]:
    """Set attributes and return the names of those that differ from before.

    Raises InvalidField if a value breaks the rules of its field.
    """
    changed = [name for name, value in changes.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, changes[name])
    clean_fields(row, changed)
    return changed


def clean_fields(row: models.Model, names: list[str]) -> None:
    """Validate the named fields. Raises InvalidField for the first one that is wrong.

    A field of one line takes no line break, control character or change of direction: it would read as
    something else on a page or in a mail.
    """
    for name in names:
        value, field = getattr(row, name), row._meta.get_field(name)
        if isinstance(field, models.CharField) and isinstance(value, str) and not value.isprintable():
            raise InvalidField(name, "Enter one line of printable characters.")
    others = [field.name for field in row._meta.fields if field.name not in names]
    try:
        row.clean_fields(exclude=others)
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        raise InvalidField(name, messages[0]) from error


def require_future(moment: datetime | None) -> datetime | None:
    """Return an expiry unchanged. Raises InvalidField if it lies in the past or names no zone."""
    if moment is not None and (timezone.is_naive(moment) or moment <= timezone.now()):
        raise InvalidField("expires_at", "Enter a time in the future, with a time zone.")
    return moment


def isoformat(moment: datetime | None) -> str | None:
    """Return a time as the audit log writes it in details."""
    return moment.isoformat() if moment else None


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
    (ConnectedSignIn, ("user",)),
    (Approval, ("environment",)),
    (ApprovalEntry, ("approval",)),
    (ProgramRelease, ("environment",)),
    (AccessRequest, ("environment", "requester", "decided_by")),
    (Departure, ("user",)),
    (Review, ()),
    (ReviewItem, ("review",)),
    (SamlGroupMapping, ("environment", "provider")),
    (OidcProvider, ()),
    (OidcClientKey, ()),
    (SamlProvider, ()),
    (SamlAssertion, ()),
    (ScimClient, ()),
    (ProvisionedUser, ("client", "user")),
    (ProvisionedGroup, ("client", "group")),
    (EventSink, ()),
)


# The events that record the present state of these rows.
_CHANGES: Final = (
    Action.RESTORE_SUSPEND, Action.RESTORE_RELEASE, Action.ENVIRONMENT_CREATE, Action.ENVIRONMENT_UPDATE,
    Action.ENVIRONMENT_DELETE, Action.ENVIRONMENT_RESTORE, Action.ENVIRONMENT_PURGE,
    Action.USER_CREATE, Action.USER_CHANGE, Action.SECOND_FACTOR_CHANGE, Action.GROUP_CHANGE,
    Action.SAML_MAPPING_CHANGE, Action.SAML_METADATA_CHANGE, Action.SSO_PROVIDER_CHANGE,
    Action.SCIM_CLIENT_CHANGE, Action.USER_PROVISION, Action.SINK_CHANGE,
    Action.MEMBER_GRANT, Action.MEMBER_CHANGE,
    Action.MEMBER_REVOKE, Action.MEMBER_EXPIRE, Action.ACCESS_CONFIRM, Action.ACCESS_ASK,
    Action.ACCESS_DECIDE, Action.ACCESS_WITHDRAW, Action.ACCESS_EXPIRE, Action.TOKEN_ISSUE,
    Action.TOKEN_CHANGE, Action.TOKEN_REVOKE, Action.TRUST_CREATE, Action.TRUST_CHANGE,
    Action.TRUST_DELETE, Action.TRUST_SIGN_IN, Action.TRUST_PURGE, Action.NOTIFICATION_CREATE,
    Action.NOTIFICATION_REMOVE, Action.APPROVAL_ASK, Action.APPROVAL_DECIDE, Action.APPROVAL_WITHDRAW,
    Action.APPROVAL_CARRY_OUT, Action.APPROVAL_EXPIRE, Action.REVIEW_START, Action.REVIEW_DECIDE,
    Action.REVIEW_SIGN, Action.REVIEW_CANCEL, Action.SECRET_RELEASE, Action.SECRET_RELEASE_END,
)  # fmt: skip


def access_rows() -> Iterator[Problem]:
    """Yield each row that grants access or receives notifications (users, tokens, …) and is not genuine.

    That is a row which Keeper did not write, or which contradicts its newest event.
    """
    for model, related in _KINDS:
        rows: QuerySet[AuthenticatedRow] = QuerySet(model).prefetch_related(*related)
        yield from check_rows(rows, _EDITED, _CHANGES, of_the_rows=False)
