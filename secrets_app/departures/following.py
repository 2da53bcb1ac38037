"""What follows from a departure: the values that the person knows are marked, rotated or assigned.

A worker counts what the person knows at once, and again when the requests that were under way at the end
have finished: one of them may have read a value after the first look. Each step may be repeated: a value
has one row a departure, and a row that is there is not marked anew. Whether a value is still open follows
from its secret, so that a rotation that failed leaves it open.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cache
from itertools import groupby
from typing import Final
from uuid import UUID, uuid5

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.recorder import record
from core.canonical_json import Json
from core.db.bulk import in_batches
from core.db.concurrency import claim, unleased
from environments_app.approvals.approvers import possible_managers
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import allows, grants_allow, visible
from environments_app.authorization.principals import user_principal
from environments_app.authorization.rows import lock_authentic
from environments_app.models import (
    Alert,
    Departure,
    DepartureKind,
    Environment,
    User,
    UserRole,
)
from environments_app.notifications.service import message_users, raise_alert, resolve_alert
from secrets_app.exposure import Known, copies_of, equal_versions, known_to
from secrets_app.models import DepartureValue, Secret
from secrets_app.outlets import Outlet, outlets_of

RUN: Final = "secrets_app.tasks.follow_departures"
KIND: Final = "departure"
# No request takes longer: what one of them read under way is in the audit log by then.
SETTLES_AFTER: Final = timedelta(minutes=2)
# Longer than a step takes; each step extends it. Whoever dies is replaced by the first look after it.
LEASE: Final = timedelta(seconds=30)
# A provider that sends groups one by one moves a person many times.
_BETWEEN_MOVES: Final = timedelta(hours=1)
_AT_A_TIME: Final = 100
_NAMED: Final = 20
Queue = Callable[[Collection[UUID]], Collection[UUID]]


def run() -> None:
    """Count what waits to be counted, and look at all open departures; not in a copy of an installation."""
    if not is_active():
        return
    now = timezone.now()
    unsettled = Q(settled_at=None, at__lte=now - SETTLES_AFTER)
    moved_again = Q(kind=DepartureKind.MOVED, at__gt=F("counted_at"), counted_at__lte=now - _BETWEEN_MOVES)
    waiting = Departure.objects.filter(
        Q(counted_at=None) | unsettled | moved_again, unleased(now, LEASE), open=True
    ).order_by("pk")
    for pk in waiting.values_list("pk", flat=True)[:_AT_A_TIME]:
        departure = claim(
            Departure.objects.select_related("user"), pk, unleased(now, LEASE), lease_until=now + LEASE
        )
        if departure is not None and verified_rows([departure]):
            count(departure)
    settled = Departure.objects.filter(open=True, settled_at__isnull=False).select_related("user")
    done = [departure for departure in verified_rows(settled.order_by("pk")) if not _has_open(departure)]
    # What all of them set up, at once.
    left = [departure.user for departure in done if departure.kind == DepartureKind.LEFT]
    outlets = outlets_of(left, CustodyGraph())
    for departure in done:
        theirs = outlets.get(departure.user.uuid, []) if departure.kind == DepartureKind.LEFT else []
        if any(is_undecided(departure, outlet) for outlet in theirs):
            _remind(departure, [])
        else:
            _close_if_done(departure)


def count(departure: Departure, actor: Actor | None = None) -> None:
    """Mark, bring forward and assign what the person knows and is served; the caller holds the departure.

    The events are those of `actor`, by default who ended the account.
    """
    began, actor = timezone.now(), actor or departure.ended_by
    # Programs may have read what is on the list.
    listed = {row.secret.uuid: row.numbers for row in values_of(departure)}
    standing = [known for known in known_to(departure.user.uuid, beside=listed) if known.stands]
    if departure.kind == DepartureKind.MOVED:
        _list_lost(departure, standing)
        _note_count(departure, actor, settled=departure.at <= began - SETTLES_AFTER)
        return
    for environment, group in groupby(standing, key=lambda known: known.secret.environment):
        for batch in in_batches(list(group)):
            mark(departure, environment, batch, actor)
    _extend_lease(departure)
    open_rows = [row for row in values_of(departure) if row.is_open]
    # Asked last: a SCIM client that ends many people has them held meanwhile.
    if not Departure.objects.filter(pk=departure.pk, held_at__isnull=False).exists():
        _bring_forward([row for row in open_rows if not row.by_policy])
    _extend_lease(departure)
    _assign(departure, [row for row in open_rows if not row.by_policy and row.assignee_id is None])
    _note_count(departure, actor, settled=departure.at <= began - SETTLES_AFTER)


def _extend_lease(departure: Departure) -> None:
    Departure.objects.filter(pk=departure.pk).update(lease_until=timezone.now() + LEASE)


def _list_lost(departure: Departure, standing: Sequence[Known]) -> None:
    """List the values that a person who moved knows and may read no more; nothing is marked."""
    readable = readable_by(departure.user)
    for batch in in_batches([known for known in standing if known.secret.pk not in readable]):
        with transaction.atomic():
            _extend_lease(Departure.objects.select_for_update().get(pk=departure.pk))
            rows = DepartureValue.objects.filter(departure=departure)
            existing = set(rows.values_list("secret_id", flat=True))
            for known in batch:
                if known.secret.pk not in existing:
                    _new_value(departure, known).save()


def readable_by(user: User) -> set[int]:
    """Return the ids of the secrets whose values a person may read now."""
    rows = Secret.objects.filter(visible(user_principal(user), Action.SECRET_REVEAL), live=True)
    return set(rows.values_list("pk", flat=True))


def _new_value(departure: Departure, known: Known, read_by: str = "") -> DepartureValue:
    return DepartureValue(
        read_by=read_by,
        departure=departure,
        secret=known.secret,
        numbers=list(known.numbers),
        counted_number=known.secret.current_number,
    )


def values_of(departure: Departure) -> QuerySet[DepartureValue]:
    """Return the values of a departure, by place and name."""
    rows = DepartureValue.objects.filter(departure=departure)
    return rows.select_related("departure__user", "secret__environment", "assignee").order_by(
        "secret__environment__name", "secret__name", "pk"
    )


def undecided(departure: Departure) -> list[Outlet]:
    """Return what a person who left set up and still leads out of Keeper or in; somebody has to decide."""
    if departure.kind != DepartureKind.LEFT:
        return []
    found = outlets_of([departure.user], CustodyGraph())[departure.user.uuid]
    return [outlet for outlet in found if is_undecided(departure, outlet)]


def is_undecided(departure: Departure, outlet: Outlet) -> bool:
    """Return whether an outlet goes on, and nobody has said why."""
    return not outlet.is_paused and str(outlet.uuid) not in (departure.kept or {})


def is_done(departure: Departure) -> bool:
    """Return whether nothing is open that follows from a departure."""
    return not any(row.is_open for row in values_of(departure)) and not undecided(departure)


def close(departure: Departure, *, by: str = "", reason: str = "") -> None:
    """Close a locked departure, in the caller's transaction: by itself, or by an administrator."""
    departure.open, departure.closed_at = None, timezone.now()
    departure.closed_by, departure.reason = by, reason
    departure.save(update_fields=["open", "closed_at", "closed_by", "reason"])
    for about in (departure.uuid, *_abouts(departure)):
        resolve_alert(kinds=[KIND], about=about, subject=f"Nothing is open after {_sentence(departure)}")


