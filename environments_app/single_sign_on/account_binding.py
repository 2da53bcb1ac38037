"""Whom a provider vouches for: the account bound to (issuer, subject), made at the first sign-in."""

from dataclasses import dataclass
from typing import Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.policy import Principal
from environments_app.errors import BadName, NameInUse, SignOnRefused
from environments_app.models import User
from environments_app.names import validate_new_username
from environments_app.users import accounts
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


def bound_user(issuer: str, subject: str) -> User | None:
    """Return the account that is bound to a subject, genuine or not."""
    return User.objects.filter(saml_issuer=issuer, saml_name_id=subject).first()


def subject_user(vouched: Vouched, *, actor: Principal) -> User:
    """Return the active account of a subject; a name or an e-mail address alone never matches.

    Raises SignOnRefused if it is disabled or not genuine, or if a new one cannot be made: above all if
    another account has the name.
    """
    user = bound_user(vouched.issuer, vouched.subject) or _new_user(vouched, actor)
    require_open(user, vouched.protocol)
    changes = {name: value for name, value in _profile(vouched).items() if value != getattr(user, name)}
    return accounts.update_user(actor=actor, user=user, **changes) if changes else user


def require_open(user: User, protocol: str) -> None:
    """Raise SignOnRefused unless an account is genuine and active."""
    if not verified_rows([user]) or not user.is_active:
        raise SignOnRefused(
            f"{protocol}-account", "Your account in Keeper is disabled. Ask an administrator."
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
        user = bound_user(vouched.issuer, vouched.subject)
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
