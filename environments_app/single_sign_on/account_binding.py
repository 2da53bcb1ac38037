"""Whom a provider vouches for: the account bound to (issuer, subject), made at the first sign-in."""

from dataclasses import dataclass
from typing import Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.policy import Principal
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import BadName, NameInUse, SignOnRefused
from environments_app.models import (
    OIDC_ISSUER,
    ProvisionedUser,
    ScimClient,
    ScimPreset,
    User,
)
from environments_app.names import validate_new_username
from environments_app.sessions.service import end_sessions
from environments_app.users import accounts
from environments_app.users.credentials import forget_others_credentials
from environments_app.users.password_backend import named_user

_MAX_DISPLAY_NAME: Final = 150


@dataclass(frozen=True, kw_only=True)
class Vouched:
    """A person as a provider describes them; only `issuer` and `subject` find an account.

    `protocol` begins the kinds of refusals: "saml" or "oidc".
    """

    protocol: str
    issuer: str
    subject: str
    username: str
    email: str
    display_name: str
    creates: bool
    # The permanent name of the person in the provider's directory, where that is not the subject.
    directory_id: str = ""


def subject_user(vouched: Vouched, *, actor: Principal) -> User:
    """Return the active account of a subject; a name or an e-mail address alone never matches.

    Raises SignOnRefused if it is disabled or not genuine, or if a new one cannot be made: above all if
    another account has the name.
    """
    user = (
        User.objects.bound_to(vouched.issuer, vouched.subject)
        or _provisioned_user(vouched, actor)
        or _new_user(vouched, actor)
    )
    require_open(user, vouched.protocol)
    if (user.saml_issuer, user.saml_name_id) != (vouched.issuer, vouched.subject):
        # Connected: the account is described by its first sign-in, or by its person.
        return user
    changes = {name: value for name, value in _profile(vouched).items() if value != getattr(user, name)}
    return accounts.update_user(actor=actor, user=user, **changes) if changes else user


def require_open(user: User, protocol: str) -> None:
    """Raise SignOnRefused unless an account is genuine and active."""
    if not verified_rows([user]) or not user.is_active:
        raise SignOnRefused(
            f"{protocol}-account", "Your account in Keeper is disabled. Ask an administrator."
        )


def _provisioned_user(vouched: Vouched, actor: Principal) -> User | None:
    """Bind the account that a SCIM client made for a subject; None if the provider has no SCIM client.

    The external ID decides, and neither a name nor an e-mail address. Raises SignOnRefused for a subject that
    the client has not provisioned.
    """
    client = ScimClient.linked_to(vouched.issuer)
    if client is None:
        return None
    proved = vouched.directory_id or vouched.subject
    if vouched.issuer.startswith(OIDC_ISSUER):
        proved = vouched.directory_id if client.preset == ScimPreset.ENTRA else vouched.subject
    rows = ProvisionedUser.objects.filter(client=client, external_id=proved, live=True)
    found = verified_rows(rows.select_related("client", "user"))
    if not proved or not found or not verified_rows([client]):
        raise _not_provisioned(vouched)
    with lock_authentic(found[0].user) as stored:
        if (stored.saml_issuer, stored.saml_name_id) == (vouched.issuer, vouched.subject):
            return stored
        if stored.saml_issuer is not None or not rows.filter(pk=found[0].pk).exists():
            # Bound, or provisioned otherwise, meanwhile.
            raise _not_provisioned(vouched)
        stored.saml_issuer, stored.saml_name_id = vouched.issuer, vouched.subject
        # From now on the provider alone vouches for the person.
        stored.set_password(None)
        stored.temporary_since, stored.reset_email = None, ""
        forget_others_credentials(actor, stored)
        # Of an account that was handed over.
        end_sessions(stored, actor=actor)
        stored.save(
            update_fields=["saml_issuer", "saml_name_id", "password", "temporary_since", "reset_email"]
        )
        details = {"bound": vouched.issuer, "client": client.name}
        accounts.record_user(actor, stored, details)
    return stored


def _not_provisioned(vouched: Vouched) -> SignOnRefused:
    return SignOnRefused(
        f"{vouched.protocol}-not-provisioned",
        "You are not assigned to Keeper. Ask the administrator of your identity provider to assign you.",
    )


def _new_user(vouched: Vouched, actor: Principal) -> User:
    protocol = vouched.protocol
    if not vouched.creates:
        raise SignOnRefused(f"{protocol}-unknown", "You have no account in Keeper yet. Ask an administrator.")
    try:
        username = validate_new_username(vouched.username)
    except BadName as error:
        raise SignOnRefused(
            f"{protocol}-username", f"The identity provider's name for you: {error.reason}"
        ) from error
    if named_user(username) is not None:
        raise _name_taken(protocol)
    try:
        return accounts.create_provider_user(
            actor=actor,
            username=username,
            issuer=vouched.issuer,
            name_id=vouched.subject,
            **_profile(vouched),
        )
    except NameInUse as error:
        # Another window of the same person may have been first.
        user = User.objects.bound_to(vouched.issuer, vouched.subject)
        if user is None:
            raise _name_taken(protocol) from error
        return user


def _name_taken(protocol: str) -> SignOnRefused:
    return SignOnRefused(
        f"{protocol}-name-taken",
        "An account of your name exists that does not belong to this identity provider. "
        "Ask an administrator: it is not handed over because of a name.",
    )


def _profile(vouched: Vouched) -> dict[str, str]:
    """Return the provider's description of a user, without what cannot be stored."""
    profile = {}
    try:
        validate_email(vouched.email)
        profile["email"] = str(User.objects.normalize_email(vouched.email))
    except ValidationError:
        pass
    name = vouched.display_name
    if name and name.isprintable() and len(name) <= _MAX_DISPLAY_NAME:
        profile["display_name"] = name
    return profile
