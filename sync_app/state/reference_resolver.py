"""Decides whether references may be filled in for a target, and fills them in; nothing resolved is stored."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.policy import Principal, allows
from environments_app.authorization.principals import load_principal
from secrets_app.errors import InvalidValue
from secrets_app.models import Secret
from secrets_app.persistence.references import Place, parse, substitute
from secrets_app.secret_types.registry import SecretType, inspect
from sync_app.errors import SyncError
from sync_app.models import ReferenceConsent, Target
from sync_app.state.reference_graph import MAX_DEPTH, Resolution, Source

PUSH_ONLY: Final = "a secret that resolves references is only pushed: nothing is taken into it"
_GONE: Final = "names no secret that exists"
_FORGED: Final = "names a secret whose record was changed outside Keeper"
_NOT_ALLOWED: Final = "names a secret that whoever wrote it may not reveal"
_NO_CONSENT: Final = "names a secret of an environment that has not consented to this target"
_CIRCLE: Final = "leads in a circle"
_TOO_FAR: Final = f"leads through more than {MAX_DEPTH} others"


class Unresolvable(SyncError):
    """The references of a value cannot be resolved; the message states why, and names no secret."""


class ReferenceRights:
    """What may be filled in for one target, as of now; each question is asked once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._writers: dict[str, Principal] = {}
        self._consents: list[ReferenceConsent] | None = None

    def explain_refusal(self, resolution: Resolution | None) -> str:
        """Return why a secret's references may not be resolved; empty if they may.

        The last writer of the secret, and of each one on the way, must have the right to reveal
        what it names, and each environment must have consented to the target.
        """
        if resolution is None:
            return ""
        secret = resolution.secret
        walk = _ReferenceWalk(self, resolution.sources)
        for number, place in enumerate(resolution.names, 1):
            fault = walk.find_refusal(place, frozenset({secret.resolves_as}), (Place.of(secret),))
            if fault:
                return f"reference {number} {fault}"
        return ""

    def may_reveal(self, writer: str, secret: Secret) -> bool:
        """Return whether the last writer of a value may reveal a secret, by now."""
        if writer not in self._writers:
            kind, _, uuid = writer.partition(":")
            self._writers[writer] = load_principal(Actor(kind=ActorKind(kind), uuid=UUID(uuid), name=""))
        principal = self._writers[writer]
        return allows(principal, Action.SECRET_REVEAL, environment_id=secret.environment_id, name=secret.name)

    def has_consent(self, secret: Secret) -> bool:
        """Return whether a secret's environment allows delivery to the target; true for its own."""
        if secret.environment_id == self._target.environment_id:
            return True
        if self._consents is None:
            rows = ReferenceConsent.objects.filter(target=self._target)
            self._consents = verified_rows(rows.select_related("environment", "target"))
        return any(
            consent.environment_id == secret.environment_id and consent.covers(secret.name)
            for consent in self._consents
        )


class _ReferenceWalk:
    """Goes through what a secret refers to, once for each set of writers that it is reached through."""

    def __init__(self, rights: ReferenceRights, sources: Mapping[Place, Source]) -> None:
        self._rights, self._sources = rights, sources
        self._passed: set[tuple[Place, frozenset[str]]] = set()

    def find_refusal(self, place: Place, writers: frozenset[str], trail: tuple[Place, ...]) -> str:
        if place in trail:
            return _CIRCLE
        if (place, writers) in self._passed:
            return ""
        source = self._sources.get(place)
        if source is None or len(trail) > MAX_DEPTH:
            return _TOO_FAR
        own = self._own_fault(source, writers)
        if own or source.secret is None:
            return own
        through = writers | {source.secret.resolves_as} if source.names else writers
        for each in source.names:
            deeper = self.find_refusal(each, through, (*trail, place))
            if deeper:
                return deeper
        self._passed.add((place, writers))
        return ""

    def _own_fault(self, source: Source, writers: frozenset[str]) -> str:
        secret = source.secret
        if secret is None or source.version is None:
            return _GONE
        if not source.verified:
            return _FORGED
        if not all(self._rights.may_reveal(writer, secret) for writer in writers):
            return _NOT_ALLOWED
        return "" if self._rights.has_consent(secret) else _NO_CONSENT


def substitute_references(resolution: Resolution, text: str, values: Mapping[UUID, str]) -> str:
    """Return a text with its references filled in; `values` are those of the versions that contribute.

    Raises Unresolvable if the text names what was not noted when it was written (and so not asked
    about), a value is missing, or the result is none of the secret's type.
    """
    secret = resolution.secret
    whole = _substitute(secret, text, resolution.names, resolution.sources, values)
    try:
        inspect(SecretType(secret.secret_type), whole)
    except InvalidValue as error:
        raise Unresolvable(f"with its references filled in, the value does not fit: {error.reason}") from None
    return whole


def _substitute(
    secret: Secret,
    text: str,
    names: tuple[Place, ...],
    sources: Mapping[Place, Source],
    values: Mapping[UUID, str],
) -> str:
    try:
        named = parse(text)
    except InvalidValue:
        named = None
    if named is None or not set(named) <= set(names):
        raise Unresolvable("the value names other secrets than were noted with it: save it again")
    found = {place: _value(sources[place], sources, values) for place in named}
    return substitute(text, found, secret_type=SecretType(secret.secret_type))


def _value(source: Source, sources: Mapping[Place, Source], values: Mapping[UUID, str]) -> str:
    if source.secret is None or source.version is None or source.version not in values:
        raise Unresolvable("a value that it refers to does not open")
    text = values[source.version]
    if not source.secret.uses_references:
        return text
    return _substitute(source.secret, text, source.names, sources, values)