def record_step(
    departure: Departure, actor: Actor, environment: Environment | None, details: dict[str, Json]
) -> None:
    """Record a step of a departure, in its transaction."""
    record(
        actor=actor,
        action=departure.action,
        stream=streams.environment_stream(environment.uuid) if environment else streams.SYSTEM,
        object=departure.audit_object,
        # So that a removed departure is missing.
        details={**details, **row_digest_entry(departure)},
    )


def mark(
    departure: Departure, environment: Environment, batch: Sequence[Known], actor: Actor, read_by: str = ""
) -> None:
    """Store the values of a batch that have no row yet, and mark their secrets as due; all or none.

    `read_by` names the token or trust by which programs read them.
    """
    with transaction.atomic():
        # One worker at a time, also after a lease that ended too early.
        stored = Departure.objects.select_for_update().get(pk=departure.pk)
        _extend_lease(stored)
        rows = DepartureValue.objects.filter(
            departure=stored, secret__in=[known.secret.pk for known in batch]
        )
        existing = {row.secret_id: row for row in rows.select_related("departure", "secret")}
        due = []
        for known in batch:
            row = existing.get(known.secret.pk)
            if row is None:
                _new_value(departure, known, read_by).save()
                due.append(known.secret)
                continue
            if not set(known.numbers) <= set(row.numbers):
                # Another version: what was kept before says nothing of it.
                row.numbers = sorted({*row.numbers, *known.numbers})
                row.counted_number = known.secret.current_number
                row.kept_by, row.reason, row.read_by = "", "", read_by or row.read_by
                row.save()
            if known.secret.rotation_due_at is None and row.is_open:
                due.append(known.secret)
        if due:
            Secret.objects.filter(pk__in=[secret.pk for secret in due]).update(rotation_due_at=timezone.now())
            record_step(departure, actor, environment, {"due": [secret.name for secret in due]})


