"""Who else could use an account or a token, from the audit log.

The issuer of a token has seen its text. The creator of an account, or an administrator who replaced its
credentials, could sign in as it. Accounts created by commands on the host count as controlled by their user
alone.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import F

from audit_app.crypto.canonical_json import parsed_details
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.models import AuditEvent

# The detail in events of changes after which another person could sign in as a user.
TAKEOVERS: Final = frozenset({"password", "second_factor", "restored"})
_MAKING: Final = (Action.TOKEN_ISSUE, Action.USER_CREATE, Action.USER_CHANGE)


class _Making(NamedTuple):
    """The creation of an account or a token, or the takeover of an account."""

    made: UUID
    maker: UUID
    of_a_token: bool


class CustodyGraph:
    """Answers for any number of accounts and tokens; each is looked up once."""

    def __init__(self) -> None:
        self._makings: dict[UUID, frozenset[_Making]] = {}

    def learn(self, uuids: Iterable[UUID]) -> None:
        """Look up what is not known yet, by one statement."""
        unknown = set(uuids) - self._makings.keys()
        if unknown:
            found = list(_makings(unknown))
            self._makings |= {
                uuid: frozenset(each for each in found if each.made == uuid) for uuid in unknown
            }

    def who_asks(self, requester: UUID) -> set[UUID]:
        """Return a requester and, of a token, who issued it, and who issued the token that did."""
        return self._reached(requester, through_people=False)

    def all_behind(self, uuid: UUID) -> set[UUID]:
        """Return who could act as an account or a token, directly or through others, itself included."""
        return self._reached(uuid, through_people=True)

    def are_one(self, one: UUID, others: Iterable[UUID]) -> bool:
        """Return whether one person could act as two of these accounts."""
        mine = self.all_behind(one)
        return any(mine & self.all_behind(other) for other in others)

    def _reached(self, uuid: UUID, *, through_people: bool) -> set[UUID]:
        found, frontier = set[UUID](), {uuid}
        while frontier:
            found |= frontier
            self.learn(frontier)
            makings = [each for made in frontier for each in self._makings[made]]
            frontier = {each.maker for each in makings if through_people or each.of_a_token} - found
        return found


def account_takeovers_since(user: UUID, *, since: datetime) -> set[UUID]:
    """Return who replaced what an account signs in with since a time."""
    return {each.maker for each in _makings([user], since=since)}


def _makings(made: Iterable[UUID], *, since: datetime | None = None) -> Iterable[_Making]:
    events = AuditEvent.objects.filter(
        object_uuid__in=list(made),
        action__in=_MAKING,
        outcome=Outcome.ALLOWED,
        actor_kind__in=[ActorKind.USER, ActorKind.TOKEN],
    ).exclude(actor_uuid=F("object_uuid"))
    if since is not None:
        events = events.filter(at__gte=since)
    columns = events.values_list("object_uuid", "actor_uuid", "action", "details")
    for object_uuid, actor_uuid, action, details in columns:
        if action != Action.USER_CHANGE or TAKEOVERS & parsed_details(details).keys():
            yield _Making(object_uuid, actor_uuid, action == Action.TOKEN_ISSUE)
