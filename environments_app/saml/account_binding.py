"""Whom a statement is about: the account bound to (issuer, NameID), made at the first sign-in."""

from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.policy import Principal
from environments_app.errors import BadName, NameInUse, SamlRefused
from environments_app.models import User
from environments_app.names import validate_new_username
from environments_app.saml.protocol.assertion_rules import Statement
from environments_app.users import accounts
from environments_app.users.password_backend import named_user

_MAX_DISPLAY_NAME: Final = 150


def bound_user(statement: Statement) -> User | None:
    """Return the account that is bound to the subject, genuine or not."""
    return User.objects.filter(saml_issuer=statement.issuer, saml_name_id=statement.name_id).first()


def subject_user(statement: Statement, *, actor: Principal) -> User:
    """Return the active account of a subject; a name alone never matches.

    Raises SamlRefused if it is disabled or not genuine, or if a new one cannot be made: above all if
    another account has the name.
    """
    user = bound_user(statement) or _new_user(statement, actor)
    if not verified_rows([user]) or not user.is_active:
        raise SamlRefused("saml-account", "Your account in Keeper is disabled. Ask an administrator.")
    changes = {name: value for name, value in _profile(statement).items() if value != getattr(user, name)}
    return accounts.update_user(actor=actor, user=user, **changes) if changes else user


def _new_user(statement: Statement, actor: Principal) -> User:
    if not settings.KEEPER_SAML_CREATE_USERS:
        raise SamlRefused("saml-unknown", "You have no account in Keeper yet. Ask an administrator.")
    name = _first(statement, settings.KEEPER_SAML_USERNAME_ATTRIBUTE) or statement.name_id
    try:
        username = validate_new_username(name)
    except BadName as error:
        raise SamlRefused("saml-username", f"The identity provider's name for you: {error.reason}") from error
    if named_user(username) is not None:
        raise _name_taken()
    try:
        return accounts.create_saml_user(
            actor=actor,
            username=username,
            issuer=statement.issuer,
            name_id=statement.name_id,
            **_profile(statement),
        )
    except NameInUse as error:
        # Another window of the same person may have been first.
        user = bound_user(statement)
        if user is None:
            raise _name_taken() from error
        return user


def _name_taken() -> SamlRefused:
    return SamlRefused(
        "saml-name-taken",
        "An account of your name exists that does not belong to this identity provider. "
        "Ask an administrator: it is not handed over because of a name.",
    )


def _profile(statement: Statement) -> dict[str, str]:
    """Return the provider's attributes of a user besides the name, without those that cannot be stored."""
    profile = {}
    email = _first(statement, settings.KEEPER_SAML_EMAIL_ATTRIBUTE)
    try:
        validate_email(email)
        profile["email"] = str(User.objects.normalize_email(email))
    except ValidationError:
        pass
    name = _first(statement, settings.KEEPER_SAML_NAME_ATTRIBUTE)
    if name and name.isprintable() and len(name) <= _MAX_DISPLAY_NAME:
        profile["display_name"] = name
    return profile


def _first(statement: Statement, attribute: str) -> str:
    values = statement.attributes.get(attribute) if attribute else None
    return values[0].strip() if values else ""