def _bring_forward(rows: Sequence[DepartureValue]) -> None:
    """Let the policies of secrets rotate them now, and note which have one."""
    uuids = [row.secret.uuid for row in rows]
    rotated = {uuid for queue in _queues() for uuid in queue(uuids)} if uuids else set()
    found = [row.pk for row in rows if row.secret.uuid in rotated]
    for batch in in_batches(found):
        DepartureValue.objects.filter(pk__in=batch).update(by_policy=True)


@cache
def _queues() -> tuple[Queue, ...]:
    return tuple(import_string(path) for path in settings.KEEPER_ROTATION_RESCHEDULERS)


def _assign(departure: Departure, rows: Sequence[DepartureValue]) -> None:
    """Give each value to the person whom the text of its owner names, and tell each person once."""
    owners: dict[str, User | None] = {}
    given: dict[int, list[DepartureValue]] = {}
    people: dict[int, User] = {}
    for row in rows:
        text = row.secret.owner.strip()
        if text not in owners:
            owners[text] = _person_named(text, departure.user)
        person = owners[text]
        if person is not None and may_replace(person, row.secret):
            given.setdefault(person.pk, []).append(row)
            people[person.pk] = person
    for pk, own in given.items():
        with transaction.atomic():
            ids = [row.pk for row in own]
            # Somebody else may have given it to a person meanwhile.
            if DepartureValue.objects.filter(pk__in=ids, assignee=None).update(assignee=people[pk]):
                tell_assignee(departure, people[pk], own)


def _person_named(text: str, leaver: User) -> User | None:
    """Return the one active person whose username or e-mail address an owner's text is."""
    if not text:
        return None
    people = User.objects.filter(Q(username__iexact=text) | Q(email__iexact=text), is_active=True)
    found = verified_rows(people.exclude(pk=leaver.pk)[:2])
    return found[0] if len(found) == 1 else None


def may_replace(person: User, secret: Secret) -> bool:
    """Return whether a person may write the value of a secret now."""
    return allows(
        user_principal(person), Action.SECRET_UPDATE, environment_id=secret.environment_id, name=secret.name
    )


def tell_assignee(departure: Departure, person: User, rows: Sequence[DepartureValue]) -> None:
    """Notify a person of the values that are theirs to replace, in the caller's transaction."""
    message_users(
        people=[person.uuid],
        environment=None,
        kind=KIND,
        subject=f"{_values(len(rows))} that {departure.user.username} knew need a new value",
        lines=[f"{_sentence(departure)}.", *_named(rows), "Replace them, or say why a value may stay."],
        link=_page(departure),
    )


