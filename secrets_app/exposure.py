"""Who has seen which value, from the audit log: what a user or token knows, readers, the offboarding report.

A reader knows a value permanently, whatever rights they lose. So every value that an event shows as read or
written by them counts. A rotation in the name of its requester does not count: it passes values to a
rotator, never to a person. Reads of many are included.

The offboarding report shows what a user can read, what they did read, and which of it is served.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from audit_app.events.actions import UNSEEN, Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.interfaces import audit_log_policy
from audit_app.models import AuditEvent, ManifestUse, ReadManifestItem, UsageEntry
from audit_app.queries import search, usage_index
from audit_app.queries.access_log import record_view
from core.canonical_json import parsed_details
from core.db.bulk import BATCH, in_batches
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal, require, visible
from environments_app.authorization.principals import grants_ignoring_status
from environments_app.environments.access_history import Disabled, when_disabled
from environments_app.errors import Invisible
from environments_app.models import Environment, ServiceToken, Trust, User
from environments_app.users.password_backend import named_user
from secrets_app.keys import fingerprints
from secrets_app.models import Secret, SecretVersion
from secrets_app.outlets import Outlet, outlets_of

# Between the event that opens a version for a copy and the write of that; a key service may be slow.
_WRITTEN_WITHIN: Final = timedelta(minutes=10)
_CLOCKS_DIFFER: Final = timedelta(minutes=10)
_NEVER: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Known:
    """A secret with versions that the subject read or wrote; `stands` if one of them is still served."""

    secret: Secret
    numbers: tuple[int, ...]
    stands: bool


def known_to(who: UUID, *, beside: Mapping[UUID, Collection[int]] = MappingProxyType({})) -> list[Known]:
    """Return what a person or token has seen or written, deleted secrets included, sorted by place and name.

    `beside`: versions by the uuids of their secrets that count as seen too. A version that a rollback made of
    one that they know counts too, and so does a copy of one, whoever made it and when, and an equal one that
    is served. A decoy does not count. It costs a statement for single acts, one for acts on many, four for
    each 500 secrets, and some for copies.
    """
    return _all_known([*_seen_by([who]), *((uuid, n) for uuid, numbers in beside.items() for n in numbers)])


def read_by(programs: Sequence[UUID]) -> list[Known]:
    """Return what any of these programs has seen or written, as `known_to` does."""
    return _all_known(_seen_by(programs))


def counted_of(programs: Sequence[UUID]) -> list[Known]:
    """Return the same by the counts of use, for a page: a program may have read a million times.

    What came into the audit log in the last seconds may be missing.
    """
    return _all_known(_counted_of(programs))


def known_otherwise(people: Sequence[UUID]) -> set[UUID]:
    """Return the secrets that serve a value which these know by another version or another secret alone."""
    pairs = set(_counted_of(people))
    return {
        known.secret.uuid
        for known in _all_known(pairs)
        if known.stands and not any((known.secret.uuid, number) in pairs for number in _served(known.secret))
    }


def _counted_of(programs: Sequence[UUID]) -> Iterator[tuple[UUID, int]]:
    usage_index.catch_up()
    for batch in in_batches(programs):
        uses = UsageEntry.objects.filter(actor_uuid__in=batch, number__gt=0)
        yield from uses.values_list("object_uuid", "number").distinct()
        manifests = ManifestUse.objects.filter(actor_uuid__in=batch).values("manifest_id")
        along = ReadManifestItem.objects.filter(manifest__in=manifests)
        yield from along.values_list("secret_uuid", "number").distinct()


def _all_known(pairs: Iterable[tuple[UUID, int]]) -> list[Known]:
    seen: dict[UUID, set[int]] = {}
    for uuid, number in pairs:
        seen.setdefault(uuid, set()).add(number)
    fresh = list(seen)
    while fresh:
        for uuids in in_batches(fresh):
            for uuid, old, new in _rolled_back(uuids):
                if old in seen[uuid]:
                    seen[uuid].add(new)
        asked, fresh = {uuid: seen[uuid] for uuid in fresh}, []
        for uuid, number in copies_of(asked):
            if number not in seen.get(uuid, ()):
                seen.setdefault(uuid, set()).add(number)
                fresh.append(uuid)
    secrets: list[Secret] = []
    for uuids in in_batches(list(seen)):
        found = Secret.objects.filter(uuid__in=uuids, decoy=None).select_related("environment")
        secrets += found
        for secret, number in equal_versions(found, seen):
            seen[secret.uuid].add(number)
    secrets.sort(key=attrgetter("environment.name", "environment_id", "name", "pk"))
    return [_known(secret, seen[secret.uuid]) for secret in secrets]


def equal_versions(
    secrets: Iterable[Secret], numbers: Mapping[UUID, Collection[int]]
) -> Iterator[tuple[Secret, int]]:
    """Yield served versions, beside these, that hold the value of one of these of the same secret.

    Those of guarded secrets are left out: who may write one and not read it could guess its value by what
    follows from this.
    """
    asked = {
        secret.pk: secret
        for secret in secrets
        if secret.live and not secret.guarded and not _served(secret) <= set(numbers[secret.uuid])
    }
    for batch in in_batches(list(asked)):
        prints: dict[int, dict[int, bytes]] = defaultdict(dict)
        rows = SecretVersion.objects.filter(secret__in=batch)
        for pk, number, fingerprint in rows.values_list("secret_id", "number", "fingerprint"):
            prints[pk][number] = bytes(fingerprint)
        for pk in batch:
            secret, theirs = asked[pk], prints[pk]
            mine = [theirs[number] for number in numbers[secret.uuid] if theirs.get(number)]
            for number in sorted(_served(secret) - set(numbers[secret.uuid])):
                if any(fingerprints.same_value(each, theirs.get(number, b"")) for each in mine):
                    yield secret, number


def _served(secret: Secret) -> set[int]:
    # The previous value works while its grace lasts, and the pending one is about to.
    served = {secret.current_number, secret.previous_number, secret.pending_number}
    return {number for number in served if number}


def _known(secret: Secret, numbers: set[int]) -> Known:
    stands = bool(secret.live and numbers & _served(secret))
    return Known(secret=secret, numbers=tuple(sorted(numbers)), stands=stands)


def _seen_by(actors: Sequence[UUID]) -> Iterator[tuple[UUID, int]]:
    """Yield secrets and version numbers: of single reads and writes, and of reads of many."""
    for batch in in_batches(actors):
        events = AuditEvent.objects.filter(actor_uuid__in=batch, outcome=Outcome.ALLOWED)
        events = events.exclude(action__in=UNSEEN)
        single = events.filter(
            object_kind="secret", action__startswith="secret.", details__contains='"number":'
        )
        for uuid, details in single.values_list("object_uuid", "details").iterator(chunk_size=BATCH):
            number = parsed_details(details).get("number")
            if isinstance(number, int):
                yield uuid, number
        manifests = events.filter(manifest__isnull=False).values("manifest")
        along = ReadManifestItem.objects.filter(manifest__in=manifests)
        yield from along.values_list("secret_uuid", "number").distinct().iterator(chunk_size=BATCH)


def _rolled_back(uuids: Sequence[UUID]) -> Iterator[tuple[UUID, int, int]]:
    """Yield secrets, the version that a rollback took the value of, and the new one, the oldest first."""
    # By the act: a secret may have been read a million times.
    events = AuditEvent.objects.filter(
        object_uuid__unindexed__in=uuids, action=Action.SECRET_ROLLBACK, outcome=Outcome.ALLOWED
    )
    for uuid, details in events.order_by("id").values_list("object_uuid", "details"):
        found = parsed_details(details)
        old, new = found.get("restored"), found.get("number")
        if isinstance(old, int) and isinstance(new, int):
            yield uuid, old, new


def sources_of(secret: Secret) -> set[tuple[UUID, int]]:
    """Return the versions that hold the value of a served one, which a rollback, copy or move made of them.

    Served ones are among them. By the audit log, and without clones of environments.
    """
    found = {(secret.uuid, number) for number in _served(secret)}
    fresh = set(found)
    while fresh:
        earlier = {
            (uuid, old)
            for uuid, old, new in _rolled_back(sorted({uuid for uuid, _ in fresh}))
            if (uuid, new) in fresh
        }
        fresh = (earlier | {source for each in fresh for source in _copied_from(*each)}) - found
        found |= fresh
    return found


def _copied_from(uuid: UUID, number: int) -> Iterator[tuple[UUID, int]]:
    """Yield the version that a version was copied of: the writer opened it last, for this place and name."""
    writes = AuditEvent.objects.filter(
        object_uuid=uuid,
        action__in=(Action.SECRET_CREATE, Action.SECRET_UPDATE),
        outcome=Outcome.ALLOWED,
        details__contains=f'"number":{number}',
    )
    for write in writes.order_by("id"):
        if parsed_details(write.details).get("number") != number:
            continue
        opened = AuditEvent.objects.filter(
            actor_uuid=write.actor_uuid,
            action__in=(Action.SECRET_COPY, Action.SECRET_MOVE),
            outcome=Outcome.ALLOWED,
            id__lt=write.pk,
            at__gte=write.at - _WRITTEN_WITHIN,
        )
        for copy in opened.order_by("-id"):
            details = parsed_details(copy.details)
            place, _, name = str(details.get("to", "")).partition("/")
            if name != write.object_name:
                continue
            streams = {environment_stream(each.uuid) for each in Environment.every.filter(name=place)}
            # The first write there is the copy.
            first = AuditEvent.objects.filter(
                stream=write.stream,
                actor_uuid=write.actor_uuid,
                object_name=name,
                action__in=(Action.SECRET_CREATE, Action.SECRET_UPDATE),
                outcome=Outcome.ALLOWED,
                id__gt=copy.pk,
            ).order_by("id")
            is_first = first.values_list("pk", flat=True).first() == write.pk
            if is_first and write.stream in streams and isinstance(details.get("number"), int):
                yield copy.object_uuid, details["number"]
            break


class _Copy(NamedTuple):
    """An event that opened a version for a copy, and where that went by its words."""

    event: int
    at: datetime
    actor: UUID
    place: str
    name: str


def copies_of(
    numbers: Mapping[UUID, Collection[int]], *, since: datetime | None = None
) -> Iterator[tuple[UUID, int]]:
    """Yield the secrets and versions that copies and moves of these versions made, by the audit log.

    The event of the copy names the place and name; the next write there by the same actor is the copy. That
    of a cloned environment names its source.
    """
    for uuids in in_batches(list(numbers)):
        yield from _written(list(_copied(uuids, numbers, since)))
    if numbers:
        yield from _cloned(numbers, since)


def _cloned(numbers: Mapping[UUID, Collection[int]], since: datetime | None) -> Iterator[tuple[UUID, int]]:
    """Yield what clones of environments were given of versions: lists name what was read and made."""
    clones = AuditEvent.objects.filter(
        action=Action.ENVIRONMENT_CREATE, outcome=Outcome.ALLOWED, details__contains='"cloned_from":'
    )
    if since:
        clones = clones.filter(id__gte=_first_since(since), at__unindexed__gte=since)
    for clone in clones.order_by("id").only("id", "at", "actor_uuid", "object_uuid", "details"):
        source = UUID(parsed_details(clone.details)["cloned_from"])
        mine = AuditEvent.objects.filter(
            actor_uuid=clone.actor_uuid, outcome=Outcome.ALLOWED, manifest__isnull=False
        )
        read = mine.filter(
            stream=environment_stream(source), action=Action.SECRET_EXPORT, id__lt=clone.pk
        ).order_by("-id")
        items = ReadManifestItem.objects.filter(
            manifest__in=list(read.values_list("manifest", flat=True)[:1])
        )
        names = {
            name
            for uuid, number, name in items.values_list("secret_uuid", "number", "name").iterator(BATCH)
            if number in numbers.get(uuid, ())
        }
        made = mine.filter(
            stream=environment_stream(clone.object_uuid),
            action=Action.SECRET_CREATE,
            id__gt=clone.pk,
            at__lte=clone.at + _WRITTEN_WITHIN,
        )
        items = ReadManifestItem.objects.filter(manifest__in=list(made.values_list("manifest", flat=True)))
        for uuid, number, name in items.values_list("secret_uuid", "number", "name").iterator(BATCH):
            if name in names:
                yield uuid, number


def _first_since(since: datetime) -> int:
    """Return an event id that all events since a time are from, also those of a host whose clock differs."""
    events = AuditEvent.objects.filter(at__gte=since - _CLOCKS_DIFFER).order_by("at")
    found = events.values_list("id", flat=True).first()
    return _NEVER if found is None else found


def _copied(
    uuids: Sequence[UUID], numbers: Mapping[UUID, Collection[int]], since: datetime | None
) -> Iterator[_Copy]:
    # By the act, and of that what is new: a secret may have been read a million times.
    events = AuditEvent.objects.filter(
        object_uuid__unindexed__in=uuids,
        action__in=(Action.SECRET_COPY, Action.SECRET_MOVE),
        outcome=Outcome.ALLOWED,
    )
    if since:
        events = events.filter(id__gte=_first_since(since), at__unindexed__gte=since)
    for event, at, actor, uuid, details in events.values_list(
        "id", "at", "actor_uuid", "object_uuid", "details"
    ):
        found = parsed_details(details)
        place, _, name = str(found.get("to", "")).partition("/")
        if name and found.get("number") in numbers[uuid]:
            yield _Copy(event, at, actor, place, name)


def _written(copies: Sequence[_Copy]) -> Iterator[tuple[UUID, int]]:
    """Yield what copies were written as; nothing for one that came to nothing."""
    places = Environment.every.filter(name__in={each.place for each in copies}) if copies else ()
    streams: dict[str, set[str]] = defaultdict(set)
    for place in places:
        streams[place.name].add(environment_stream(place.uuid))
    for batch in in_batches(copies if streams else ()):
        writes = AuditEvent.objects.filter(
            stream__in={stream for each in batch for stream in streams.get(each.place, ())},
            action__in=(Action.SECRET_CREATE, Action.SECRET_UPDATE),
            object_name__in={each.name for each in batch},
            outcome=Outcome.ALLOWED,
            id__gt=min(each.event for each in batch),
        )
        columns = ("id", "at", "actor_uuid", "object_name", "stream", "object_uuid", "details")
        rows = list(writes.order_by("id").values_list(*columns))
        for each in batch:
            for event, at, actor, name, stream, uuid, details in rows:
                if (
                    event > each.event
                    and (actor, name) == (each.actor, each.name)
                    and stream in streams[each.place]
                ):
                    number = parsed_details(details).get("number")
                    if at <= each.at + _WRITTEN_WITHIN and isinstance(number, int):
                        yield uuid, number
                    break


@dataclass(frozen=True, kw_only=True)
class OffboardingReport:
    """The offboarding report of a user."""

    user: User
    could_read: Sequence[Secret]
    known: Sequence[Known]
    tokens: Sequence[ServiceToken]
    trusts: Sequence[Trust]
    outlets: Sequence[Outlet]
    # That the person could sign in as.
    accounts: Sequence[User]
    # None while the account is enabled.
    disabled: Disabled | None

    @property
    def standing(self) -> list[Known]:
        return [each for each in self.known if each.stands]


def find_person(*, actor: Principal, username: str) -> User:
    """Return a user by name. Raises Forbidden, and Invisible if there is none."""
    require(actor=actor, action=Action.USER_VIEW, environment=None)
    user = named_user(username)
    if user is None:
        raise Invisible("User not found.")
    return user


def offboarding_report(*, actor: Principal, user: User) -> OffboardingReport:
    """Return what a person could read, knows, and holds. Raises Forbidden: administrators and auditors may.

    What they know is read from the audit log, and recorded as a view of it, before anything is looked up.
    """
    require(actor=actor, action=Action.USER_VIEW, environment=None)
    record_view(viewer=actor, face="offboarding", filters={"reader": f"user {user.username}"})
    could_read = Secret.objects.filter(visible(grants_ignoring_status(user), Action.SECRET_REVEAL), live=True)
    others = User.objects.filter(is_active=True).exclude(pk=user.pk)
    hands = CustodyGraph()
    outlets = outlets_of([user], hands)[user.uuid]
    theirs = [outlet.uuid for outlet in outlets]
    tokens = ServiceToken.objects.filter(uuid__in=theirs).select_related("environment").order_by("pk")
    trusts = Trust.objects.filter(uuid__in=theirs).select_related("environment").order_by("pk")
    return OffboardingReport(
        user=user,
        could_read=list(could_read.select_related("environment").order_by("environment__name", "name")),
        known=known_to(UUID(str(user.uuid))),
        tokens=list(tokens),
        trusts=list(trusts),
        outlets=outlets,
        accounts=_held(user, others, hands),
        disabled=when_disabled([user]).get(user.uuid),
    )


def _held(user: User, others: QuerySet[User], hands: CustodyGraph) -> list[User]:
    """Return the accounts of others that a person could use."""
    found = list(others.order_by("pk"))
    hands.learn(other.uuid for other in found)
    return [other for other in found if user.uuid in hands.behind(other.uuid, environment=None)]


@dataclass
class Viewer:
    """A reader of a secret: how often, which versions, and when last."""

    name: str
    kind: str
    last_at: datetime
    count: int = 0
    numbers: set[int] = field(default_factory=set)

    @property
    def versions(self) -> str:
        """All the versions in words, the newest first: `v7 to v4, v2, v1`."""
        ranges: list[list[int]] = []
        for number in sorted(self.numbers, reverse=True):
            if ranges and ranges[-1][-1] == number + 1:
                ranges[-1][1:] = [number]
            else:
                ranges.append([number])
        return ", ".join(
            (" to " if each[0] - each[-1] > 1 else ", ").join(f"v{number}" for number in each)
            for each in ranges
        )


def readers_since(*, actor: Principal, secret: Secret, days: int) -> list[Viewer]:
    """Return who has seen a secret in the last days, after recording that the audit log is read for it.

    The counts are those of all time. Raises Forbidden for who may not read the audit log of the installation.
    """
    require(actor=actor, action=Action.TRAIL_VIEW, environment=None)
    record_view(viewer=actor, face="readers", filters={"object": secret.name, "period": f"{days}d"})
    return seen_by(actor=actor, secret=secret, since=timezone.now() - timedelta(days=days))


def seen_by(*, actor: Principal, secret: Secret, since: datetime | None = None) -> list[Viewer]:
    """Return everyone who has seen a secret, the latest first, from the counts of use.

    Only what the actor may read of the audit log counts: nothing, for most. Who reads their own events alone
    gets nothing as well: a list of that person alone would mislead.
    """
    if search.reads_own_alone(actor):
        return []
    usage_index.catch_up()
    readable = audit_log_policy().readable_streams(actor)
    viewers: dict[UUID, Viewer] = {}
    for use, numbers in uses_of(secret, streams=readable):
        if use.means not in usage_index.LEAVES or (since and use.last_at < since):
            continue
        viewer = viewers.setdefault(
            use.actor_uuid, Viewer(name=use.actor_name, kind=use.actor_kind, last_at=use.last_at)
        )
        if use.last_at > viewer.last_at:
            viewer.name, viewer.last_at = use.actor_name, use.last_at
        viewer.count += use.count
        viewer.numbers.update(numbers - {0})
    return sorted(viewers.values(), key=attrgetter("last_at"), reverse=True)


def uses_of(
    secret: Secret, *, streams: Collection[str] | None = None
) -> Iterator[tuple[UsageEntry | ManifestUse, set[int]]]:
    """Yield each counted use of a secret, alone or with others, and its versions; 0 is an unknown one.

    It takes two statements, and one for each 500 lists of versions that were used together. `streams` are
    the log streams that count; None: all.
    """
    wanted = {} if streams is None else {"stream__in": streams}
    for use in UsageEntry.objects.filter(object_uuid=secret.uuid, **wanted):
        yield use, {use.number}
    manifests: dict[int, set[int]] = defaultdict(set)
    items = ReadManifestItem.objects.filter(secret_uuid=secret.uuid).order_by()
    for manifest, number in items.values_list("manifest_id", "number"):
        manifests[manifest].add(number)
    for batch in in_batches(list(manifests)):
        for along in ManifestUse.objects.filter(manifest_id__in=batch, **wanted):
            yield along, manifests[along.manifest_id]
