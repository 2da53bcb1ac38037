"""What an invitation gives besides a password: roles in environments, given when it is accepted.

The roles are kept with the link, under its MAC, with the account of who offers them. Nothing is granted
before: until then the invitation can be withdrawn. At the acceptance each role is asked for again, with the
rights that who offered has at that moment. What they may no longer give becomes a request for access of the
invited person, which another manager answers.
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple
from uuid import UUID

from django.urls import reverse

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from core.canonical_json import Json
from environments_app.access_requests.service import submit
from environments_app.approvals.gate import unneeded_approval
from environments_app.authorization.break_glass import confirm_grant, opens_values
from environments_app.authorization.policy import Principal, allows, require
from environments_app.authorization.principals import user_principal
from environments_app.environments import memberships
from environments_app.environments.service import find_environment
from environments_app.errors import AlreadyGranted, ApprovalVoid, Conflict, InvalidField, Suspended
from environments_app.models import Environment, Membership, PasswordLink, Role, User, UserRole
from environments_app.names import validate_prefix
from environments_app.notifications.service import message_users

_PROTECTED: Final = "The environment is protected: a second person decides."


class Offer(NamedTuple):
    """A role in an environment, perhaps for a prefix only.

    `obstacle` states why an acceptance only requests it ("" if it grants it).
    """

    environment: Environment
    role: Role
    obstacle: str = ""
    # Whether who offers it breaks the glass by that, which they were asked to confirm.
    breaks_glass: bool = False
    prefix: str = ""

    @property
    def words(self) -> str:
        """What is offered, such as "Reader in production, payments/ only"."""
        where = f", {self.prefix}/ only" if self.prefix else ""
        return f"{self.role.label} in {self.environment.name}{where}"


def check_offer(
    *,
    actor: Principal,
    environments: Collection[str],
    access: str,
    role: str = UserRole.USER,
    prefix: str = "",
) -> list[Offer]:
    """Return what the actor offers with an account: one role in each environment of these names.

    `role` is that of the account in the installation. Raises Invisible, Forbidden, ConfirmationNeeded,
    Suspended (to break the glass), BadName, or InvalidField for an auditor, who holds no access.
    """
    prefix = validate_prefix(prefix)
    if not environments:
        return []
    if role == UserRole.AUDITOR:
        raise InvalidField("environments", "Auditors hold no access to environments. Choose none.")
    given = memberships.parse_role(access)
    offers = []
    for name in sorted(set(environments)):
        environment = find_environment(actor=actor, name=name)
        require(actor=actor, action=Action.MEMBER_GRANT, environment=environment)
        confirm_grant(actor, Action.MEMBER_GRANT, environment=environment, role=given)
        glass = opens_values(actor, Action.MEMBER_GRANT, environment_id=environment.pk, role=given)
        obstacle = _obstacle(actor, environment, given, glass=glass)
        offers.append(Offer(environment, given, obstacle, glass, prefix))
    return offers


def kept(actor: Principal, offers: Collection[Offer]) -> dict[str, Json] | None:
    """Return what a link keeps of what the actor offers."""
    if not offers:
        return None
    return {
        "by": str(actor.uuid),
        "roles": {str(offer.environment.uuid): str(offer.role) for offer in offers},
        "glass": [str(offer.environment.uuid) for offer in offers if offer.breaks_glass],
        **_under(offers),
    }


def told(offers: Collection[Offer]) -> dict[str, Json]:
    """Return the same for the event, by names."""
    if not offers:
        return {}
    return {"access": {offer.environment.name: str(offer.role) for offer in offers}, **_under(offers)}


def _under(offers: Collection[Offer]) -> dict[str, Json]:
    """Return the prefix of an invitation, the same in each environment, if it has one."""
    prefix = next(iter(offers)).prefix
    return {"prefix": prefix} if prefix else {}


def offered(link: PasswordLink) -> list[Offer]:
    """Return what a link offers in environments that still exist, with what now stands against it."""
    roles = _roles(link)
    giver = _giver(link)
    glass = {*link.access["glass"]} if link.access else set()
    prefix = link.access.get("prefix", "") if link.access else ""
    rows = Environment.objects.filter(uuid__in=roles).order_by("name")
    offers = []
    for row in verified_rows(rows):
        role = Role(roles[str(row.uuid)])
        obstacle = _obstacle(giver, row, role, glass=str(row.uuid) in glass)
        offers.append(Offer(row, role, obstacle, prefix=prefix))
    return offers


def give_access(link: PasswordLink, user: User, *, request_id: str = "") -> None:
    """Grant the roles of an accepted invitation, in the transaction of the acceptance.

    What who offered them may not give at this moment is requested for the person.
    """
    offers = offered(link)
    if not offers:
        return
    giver = _giver(link, request_id=request_id)
    lines = []
    for offer in offers:
        obstacle = offer.obstacle or _grant(giver, user, offer)
        if obstacle:
            _request(user, offer, link, obstacle, request_id=request_id)
            lines.append(f"{offer.words} was requested. {obstacle}")
        else:
            lines.append(f"{offer.words}.")
    if giver is not None:
        message_users(
            people=[giver.uuid],
            environment=None,
            kind="invitation",
            subject=f"{user.username} accepted your invitation",
            lines=lines,
            link=reverse("person", args=[user.username]),
        )


def _roles(link: PasswordLink) -> Mapping[str, str]:
    return dict(link.access["roles"]) if link.access else {}


def _giver(link: PasswordLink, *, request_id: str = "") -> Principal | None:
    if not link.access:
        return None
    user = User.objects.filter(uuid=UUID(link.access["by"])).first()
    return user_principal(user, request_id=request_id) if user else None


def _obstacle(giver: Principal | None, environment: Environment, role: Role, *, glass: bool) -> str:
    """Return why this actor cannot give a role alone at this moment; "" if they can.

    `glass`: they confirmed that they break the glass, when they offered it. Nobody breaks it unasked.
    """
    may = giver and allows(giver, Action.MEMBER_GRANT, environment_id=environment.pk)
    if giver is None or not may:
        return "Who sent the invitation may not grant access there any more."
    opens = opens_values(giver, Action.MEMBER_GRANT, environment_id=environment.pk, role=role)
    if opens and giver.suspended and environment.pk not in giver.trusted_in:
        return "The account of who sent the invitation is suspended."
    if opens and not glass:
        return "Who sent the invitation is no manager there any more."
    if unneeded_approval(giver, environment) is None:
        return _PROTECTED
    return ""


def _grant(giver: Principal | None, user: User, offer: Offer) -> str:
    """Store a membership; return what stands against it, if anything does since it was looked at."""
    approval = unneeded_approval(giver, offer.environment) if giver else None
    if giver is None or approval is None:
        return _PROTECTED
    membership = Membership(
        environment=offer.environment,
        user=user,
        role=offer.role,
        prefix=offer.prefix,
        granted_by=memberships.acting_user(giver),
    )
    try:
        memberships.store(
            actor=giver, membership=membership, approval=approval, details={"how": "invitation"}
        )
    except ApprovalVoid:
        return _PROTECTED
    except AlreadyGranted:
        # A manager gave them a role there in the meantime; it stays as it is.
        return ""
    return ""


def _request(user: User, offer: Offer, link: PasswordLink, obstacle: str, *, request_id: str) -> None:
    person = user_principal(user, request_id=request_id)
    try:
        submit(
            actor=person,
            environment=offer.environment.name,
            role=offer.role,
            prefix=offer.prefix,
            reason=f"{link.made_by} invited {user.username} with this role. {obstacle}",
        )
    except (Conflict, Suspended):
        # Too many wait: the person can request it later.
        return
