"""Makes an empty database a Keeper: its environments and its first administrator."""

from collections.abc import Callable
from typing import Final

from django.conf import settings

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.active_installation import claim_first
from audit_app.interfaces.keyring import keyring
from audit_app.models import AuditEvent, deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.authorization.principals import system_principal, user_principal
from environments_app.environments.service import create_environment
from environments_app.models import Environment, User, UserRole
from environments_app.users.accounts import create_user, new_password

# In the order in which changes pass through them.
ENVIRONMENTS: Final = {"development": "Development", "staging": "Staging", "production": "Production"}

Announce = Callable[[str, str], None]


def initialise(*, announce: Announce) -> bool:
    """Make what a new installation needs, and return whether anything had to be made.

    Does nothing once the audit log records it as done, so a removed environment stays removed.
    `announce(username, password)` is called with the first administrator's generated password before the
    account is created: an interruption in between leaves an unused password, not an account without a known
    one. A password from KEEPER_ADMIN_PASSWORD is not announced.

    Raises InvalidField if that one is too weak, BadName for a bad KEEPER_ADMIN_USERNAME.
    """
    # Here no transaction is open yet: with KMS the system keys come over the network.
    keyring().open_all()
    if AuditEvent.objects.filter(stream=streams.SYSTEM, action=Action.DEPLOYMENT_INITIALISE).exists():
        # One that is older than this: it acts where it is.
        claim_first(actor=system_principal())
        return False
    administrator = _administrator(announce)
    existing = set(Environment.objects.values_list("name", flat=True))
    for name, display_name in ENVIRONMENTS.items():
        if name not in existing:
            create_environment(actor=user_principal(administrator), name=name, display_name=display_name)
    claim_first(actor=system_principal())
    record(
        actor=system_principal(),
        action=Action.DEPLOYMENT_INITIALISE,
        stream=streams.SYSTEM,
        object=AuditObject("deployment", deployment_uuid(), "keeper"),
        details={"environments": list(ENVIRONMENTS)},
    )
    return True


def _administrator(announce: Announce) -> User:
    found = User.objects.filter(role=UserRole.ADMIN, is_active=True).order_by("id").first()
    if found:
        return found
    username = settings.KEEPER_ADMIN_USERNAME
    password = settings.KEEPER_ADMIN_PASSWORD
    if not password:
        password = new_password()
        announce(username, password)
    actor = system_principal(is_admin=True)
    return create_user(actor=actor, username=username, role=UserRole.ADMIN, password=password)