def _note_count(departure: Departure, actor: Actor, *, settled: bool) -> None:
    """Store that the values were counted, record and tell it; together."""
    rows = list(values_of(departure))
    standing = [row for row in rows if row.is_open]
    now = timezone.now()
    with transaction.atomic():
        Departure.objects.filter(pk=departure.pk).update(
            counted_at=now,
            settled_at=now if settled else None,
            by_policy=sum(row.by_policy for row in standing),
            lease_until=None,
        )
        queued = sum(row.by_policy for row in standing)
        if departure.kind == DepartureKind.MOVED:
            # The loss of access is recorded where it happened.
            if standing:
                _tell(departure, standing, late=False)
            return
        if departure.counted_at is None or standing:
            _tell(departure, standing, late=False)
        record_step(departure, actor, None, {"marked": len(standing), "queued": queued, "known": len(rows)})


def _tell(departure: Departure, standing: Sequence[DepartureValue], *, late: bool) -> None:
    """Raise the alerts of a departure: for administrators, and in each environment for its managers."""
    queued = sum(row.by_policy for row in standing)
    waits = [row for row in standing if not row.by_policy]
    outlets = undecided(departure)
    administrators = User.objects.filter(role=UserRole.ADMIN, is_active=True).values_list("uuid", flat=True)
    raise_alert(
        kind=KIND,
        about=departure.uuid,
        environment=None,
        subject=f"{_sentence(departure)}: {_values(len(standing))} {'still ' * late}in use"[:200],
        lines=[
            *(
                [f"{ended_words(departure)} ended at once."]
                if departure.kind == DepartureKind.LEFT
                else ["They may read these values no more, and know them."]
            ),
            f"{queued} rotate by policy, {len(waits)} wait for people.",
            *_outlet_lines(outlets),
            *([f"They are open for more than {settings.KEEPER_DEPARTURE_DAYS} days."] if late else []),
            *(f"{name} has no manager any more." for name in unmanaged(departure)),
        ],
        link=_page(departure),
        signature=f"{'late' if late else 'open'}-{len(standing)}-{len(outlets)}",
        people=list(administrators),
    )
    unassigned = [row for row in waits if late or row.assignee_id is None]
    places = {row.secret.environment for row in unassigned}
    places |= {outlet.environment for outlet in outlets if outlet.environment}
    for environment in sorted(places, key=lambda place: place.pk):
        own = [row for row in unassigned if row.secret.environment_id == environment.pk]
        theirs = [outlet for outlet in outlets if outlet.environment == environment]
        raise_alert(
            kind=KIND,
            about=uuid5(departure.uuid, environment.uuid.hex),
            environment=environment,
            subject=f"{environment.name}: {_values(len(own))} that {departure.user.username} knew"[:200],
            lines=[f"{_sentence(departure)}.", *_named(own), *_outlet_lines(theirs)],
            link=_page(departure),
            signature=f"{'late' if late else 'open'}-{len(own)}-{len(theirs)}",
            people=[person.uuid for person in possible_managers(environment)],
        )


def _copied_since(departure: Departure, rows: Sequence[DepartureValue]) -> bool:
    """Return whether a value that they know was moved, copied or written again since the count."""
    if departure.counted_at is None:
        return False
    known = {row.secret.uuid: row.numbers for row in rows}
    # What was under way at the count may have come into the log after it.
    since = departure.counted_at - SETTLES_AFTER
    written = [row.secret for row in rows if row.secret.rotated_at and row.secret.rotated_at >= since]
    if any(number == secret.current_number for secret, number in equal_versions(written, known)):
        return True
    found = set(copies_of(known, since=since))
    fresh = {uuid for uuid, number in found if number not in known.get(uuid, ())}
    return bool(fresh) and Secret.objects.filter(uuid__in=fresh, live=True, decoy=None).exists()


