"""Who may read a secret and why, who did, and who did and no longer may: the counts of use beside access.

Nothing here decides: pages and the API show it. `check` counts the events of the secret again, and returns
what differs from the counts.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final
from uuid import UUID

from audit_app.events.actions import UNSEEN, Action, Outcome
from audit_app.events.actors import ActorKind
from audit_app.models import AuditEvent, ManifestUse, ReadManifestItem, UsageEntry
from audit_app.queries import usage_index
from audit_app.queries.access_log import record_view
from core.db.bulk import in_batches
from environments_app.approvals.program_releases import standing
from environments_app.authorization.effective_access import DISABLED, PERSON, AccessPath, explain_access
from environments_app.authorization.policy import Principal, allows
from environments_app.models import ProgramRelease, ServiceToken, User
from secrets_app.exposure import sources_of, uses_of
from secrets_app.models import NO_SECRET, LastAsked, Secret

# A larger group of people who never used it is one line.
_FOLDED: Final = 20
_NOT_RELEASED: Final = "guarded, and not released for it"


@dataclass
class Reader:
    """A person or program: why they may read now, and what they did."""

    kind: str
    name: str
    uuid: UUID | None = None
    # Every way to the value that is open now; closed by `hindrances` if there is none.
    why: list[str] = field(default_factory=list)
    hindrances: list[str] = field(default_factory=list)
    first_at: datetime | None = None
    last_at: datetime | None = None
    count: int = 0
    # The versions used by any act, and that the last poll named; 0 is an unknown one.
    numbers: set[int] = field(default_factory=set)
    exported_at: datetime | None = None
    wrote_at: datetime | None = None
    asked_at: datetime | None = None
    asked_number: int | None = None
    # The place and version by which it knows a served value, if not by this secret.
    elsewhere: str = ""
    # More than one for a line that stands for a group.
    people: int = 1

    @property
    def is_used(self) -> bool:
        return bool(self.last_at or self.wrote_at or self.asked_at)

    @property
    def sorted_numbers(self) -> list[int]:
        return sorted(self.numbers)

    @property
    def holds(self) -> int | None:
        """The newest version that it is known to have."""
        return max({*self.numbers, self.asked_number or 0}, default=0) or None

    @property
    def interval(self) -> timedelta | None:
        """The mean time between its reads; None for a single one."""
        if self.count <= 1 or self.first_at is None or self.last_at is None:
            return None
        return (self.last_at - self.first_at) / (self.count - 1)

    @property
    def last_used_at(self) -> datetime | None:
        return max(filter(None, (self.last_at, self.asked_at)), default=None)


@dataclass(frozen=True, kw_only=True)
class UsageReport:
    """What is known of the use of one secret; of their own use alone where the actor may not see all."""

    secret: Secret
    sees_everyone: bool
    # Those who may read now, used ones first, and those who know a served version and may not read.
    readers: list[Reader]
    ghosts: list[Reader]
    # When the history of this secret begins in the log, and how many events are not counted.
    since: datetime | None
    behind: int

    @property
    def people(self) -> int:
        return sum(each.people for each in self.readers if each.kind == PERSON)

    @property
    def programs(self) -> int:
        return sum(each.kind != PERSON for each in self.readers)

    @property
    def used(self) -> int:
        """How many read it or asked for it, those who may not any more included."""
        return sum(each.last_used_at is not None for each in [*self.readers, *self.ghosts])


def sees_everyone(actor: Principal, secret: Secret) -> bool:
    """Return whether an actor may see how others use a secret: they read its members and log."""
    place = secret.environment_id
    return all(
        allows(actor, right, environment_id=place) for right in (Action.MEMBER_VIEW, Action.TRAIL_VIEW)
    )


def usage_report(*, actor: Principal, secret: Secret) -> UsageReport:
    """Return who may read a secret and who did, after recording that the log is read for it.

    Who may not see how others use it gets their own use alone.
    """
    everyone = sees_everyone(actor, secret)
    record_view(viewer=actor, face="usage", filters={"object": secret.name}, always=True)
    behind = usage_index.catch_up()
    ways = explain_access(actor=actor, environment=secret.environment, name=secret.name) if everyone else []
    if secret.guarded:
        ways = _by_release(secret, ways)
    used = _used(secret)
    if not everyone:
        used = {uuid: reader for uuid, reader in used.items() if uuid == actor.uuid}
    if everyone:
        readers, ghosts = _joined(ways, used, _note_sources(actor, secret, used))
    else:
        readers, ghosts = list(used.values()), []
    first = AuditEvent.objects.filter(object_uuid=secret.uuid).order_by("id").values_list("at", flat=True)
    return UsageReport(
        secret=secret,
        sees_everyone=everyone,
        readers=readers,
        ghosts=ghosts,
        since=first.first(),
        behind=behind,
    )


def _by_release(secret: Secret, ways: list[AccessPath]) -> list[AccessPath]:
    """Return the ways to a guarded value: of a program only by its release."""
    found = standing(secret.environment, about=(secret.uuid, secret.name))
    rows = [each.release for each in found if not each.hindrance]
    # Of several, the one that ends last.
    rows.sort(key=lambda row: (row.expires_at is None, row.expires_at or row.created_at))
    released = {row.program_uuid: row for row in rows}
    return [_released(way, released.get(way.uuid) if way.uuid else None) for way in ways]


def _released(way: AccessPath, release: ProgramRelease | None) -> AccessPath:
    if release is not None:
        until = f" until {release.expires_at:%d %b %Y}" if release.expires_at else ""
        return replace(way, via=f"{way.via}, by release agreed by {release.agreed_by}{until}")
    return way if way.kind == PERSON or not way.reads else replace(way, hindrances=(_NOT_RELEASED,))


def _used(secret: Secret) -> dict[UUID, Reader]:
    """Return who used or asked for a secret, by actor; Keeper itself is none of them."""
    readers: dict[UUID, Reader] = {}
    exported: dict[UUID, set[int]] = defaultdict(set)
    for use, numbers in uses_of(secret):
        if use.actor_kind == ActorKind.SYSTEM:
            continue
        reader = readers.setdefault(use.actor_uuid, Reader(_kind(use.actor_kind), "", use.actor_uuid))
        reader.name = use.actor_name
        reader.numbers |= numbers - {0}
        exported[use.actor_uuid] |= numbers
        if use.means in usage_index.LEAVES:
            reader.count += use.count
            reader.first_at = min(filter(None, (reader.first_at, use.first_at)))
            reader.last_at = max(filter(None, (reader.last_at, use.last_at)))
        else:
            reader.wrote_at = max(filter(None, (reader.wrote_at, use.last_at)))
        if use.means == "export":
            reader.exported_at = max(filter(None, (reader.exported_at, use.last_at)))
    for mark in _asked(secret):
        reader = readers.setdefault(mark.actor_uuid, Reader(_kind(mark.actor_kind), "", mark.actor_uuid))
        reader.name = reader.name or mark.actor_name
        if reader.asked_at is None or mark.asked_at > reader.asked_at:
            reader.asked_at = mark.asked_at
            # A list does not name versions: it is of those that the caller exported last.
            reader.asked_number = mark.number or max(exported[mark.actor_uuid], default=0) or None
    return readers


def _note_sources(actor: Principal, secret: Secret, used: dict[UUID, Reader]) -> set[int]:
    """Note who knows a served value by another secret that the actor may see the use of.

    Return the versions of this one that hold a served value.
    """
    elsewhere: dict[UUID, set[int]] = defaultdict(set)
    for uuid, number in sources_of(secret):
        elsewhere[uuid].add(number)
    mine = elsewhere.pop(secret.uuid)
    for source in Secret.objects.filter(uuid__in=elsewhere).select_related("environment"):
        if not sees_everyone(actor, source):
            continue
        for use, numbers in uses_of(source):
            known = numbers & elsewhere[source.uuid]
            if known and use.actor_kind != ActorKind.SYSTEM:
                fresh = Reader(_kind(use.actor_kind), use.actor_name, use.actor_uuid)
                reader = used.setdefault(use.actor_uuid, fresh)
                reader.elsewhere = f"{source.environment.name}/{source.name} v{max(known)}"
    return mine


def _asked(secret: Secret) -> Iterator[LastAsked]:
    marks = LastAsked.objects.filter(
        environment_uuid=secret.environment.uuid, secret_uuid__in=[secret.uuid, NO_SECRET]
    )
    for mark in marks:
        covers = mark.prefix in {"", secret.name} or secret.name.startswith(f"{mark.prefix}/")
        if mark.secret_uuid != NO_SECRET or covers:
            yield mark


def _kind(actor_kind: str) -> str:
    return PERSON if actor_kind == ActorKind.USER else actor_kind


def _joined(
    ways: list[AccessPath], used: dict[UUID, Reader], served: set[int]
) -> tuple[list[Reader], list[Reader]]:
    """Join ways and use by account and token: who may read now, and who else knows a served version."""
    tokens = ServiceToken.objects.filter(uuid__in=[each.uuid for each in used.values()])
    rows = {token.uuid: token for token in tokens}
    subjects: dict[UUID, Reader] = {}
    # The tokens of workloads live for minutes: their use is that of their trust.
    trusts = {way.who: way.uuid for way in ways if way.kind == "trust"}
    for uuid, reader in used.items():
        token = rows.get(uuid)
        trust = token.trust_uuid if token else trusts.get(reader.name) if reader.kind == "token" else None
        _merge(subjects, trust or uuid, reader)
    for way in ways:
        if way.uuid is None:
            continue
        reader = subjects.setdefault(way.uuid, Reader(way.kind, way.who, way.uuid))
        reader.kind, reader.name = way.kind, way.who
        if way.reads:
            reader.why.append(_why(way))
        else:
            reader.hindrances += way.hindrances
    open_now = [reader for reader in subjects.values() if reader.why]
    others = [reader for reader in subjects.values() if not reader.why]
    ghosts = [reader for reader in others if reader.numbers & served or reader.elsewhere]
    _explain(ghosts, rows)
    for ghost in ghosts:
        if ghost.elsewhere:
            ghost.hindrances = [*ghost.hindrances, f"knows it as {ghost.elsewhere}"]
    ghosts.sort(key=_by_use, reverse=True)
    return _folded(open_now), ghosts


def _merge(subjects: dict[UUID, Reader], uuid: UUID, reader: Reader) -> None:
    first = subjects.setdefault(uuid, reader)
    if first is reader:
        return
    for name, pick in (("first_at", min), ("last_at", max), ("asked_at", max), ("exported_at", max)):
        setattr(first, name, pick(filter(None, (getattr(first, name), getattr(reader, name))), default=None))
    first.count += reader.count
    first.numbers |= reader.numbers
    first.elsewhere = first.elsewhere or reader.elsewhere
    first.asked_number = max(first.asked_number or 0, reader.asked_number or 0) or None


def _why(way: AccessPath) -> str:
    where = f", {way.prefix}/" if way.prefix else ""
    until = f", until {way.expires_at:%d %b %Y %H:%M} UTC" if way.expires_at else ""
    return f"{way.via}: {way.role}{where}{until}"


def _explain(ghosts: list[Reader], tokens: Mapping[UUID, ServiceToken]) -> None:
    """Name why each ghost reader has no way: an account that is closed or has no role, a token that ended."""
    accounts = User.objects.filter(uuid__in=[ghost.uuid for ghost in ghosts if ghost.kind == PERSON])
    disabled = {user.uuid: not user.is_active for user in accounts}
    for ghost in ghosts:
        token = tokens.get(ghost.uuid) if ghost.uuid else None
        if ghost.kind == PERSON and disabled.get(ghost.uuid, False):
            ghost.hindrances = [DISABLED]
        elif token and token.revoked_at:
            ghost.hindrances = [f"token revoked {token.revoked_at:%d %b %Y}"]
        elif not ghost.hindrances:
            ghost.hindrances = ["no access now"] if ghost.uuid in disabled or token else ["no longer exists"]


def _folded(readers: list[Reader]) -> list[Reader]:
    """Return the readers, used ones first; a large group of people who never used it is one line."""
    used = [reader for reader in readers if reader.is_used]
    never: dict[tuple[str, ...], list[Reader]] = defaultdict(list)
    for reader in readers:
        if not reader.is_used:
            never[reader.kind, *reader.why].append(reader)
    lines: list[Reader] = []
    for (kind, *why), members in never.items():
        if kind == PERSON and len(members) > _FOLDED:
            lines.append(Reader(kind, f"{len(members)} people", why=why, people=len(members)))
        else:
            lines += members
    used.sort(key=_by_use, reverse=True)
    return used + sorted(lines, key=attrgetter("kind", "name"))


def _by_use(reader: Reader) -> float:
    at = reader.last_used_at or reader.wrote_at
    return at.timestamp() if at else 0.0


def check(secret: Secret) -> list[str]:
    """Count all events of a secret again, and return in words what differs from the counts."""
    usage_index.catch_up()
    events = AuditEvent.objects.filter(outcome=Outcome.ALLOWED).exclude(action__in=UNSEEN)
    manifests = set(
        ReadManifestItem.objects.filter(secret_uuid=secret.uuid).values_list("manifest_id", flat=True)
    )
    rows = list(events.filter(object_uuid=secret.uuid).values_list("stream", *usage_index.COLUMNS))
    for batch in in_batches(sorted(manifests)):
        rows += events.filter(manifest_id__in=batch).values_list("stream", *usage_index.COLUMNS)
    by_stream: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    for stream, *columns in sorted(set(rows), key=lambda row: row[1]):
        by_stream[stream].append(tuple(columns))
    counted: dict[tuple[object, ...], tuple[object, ...]] = {}
    for stream, parts in by_stream.items():
        for uses in usage_index.counted(stream, parts):
            counted |= {_key(use): _facts(use) for use in uses}
    stored = {_key(use): _facts(use) for use, _ in uses_of(secret)}
    names = {key: f"{facts[0]}, {key[2]}" for key, facts in (stored | counted).items()}
    return [
        f"{names[key]}: counted {_words(stored.get(key))}, the log shows {_words(counted.get(key))}"
        for key in sorted(counted.keys() | stored.keys(), key=str)
        if counted.get(key) != stored.get(key) and not _is_pruned(counted.get(key), stored.get(key))
    ]


def _key(use: UsageEntry | ManifestUse) -> tuple[object, ...]:
    what = use.number if isinstance(use, UsageEntry) else f"manifest {use.manifest_id}"
    return (use.actor_uuid, what, use.means, use.stream)


def _facts(use: UsageEntry | ManifestUse) -> tuple[object, ...]:
    return (use.actor_name, use.count, use.last_at)


def _words(facts: tuple[object, ...] | None) -> str:
    return f"{facts[1]}, last {facts[2]:%Y-%m-%d %H:%M:%S}" if facts else "nothing"


def _is_pruned(counted: tuple[object, ...] | None, stored: tuple[object, ...] | None) -> bool:
    """Whether retention explains it: it keeps the newest event of each reader and version."""
    return bool(counted and stored and counted[2] == stored[2] and int(str(counted[1])) < int(str(stored[1])))
