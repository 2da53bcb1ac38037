"""Who is behind an account, a token or a trust: everyone who could act as it.

The audit log answers. The issuer of a token has seen its text. Who makes or changes a trust decides whose
JWTs it accepts. Who creates an account, or replaces what it signs in with, could sign in as it. This counts
until a manager of the environment who is another person confirms the account, or its password is replaced on
the host. What was made before by such an account stays in the hands that it was in at that time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent
from audit_app.recording import event_store
from audit_app.verification.stream_walker import has_valid_mac
from core.canonical_json import parsed_details
from core.db.bulk import in_batches
from environments_app.models import Environment, ServiceToken, User

# What an act gives its actor of the account, token or trust that it is about.
CUSTODY: Final[Mapping[Action, str]] = MappingProxyType(
    {
        Action.USER_CREATE: "chose the first password, or the address of the invitation",
        Action.USER_CHANGE: "replaced the password or the second factor, invited, restored, enabled it, "
        "handed it over to a SCIM client, or changed the external ID by which it signs in first",
        Action.TOKEN_ISSUE: "has seen the text of the token",
        Action.TRUST_CREATE: "chose whose JWTs are accepted",
        Action.TRUST_CHANGE: "chose whose JWTs are accepted",
        Action.SAML_MAPPING_CHANGE: "chose the group of single sign-on, and does not confirm that choice",
        # The row of its token names the trust.
        Action.TRUST_SIGN_IN: "acts by the trust, and so for all who are behind that",
    }
)
# A manager's word ends custody in an environment: its event has this detail, with the value ENDED.
CUSTODY_DETAIL: Final = "custody"
ENDED: Final = "ended"
# In the event of a change of a trust that takes something from it.
NARROWS: Final = "narrows"
# In the event of an account that was handed over: the tokens of its client, which stand behind it as well.
HANDED_TO: Final = "handed_to"
# In the event of an account whose external ID its SCIM client changed: whoever proves it signs in there.
RENAMED: Final = "external_id"
# The details of a changed account after which its actor could sign in as it.
_TAKEOVERS: Final = frozenset({"password", "second_factor", "restored", HANDED_TO, RENAMED})
_LATEST: Final = 2**63 - 1
_OF_TRUSTS: Final = (Action.TRUST_CREATE, Action.TRUST_CHANGE)
_READ: Final = (*CUSTODY.keys() - {Action.TRUST_SIGN_IN}, Action.ACCESS_CONFIRM, Action.APPROVAL_ASK)


class _Event(NamedTuple):
    """An event about a principal or a request; ids are in the order of the events."""

    id: int
    about: UUID
    kind: str
    actor: UUID
    action: str
    stream: str
    sequence: int
    details: Mapping[str, Any]

    @property
    def is_genuine(self) -> bool:
        """Whether its row is the one that Keeper wrote."""
        links = event_store.links(self.stream, after=self.sequence - 1, until=self.sequence, limit=1)
        return bool(links) and has_valid_mac(links[0])


class _History(NamedTuple):
    """What the audit log has about one principal or request."""

    # The events after which their actor could act as it.
    makings: Sequence[_Event]
    # The events that end what was before, in the environment of their stream or (None) in all.
    ended: Sequence[tuple[str | None, int]]
    # When a request was made, and the trust of a workload's token.
    asked: int | None
    trust: UUID | None


class CustodyGraph:
    """Answers for any number of principals; each is looked up once."""

    def __init__(self) -> None:
        self._known: dict[UUID, _History] = {}
        self._trusts: set[UUID] = set()
        self._names: dict[UUID, str] = {}

    def learn(self, uuids: Iterable[UUID]) -> None:
        """Look up what is not known yet, by two statements for some hundred of them."""
        for batch in in_batches(sorted(set(uuids) - self._known.keys())):
            trusts = self._trusts.intersection(batch)
            found = _histories(set(batch) - trusts, _READ) if trusts != set(batch) else {}
            # A trust has an event of each sign-in, which are not read.
            found |= _histories(trusts, _OF_TRUSTS, about="object_uuid__unindexed__in") if trusts else {}
            self._known |= found
            self._trusts |= {history.trust for history in found.values() if history.trust}

    def behind(
        self,
        uuid: UUID,
        *,
        environment: Environment | None,
        asked: UUID | None = None,
        before: int = _LATEST,
    ) -> set[UUID]:
        """Return all who could act as a principal, directly or through others, itself included.

        Confirmations count in their environment. With `asked`, the uuid of a request, only those count that
        came before it; with `before`, up to this event.
        """
        latest: dict[UUID, int] = {}
        frontier = {(uuid, self._asked(asked) if asked else before)}
        while frontier:
            for account, until in frontier:
                latest[account] = min(until, latest.get(account, until))
            self.learn(account for account, _ in frontier)
            reached = {
                pair for account, until in frontier for pair in self._makers(account, until, environment)
            }
            # Fewer confirmations count earlier: what was reached as of a later time is looked at again.
            frontier = {
                (account, until) for account, until in reached if until < latest.get(account, _LATEST + 1)
            }
        return set(latest)

    def are_one(self, one: UUID, others: Iterable[UUID], *, environment: Environment | None) -> bool:
        """Return whether one person could act as one of these principals and as another."""
        mine = self.behind(one, environment=environment)
        return any(mine & self.behind(other, environment=environment) for other in others)

    def others_behind(self, uuid: UUID, *, environment: Environment | None) -> list[str]:
        """Return the names of the other people who could act as a principal."""
        return self.names_of(self.behind(uuid, environment=environment) - {uuid})

    def names_of(self, uuids: Collection[UUID]) -> list[str]:
        """Return the names of the people among some principals."""
        unknown = set(uuids) - self._names.keys()
        people = User.objects.filter(uuid__in=unknown) if unknown else User.objects.none()
        self._names |= dict.fromkeys(unknown, "") | dict(people.values_list("uuid", "username"))
        return sorted(name for uuid in uuids if (name := self._names[uuid]))

    def people_among(self, uuids: Collection[UUID], *, environment: Environment | None) -> int:
        """Return how many different people these accounts are at least."""
        groups: list[set[UUID]] = []
        for uuid in uuids:
            mine = self.behind(uuid, environment=environment)
            apart = [group for group in groups if not group & mine]
            groups = [*apart, mine.union(*(group for group in groups if group & mine))]
        return len(groups)

    def _asked(self, request: UUID) -> int:
        self.learn([request])
        return self._known[request].asked or 0

    def _makers(self, uuid: UUID, until: int, environment: Environment | None) -> Iterable[tuple[UUID, int]]:
        """Yield who could act as one principal, and up to which event confirmations of them count."""
        history = self._known[uuid]
        if history.trust:
            yield history.trust, until
        here = {None, environment_stream(environment.uuid) if environment else None}
        last = max((event for place, event in history.ended if place in here and event <= until), default=0)
        for making in history.makings:
            if making.id > last:
                # As of then: who was behind the maker has seen what the maker saw.
                yield making.actor, making.id


def _histories(
    uuids: Collection[UUID], actions: Collection[Action], *, about: str = "object_uuid__in"
) -> dict[UUID, _History]:
    rows = AuditEvent.objects.filter(
        **{about: list(uuids)}, action__in=actions, outcome=Outcome.ALLOWED
    ).order_by("id")
    events_of: dict[UUID, list[_Event]] = {uuid: [] for uuid in uuids}
    columns = ("id", "object_uuid", "actor_kind", "actor_uuid", "action", "stream", "sequence", "details")
    for row in rows.values_list(*columns):
        event = _Event._make((*row[:-1], parsed_details(row[-1])))
        events_of[event.about].append(event)
    tokens = ServiceToken.objects.filter(uuid__in=list(uuids), trust_uuid__isnull=False)
    trusts = dict(tokens.values_list("uuid", "trust_uuid"))
    return {uuid: _history(events, trusts.get(uuid)) for uuid, events in events_of.items()}


def _history(events: Sequence[_Event], trust: UUID | None) -> _History:
    invited = any(event.details.get("invitation") == "sent" for event in events)
    return _History(
        makings=[
            event._replace(actor=maker)
            for event in events
            if _gives_custody(event, invited=invited)
            for maker in (event.actor, *map(UUID, event.details.get(HANDED_TO, ())))
        ],
        ended=[
            (None if event.action == Action.USER_CHANGE else event.stream, event.id)
            for event in events
            if _ends_custody(event) and event.is_genuine
        ],
        asked=next((event.id for event in events if event.action == Action.APPROVAL_ASK), None),
        trust=trust,
    )


def _gives_custody(event: _Event, *, invited: bool) -> bool:
    details = event.details
    if event.action not in CUSTODY or event.kind == ActorKind.SYSTEM or event.actor == event.about:
        return False
    if event.action == Action.USER_CHANGE:
        # An invitation goes to the address that the account has.
        sends = details.get("invitation") == "sent" or (invited and "email" in details)
        return sends or details.get("is_active") is True or bool(_TAKEOVERS & details.keys())
    return details.get(NARROWS) is not True


def _ends_custody(event: _Event) -> bool:
    if event.action == Action.ACCESS_CONFIRM:
        return event.details.get(CUSTODY_DETAIL) == ENDED
    # A password that was replaced on the host.
    replaced = event.action == Action.USER_CHANGE and "password" in event.details
    return replaced and event.kind == ActorKind.SYSTEM