def _has_open(departure: Departure) -> bool:
    """Return whether values of a departure are open, or are to be counted again; tell it if that is late.

    What a person who moved may read again is nothing to do about.
    """
    rows = list(values_of(departure))
    if _copied_since(departure, rows):
        # The next look counts them.
        Departure.objects.filter(pk=departure.pk).update(counted_at=None)
        return True
    standing = [row for row in rows if row.is_open]
    if departure.kind == DepartureKind.MOVED and standing:
        readable = readable_by(departure.user)
        standing = [row for row in standing if row.secret_id not in readable]
    if standing:
        _remind(departure, standing)
    return bool(standing)


def _close_if_done(departure: Departure) -> None:
    with lock_authentic(departure) as stored:
        if stored.open and (stored.kind == DepartureKind.MOVED or is_done(stored)):
            close(stored)
            record_step(stored, stored.ended_by, None, {"closed": "nothing is open"})


def _remind(departure: Departure, standing: Sequence[DepartureValue]) -> None:
    """Tell that a departure stays open, once it is old."""
    if departure.at < timezone.now() - timedelta(days=settings.KEEPER_DEPARTURE_DAYS):
        with transaction.atomic():
            _tell(departure, standing, late=True)


def unmanaged(departure: Departure) -> list[str]:
    """Return the environments of the person's memberships in which no active manager is left."""
    places = Environment.objects.filter(
        Q(memberships__user=departure.user) | Q(memberships__group__group_members__user=departure.user)
    )
    return [
        str(place.name)
        for place in places.distinct().order_by("position", "name")
        if not any(
            grants_allow(user_principal(person), Action.MEMBER_GRANT, environment_id=place.pk)
            for person in possible_managers(place)
        )
    ]


_WORDS: Final = (
    ("sessions", "session"),
    ("tokens", "personal token"),
    ("sign_ins", "sign-in of a program"),
    ("password_links", "password link"),
    ("links", "one-time link"),
    ("requests", "pending request"),
)


def ended_words(departure: Departure) -> str:
    """Return what ended at once, in words."""
    parts = [
        f"{number} {word if number == 1 else _plural(word)}"
        for name, word in _WORDS
        if (number := departure.ended.get(name, 0))
    ]
    return ", ".join(parts) or "No session, token, link or request"


def _plural(word: str) -> str:
    return "sign-ins of programs" if word.startswith("sign-in") else f"{word}s"


def _sentence(departure: Departure) -> str:
    verb = "left" if departure.kind == DepartureKind.LEFT else "moved"
    return f"{departure.user.username} {verb} ({departure.ended_by_name}, {departure.at:%Y-%m-%d %H:%M} UTC)"


def _values(number: int) -> str:
    return f"{number} value{'' if number == 1 else 's'}"


def _named(rows: Iterable[DepartureValue]) -> Iterator[str]:
    found = list(rows)
    yield from (f"{row.secret.environment.name}/{row.secret.name}" for row in found[:_NAMED])
    if len(found) > _NAMED:
        yield f"and {len(found) - _NAMED} more"


def _outlet_lines(outlets: Sequence[Outlet]) -> list[str]:
    named = [
        f"{outlet.kind} {outlet.name} is of their making, or has their credentials." for outlet in outlets
    ]
    rest = len(named) - _NAMED
    return [*named[:_NAMED], *([f"and {rest} more"] if rest > 0 else [])]


def _abouts(departure: Departure) -> set[UUID]:
    """Return what the open alerts of a departure in environments are about."""
    places = {uuid5(departure.uuid, uuid.hex) for uuid in Environment.every.values_list("uuid", flat=True)}
    return places & set(Alert.objects.filter(kind=KIND, open=True).values_list("about", flat=True))


def _page(departure: Departure) -> str:
    return reverse("departure", args=[departure.pk])
