"""Breaking the glass: an administrator opens a way to values that no grant of their own allows.

It is allowed, since administrators manage members and tokens. It is always recorded as break-glass, for any
beneficiary: another account or token may belong to the same person.
"""

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from environments_app.authorization.permissions import ROLE_ACTIONS
from environments_app.authorization.policy import (
    Principal,
    grants_allow,
    require_confirmed,
    require_verified_account,
)
from environments_app.models import Environment, Role


def opens_values(actor: Principal, action: Action, *, environment_id: int | None, role: str) -> bool:
    """Return whether granting this role gives access to values by administration alone.

    Keeper itself is excluded: the operator of its commands has the host, and with it the keys.
    """
    return (
        administers(actor)
        and reads_values(role)
        and not grants_allow(actor, action, environment_id=environment_id)
    )


def confirm_grant(actor: Principal, action: Action, *, environment: Environment | None, role: str) -> None:
    """Ask who grants a role that reads values to be whom they seem to be.

    Otherwise a stale session would let in another account, whose own session is fresh.
    Raises ConfirmationNeeded, or Suspended to break the glass while the account may be in other hands.
    """
    if reads_values(role):
        require_confirmed(actor)
    if environment and opens_values(actor, action, environment_id=environment.pk, role=role):
        require_verified_account(actor, action, environment=environment)


def administers(actor: Principal) -> bool:
    """Return whether a person or a token acts that may administer."""
    return actor.is_admin and actor.kind is not ActorKind.SYSTEM


def reads_values(role: str) -> bool:
    """Return whether a role in an environment reads values; one in the installation reads none."""
    # As text: the role of a token is of another enumeration, with one member more.
    text = str(role)
    return text in Role.values and Action.SECRET_REVEAL in ROLE_ACTIONS[Role(text)]
