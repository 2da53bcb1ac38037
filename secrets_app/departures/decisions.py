"""What people do about a departure: see it, say why a value stays, give a value to a person, close it.

Administrators and auditors see all of it; others see the values that they may replace themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record, record
from core.canonical_json import Json
from core.db.bulk import in_batches
from core.workers import nudge
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import (
    Principal,
    allows,
    record_denial,
    require,
    require_confirmed,
    visible,
)
from environments_app.errors import Conflict, Forbidden, InvalidField, Invisible
from environments_app.models import Departure, DepartureKind, Environment, ServiceToken, User
from environments_app.notifications.service import resolve_alert
from environments_app.sessions.service import lock_row
from environments_app.users.password_backend import named_user
from secrets_app.departures import following, programs
from secrets_app.exposure import Known
from secrets_app.models import DepartureValue, Secret
from secrets_app.outlets import Outlet, outlets_of
from secrets_app.queries.lookup import environments_where, require_on

MAX_REASON: Final = 500
# The alert that a SCIM client ended many people at once.
MASS_LEAVE: Final = "mass-leave"


def may_see_all(actor: Principal) -> bool:
    """Return whether the actor sees every departure in full."""
    return allows(actor, Action.USER_VIEW, environment_id=None)


def visible_departures(actor: Principal) -> QuerySet[Departure]:
    """Return the departures of which the actor may see something, the newest first."""
    rows = Departure.objects.select_related("user").order_by("-pk")
    if may_see_all(actor):
        return rows
    replaceable = Secret.objects.filter(visible(actor, Action.SECRET_UPDATE))
    seen = Q(values__secret__in=replaceable) | Q(user__uuid__in=_whose_outlets_stand(actor), open=True)
    return rows.filter(seen).distinct()


def _managed(actor: Principal) -> QuerySet[Environment]:
    """Return the environments about all of which the actor decides."""
    places = environments_where(actor, Action.MEMBER_GRANT)
    whole = [place.pk for place in places if allows(actor, Action.MEMBER_GRANT, environment_id=place.pk)]
    return Environment.objects.filter(pk__in=whole)


def _whose_outlets_stand(actor: Principal) -> list[UUID]:
    """Return who left, and set up what leads out of an environment that the actor manages."""
    places = _managed(actor)
    if not places.exists():
        return []
    left = Departure.objects.filter(open=True, kind=DepartureKind.LEFT).select_related("user")
    found = outlets_of([row.user for row in left], CustodyGraph(), places=places)
    return [uuid for uuid, outlets in found.items() if outlets]


@dataclass(frozen=True, kw_only=True)
class Decided(Outlet):
    """An outlet of who left, and what was decided: `state` is `waits`, `kept` or `paused`."""

    state: str
    kept_by: str = ""
    reason: str = ""
    may_keep: bool = False
    # How many values in use programs read or wrote by it, since when, and how many are not on the list.
    read_count: int | None = None
    read_since: datetime | None = None
    unlisted_count: int = 0
    may_mark: bool = False


def visible_outlets(actor: Principal, departure: Departure) -> list[Decided]:
    """Return what a person who left set up and what was decided, as far as the actor may see it."""
    kept = (departure.is_authentic() and departure.kept) or {}
    listed = _listed(departure)
    return [
        _counted(actor, departure, listed, _decided(actor, departure, outlet, kept.get(str(outlet.uuid), {})))
        for outlet in _outlets(actor, departure)
    ]


def _counted(
    actor: Principal, departure: Departure, listed: Mapping[int, set[int]], outlet: Decided
) -> Decided:
    """Return the same with what programs read by it."""
    if outlet.reads_since is None:
        return outlet
    reads = programs.reads_of(outlet, outlet.reads_since)
    seen = [known for known in reads.known if _may_see(actor, known.secret)]
    unlisted = len(_unlisted(seen, listed))
    may = unlisted and _may_decide(actor, departure, outlet)
    return replace(
        outlet,
        read_count=len(seen),
        read_since=reads.since,
        unlisted_count=unlisted,
        may_mark=bool(may),
    )


def _listed(departure: Departure) -> dict[int, set[int]]:
    """Return the versions that are on the list of a departure, by their secrets."""
    return {row.secret_id: set(row.numbers) for row in DepartureValue.objects.filter(departure=departure)}


def _unlisted(known: Iterable[Known], listed: Mapping[int, set[int]]) -> list[Known]:
    return [each for each in known if not set(each.numbers) <= listed.get(each.secret.pk, set())]


def _may_see(actor: Principal, secret: Secret) -> bool:
    return may_see_all(actor) or _may_replace(actor, secret)


def _outlets(actor: Principal, departure: Departure) -> list[Outlet]:
    if departure.kind != DepartureKind.LEFT:
        return []
    places = None if may_see_all(actor) else _managed(actor)
    return outlets_of([departure.user], CustodyGraph(), places=places)[departure.user.uuid]


def _decided(actor: Principal, departure: Departure, outlet: Outlet, kept: Mapping[str, str]) -> Decided:
    if outlet.is_paused or kept:
        state = "paused" if outlet.is_paused else "kept"
        return Decided(**vars(outlet), state=state, kept_by=kept.get("by", ""), reason=kept.get("reason", ""))
    return Decided(**vars(outlet), state="waits", may_keep=_may_decide(actor, departure, outlet))


def _may_decide(actor: Principal, departure: Departure, outlet: Outlet) -> bool:
    place = outlet.environment.pk if outlet.environment else None
    may = allows(actor, _right_on(outlet), environment_id=place)
    return bool(departure.open and may) and _is_another_person(actor, departure.user)


def _right_on(outlet: Outlet) -> Action:
    """Return the right to decide about an outlet: of managers, or of administrators for the installation."""
    return Action.MEMBER_GRANT if outlet.environment else Action.USER_CHANGE


def _is_another_person(actor: Principal, user: User) -> bool:
    return actor.kind is ActorKind.USER and actor.uuid != user.uuid


def keep_outlet(*, actor: Principal, departure: Departure, uuid: UUID, reason: str) -> Decided:
    """State why what a person set up stays although they left; it holds the departure open no more.

    Raises Invisible if there is none; Forbidden for all but managers of its environment and administrators;
    InvalidField without a reason; Conflict if nothing is to be decided; Tampered.
    """
    outlet = _require_outlet(actor, departure, uuid)
    why = _checked(reason)
    with lock_row(actor, departure, _right_on(outlet), outlet.environment) as stored:
        if not stored.open or not following.is_undecided(stored, outlet):
            raise Conflict("This is decided already. Reload the page.")
        kept = {"by": actor.name, "reason": why}
        stored.kept = {**(stored.kept or {}), str(uuid): kept}
        stored.save(update_fields=["kept"])
        following.record_step(
            stored,
            actor,
            outlet.environment,
            {"kept": outlet.name, "what": outlet.kind, "about": str(uuid), "reason": why},
        )
    return Decided(**vars(outlet), state="kept", kept_by=actor.name, reason=why)


def mark_reads(*, actor: Principal, departure: Departure, uuid: UUID) -> int:
    """Put what programs read by a service token or trust of theirs onto the values of a departure.

    Each secret is marked as due, and a worker does the rest. Return how many secrets are new on the list, of
    those that the actor may see. It can be repeated. Raises Invisible if there is no such token or trust;
    Forbidden as `keep_outlet` does; Conflict if nothing is to be marked or the departure is closed; Tampered.
    """
    outlet = _require_outlet(actor, departure, uuid)
    reads = programs.recorded_reads_of(outlet, outlet.reads_since) if outlet.reads_since else None
    seen = [known for known in reads.known if _may_see(actor, known.secret)] if reads else []
    fresh = _unlisted(seen, _listed(departure))
    if not fresh:
        raise Conflict("What it read or wrote and is in use is on the list. Reload the page.")
    right, words = _right_on(outlet), f"{outlet.kind} {outlet.name}"
    for environment, group in groupby(fresh, key=lambda known: known.secret.environment):
        for batch in in_batches(list(group)):
            with lock_row(actor, departure, right, outlet.environment) as stored:
                if not stored.open:
                    raise Conflict("This departure is closed already.")
                following.mark(stored, environment, batch, actor, read_by=words)
                following.record_step(
                    stored,
                    actor,
                    environment,
                    {"read_by": outlet.name, "about": str(uuid), "marked": len(batch)},
                )
    Departure.objects.filter(pk=departure.pk).update(counted_at=None, lease_until=None)
    nudge(following.RUN)
    return len(fresh)


def _require_outlet(actor: Principal, departure: Departure, uuid: UUID) -> Outlet:
    """Return an outlet about which the actor may decide. Raises Invisible or Forbidden."""
    found = _outlets(actor, departure)
    outlet = next((each for each in found if each.uuid == uuid), None)
    if outlet is None:
        # It may exist where the actor decides nothing.
        record_denial(
            actor=actor, action=Action.MEMBER_GRANT, environment=None, object=departure.audit_object
        )
        raise Invisible("There is nothing of theirs with this ID.")
    require(actor=actor, action=_right_on(outlet), environment=outlet.environment)
    if not _is_another_person(actor, departure.user):
        record_denial(
            actor=actor,
            action=_right_on(outlet),
            environment=outlet.environment,
            object=departure.audit_object,
            reason="program" if actor.kind is not ActorKind.USER else "oneself",
        )
        raise Forbidden("Another person with a role here must decide this.")
    return outlet


def find_departure(*, actor: Principal, id: int) -> Departure:
    """Return a departure. Raises Invisible if there is none of which the actor may see something."""
    departure = visible_departures(actor).filter(pk=id).first()
    if departure is not None:
        return departure
    hidden = Departure.objects.select_related("user").filter(pk=id).first()
    if hidden is not None:
        record_denial(actor=actor, action=Action.USER_VIEW, environment=None, object=hidden.audit_object)
    raise Invisible("There is no such departure.")


def read_departure(*, actor: Principal, id: int) -> tuple[Departure, list[DepartureValue]]:
    """Return a departure and its values, after recording that the actor looked at what a person has read.

    Raises Invisible.
    """
    departure = find_departure(actor=actor, id=id)
    commit_record(
        actor=actor,
        action=Action.TRAIL_VIEW,
        stream=streams.SYSTEM,
        object=departure.audit_object,
        details={"face": "departure"},
    )
    return departure, visible_values(actor, departure)


def visible_values(actor: Principal, departure: Departure) -> list[DepartureValue]:
    """Return the values of a departure that the actor may see, by place and name."""
    rows = following.values_of(departure).filter(secret__environment__deleted_at__isnull=True)
    if may_see_all(actor):
        return list(rows)
    return list(rows.filter(secret__in=Secret.objects.filter(visible(actor, Action.SECRET_UPDATE))))


def find_value(*, actor: Principal, id: int) -> DepartureValue:
    """Return a value of a departure. Raises Invisible if the actor may not see it."""
    rows = DepartureValue.objects.filter(pk=id, secret__environment__deleted_at__isnull=True)
    row = rows.select_related("departure__user", "secret__environment").first()
    if row is not None and (may_see_all(actor) or _may_replace(actor, row.secret)):
        return row
    if row is not None:
        secret = row.secret
        record_denial(
            actor=actor,
            action=Action.SECRET_UPDATE,
            environment=secret.environment,
            name=secret.name,
            object=secret.audit_object,
        )
    raise Invisible("There is no such value.")


def keep_value(*, actor: Principal, value: DepartureValue, reason: str) -> DepartureValue:
    """State why a value stays as it is although the person knows it; it is open no more.

    Raises Forbidden for all but people who edit the secret, and for the person who moved; InvalidField
    without a reason; Conflict if the value is not open any more; Tampered.
    """
    _require_person(actor, Action.SECRET_UPDATE, value)
    why = _checked(reason)
    place, name = value.secret.environment, value.secret.name
    with lock_row(actor, value, Action.SECRET_UPDATE, place, name=name) as stored:
        _require_open(stored)
        stored.kept_by, stored.reason = actor.name, why
        stored.save(update_fields=["kept_by", "reason"])
        _record(actor, stored, {"kept": stored.secret.name, "reason": why})
    return stored


def assign_value(*, actor: Principal, value: DepartureValue, username: str) -> DepartureValue:
    """Give a value to the person who shall replace it, and tell that person.

    Raises Forbidden for all but administrators and managers of the environment; InvalidField unless the
    person may write the value now; Conflict if the value is not open any more; Tampered.
    """
    _require_person(actor, Action.MEMBER_GRANT, value)
    place, name = value.secret.environment, value.secret.name
    with lock_row(actor, value, Action.MEMBER_GRANT, place, name=name) as stored:
        _require_open(stored)
        person = named_user(username)
        if person is None or not following.may_replace(person, stored.secret):
            raise InvalidField("username", "Choose an active person who may change this secret.")
        stored.assignee = person
        stored.save(update_fields=["assignee"])
        following.tell_assignee(stored.departure, person, [stored])
        _record(actor, stored, {"assigned": stored.secret.name, "to": person.username})
    return stored


def close_departure(*, actor: Principal, departure: Departure, reason: str) -> Departure:
    """Close a departure although something is open, with the reason.

    Raises Forbidden, InvalidField without a reason, Conflict if it is closed; Tampered.
    """
    require(actor=actor, action=Action.USER_CHANGE, environment=None)
    why = _checked(reason)
    with lock_row(actor, departure, Action.USER_CHANGE) as stored:
        if not stored.open:
            raise Conflict("This departure is closed already.")
        following.close(stored, by=actor.name, reason=why)
        record(
            actor=actor,
            action=stored.action,
            stream=streams.SYSTEM,
            object=stored.audit_object,
            details={"closed": why},
        )
    return stored


def continue_rotations(*, actor: Principal, departure: Departure) -> Departure:
    """Let rotations go on that wait since a SCIM client ended many people: of all whom it ended so.

    Raises Forbidden, ConfirmationNeeded, Conflict if none waits; Tampered.
    """
    require(actor=actor, action=Action.USER_CHANGE, environment=None)
    require_confirmed(actor)
    client = _client_of(departure)
    tokens = ServiceToken.objects.filter(scim_client_uuid=client).values("uuid")
    with lock_row(actor, departure, Action.USER_CHANGE) as stored:
        if stored.held_at is None:
            raise Conflict("Nothing waits here. Reload the page.")
        held = Departure.objects.filter(held_at__isnull=False, ended_by_uuid__in=tokens).order_by("pk")
        for row in verified_rows(held.select_for_update()):
            row.held_at = row.counted_at = row.settled_at = None
            row.save(update_fields=["held_at", "counted_at", "settled_at"])
            record(
                actor=actor,
                action=row.action,
                stream=streams.SYSTEM,
                object=row.audit_object,
                details={"continued": True},
            )
        if client is not None:
            resolve_alert(kinds=[MASS_LEAVE], about=client, subject=f"{actor.name} let rotations go on")
        stored.refresh_from_db()
    nudge(following.RUN)
    return stored


def _client_of(departure: Departure) -> UUID | None:
    """Return the SCIM client whose token ended the account."""
    token = ServiceToken.objects.filter(uuid=departure.ended_by_uuid).first()
    return token.scim_client_uuid if token else None


def progress(values: Sequence[DepartureValue]) -> tuple[int, int]:
    """Return how many values are dealt with, and of how many."""
    return sum(not value.is_open for value in values), len(values)


def may_assign(actor: Principal, user: User, value: DepartureValue) -> bool:
    """Return whether the actor may give a value to a person, and the value is open."""
    may = allows(
        actor,
        Action.MEMBER_GRANT,
        environment_id=value.secret.environment_id,
        name=value.secret.name,
    )
    return may and value.is_open and actor.uuid != user.uuid


def may_keep(actor: Principal, user: User, value: DepartureValue) -> bool:
    """Return whether the actor may state why a value stays."""
    return _may_replace(actor, value.secret) and value.is_open and actor.uuid != user.uuid


def _require_person(actor: Principal, action: Action, value: DepartureValue) -> None:
    """Raise Forbidden for who lacks a right on the secret, for programs, and for the person concerned.

    A person who left may still hold a token.
    """
    require_on(actor=actor, action=action, secret=value.secret)
    if actor.kind is not ActorKind.USER or actor.uuid == value.departure.user.uuid:
        secret = value.secret
        record_denial(
            actor=actor,
            action=action,
            environment=secret.environment,
            name=secret.name,
            object=secret.audit_object,
            reason="program" if actor.kind is not ActorKind.USER else "oneself",
        )
        raise Forbidden("Another person with a role here must decide this.")


def _may_replace(actor: Principal, secret: Secret) -> bool:
    return allows(actor, Action.SECRET_UPDATE, environment_id=secret.environment_id, name=secret.name)


def _require_open(stored: DepartureValue) -> None:
    """Raise Conflict for a value that was replaced, deleted or kept meanwhile."""
    if not stored.is_open:
        raise Conflict("This value is not open any more. Reload the page.")


def _checked(reason: str) -> str:
    text = reason.strip()
    if not text or len(text) > MAX_REASON or not text.isprintable():
        raise InvalidField("reason", f"Enter a reason of one line, with at most {MAX_REASON} characters.")
    return text


def _record(actor: Principal, value: DepartureValue, details: dict[str, Json]) -> None:
    user = value.departure.user
    record(
        actor=actor,
        action=value.departure.action,
        stream=streams.environment_stream(value.secret.environment.uuid),
        object=AuditObject("user", user.uuid, user.username),
        details=details,
    )
