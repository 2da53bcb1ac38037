"""What a review is about: every way into its environments, as the page *Access* has it."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Max
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.models import ManifestUse, UsageEntry
from audit_app.models.usage import Means
from core.canonical_json import Json, canonical_json, utc_text
from core.db.bulk import in_batches
from environments_app.approvals.program_releases import VOID, ways_of_releases
from environments_app.authorization.effective_access import FORGED, AccessPath, ways_into
from environments_app.authorization.policy import Grant
from environments_app.interfaces import owner_of
from environments_app.models import (
    AccessKind,
    Decision,
    Environment,
    Membership,
    ProgramRelease,
    Review,
    ReviewItem,
    Role,
    ServiceToken,
    Trust,
    User,
)
from environments_app.models.review import right_of

# To keep what nobody used for so long asks for a reason.
UNUSED_DAYS: Final = 90
BACK_OTHERWISE: Final = (
    "This access was ended, and its holder was given access again. End that where it was given."
)
Key = tuple[str, UUID, UUID | None]


@dataclass(frozen=True)
class Line:
    """One way into an environment as it is now."""

    way: AccessPath

    @property
    def kind(self) -> AccessKind:
        row = self.way.row
        if isinstance(row, Membership):
            return AccessKind.GROUP if self.way.place else AccessKind.DIRECT
        if isinstance(row, ServiceToken):
            return AccessKind.TOKEN
        if isinstance(row, ProgramRelease):
            return AccessKind.RELEASE
        return AccessKind.TRUST if isinstance(row, Trust) else AccessKind.INSTALLATION

    @property
    def key(self) -> Key:
        """The rows that make it."""
        place = self.way.place
        return self.kind, self.way.row.uuid, place.uuid if place else None

    @property
    def facts(self) -> tuple[str, str, datetime | None]:
        """What a person sees of it, and may have seen otherwise when it was frozen."""
        return str(self.way.role), self.way.prefix, self.way.expires_at

    @property
    def right(self) -> dict[str, Json]:
        """The same, as events and packs have it."""
        return right_of(*self.facts)

    @property
    def void(self) -> str:
        """Why a release counts for nothing and is not to be kept; empty for any other access."""
        lost = VOID.intersection(self.way.hindrances) if self.kind == AccessKind.RELEASE else ()
        return next(iter(lost), "")

    @property
    def state(self) -> str:
        """The digest of what a decision is about."""
        facts = [*self.key, *self.facts, FORGED in self.way.hindrances]
        if self.void and self.void != FORGED:
            facts.append(self.void)
        return hashlib.sha256(canonical_json([str(fact) for fact in facts])).hexdigest()[:32]


def key_of(item: ReviewItem) -> Key:
    """Return the rows that made the access of an item."""
    return item.kind, item.row_uuid, item.place_uuid


def lines_of(environment: Environment | None, holders: Collection[UUID] | None = None) -> dict[Key, Line]:
    """Return every way into an environment (None: the installation) by its rows; or those of some holders."""
    releases = ways_of_releases(environment, holders) if environment else ()
    return {line.key: line for line in map(Line, (*ways_into(environment, holders), *releases))}


def lines_for(items: Sequence[ReviewItem]) -> dict[Key, Line]:
    """Return the access of items as it is now, and what else their holders have there."""
    holders: defaultdict[UUID | None, set[UUID]] = defaultdict(set)
    for item in items:
        holders[item.environment_uuid].add(item.subject_uuid)
    for model in (ServiceToken, Trust):
        # What was made again has another identity, and the same name.
        kind = AccessKind.TOKEN if model is ServiceToken else AccessKind.TRUST
        ended = (item for item in items if item.decision == Decision.END)
        names = {item.subject_name for item in ended if item.kind in {kind, AccessKind.RELEASE}}
        for batch in in_batches(sorted(names)):
            rows = model.objects.filter(name__in=batch).values_list("uuid", "environment__uuid")
            for row, place in rows:
                if place in holders:
                    holders[place].add(row)
    places = {row.uuid: row for row in Environment.objects.filter(uuid__in=filter(None, holders))}
    found: dict[Key, Line] = {}
    for uuid, some in holders.items():
        if uuid is None or uuid in places:
            found |= lines_of(places[uuid] if uuid else None, some)
    return found


def frozen_items(review: Review, environment: Environment | None) -> list[ReviewItem]:
    """Return the items of an environment, or the installation: not stored, and not assigned."""
    lines = [line for line in lines_of(environment).values() if _is_in_scope(review, line)]
    rows = [line.way.row for line in lines]
    used = _last_uses(environment, [line.way.uuid for line in lines if line.way.uuid])
    used |= _last_reads(environment, [row for row in rows if isinstance(row, ProgramRelease)])
    long_ago = timezone.now() - timedelta(days=UNUSED_DAYS)
    return [_item(review, environment, line, used, long_ago) for line in lines]


def given_since(review: Review) -> list[dict[str, Json]]:
    """Return the access in the scope of a review that is not on its list, in a fixed order.

    A token that rotations made of a listed one is none: it may what the listed one may.
    """
    places: list[Environment | None] = [*Environment.objects.filter(uuid__in=review.places or ())]
    listed = set(review.items.values_list("kind", "row_uuid", "place_uuid"))
    rotated = {
        row.uuid for row in successors_of({row for kind, row, _ in listed if kind == AccessKind.TOKEN})
    }
    found = [
        _given(place, line)
        for place in [*places, *([None] if review.covers_installation else [])]
        for key, line in lines_of(place).items()
        if key not in listed and line.way.row.uuid not in rotated and _is_in_scope(review, line)
    ]
    return sorted(found, key=canonical_json)


def digest_of_given(given: Sequence[Mapping[str, Json]]) -> str:
    """Return the SHA-256 over access that was given since, empty if there is none."""
    return hashlib.sha256(canonical_json([*given])).hexdigest() if given else ""


def _given(environment: Environment | None, line: Line) -> dict[str, Json]:
    way, place = line.way, line.way.place
    return {
        "environment": environment.name if environment else "",
        "holder": way.who,
        "kind": str(line.kind),
        **line.right,
        "via": way.via,
        "granted_by": way.granted_by,
        "since": utc_text(since) if (since := _since(line)) else None,
        "row": str(place.uuid if place else way.row.uuid),
    }


def _is_in_scope(review: Review, line: Line) -> bool:
    """Return whether access is of a kind that is reviewed, and reaches names under the path."""
    reaches, prefix = Grant.reaches, line.way.prefix
    under = reaches(prefix, review.prefix) or reaches(review.prefix, prefix)
    return under and (not review.kinds or line.kind in review.kinds)


def _since(line: Line) -> datetime | None:
    row = line.way.row
    return line.way.granted_at or getattr(row, "created_at", None) or getattr(row, "date_joined", None)


def _item(
    review: Review,
    environment: Environment | None,
    line: Line,
    used: dict[UUID, datetime],
    long_ago: datetime,
) -> ReviewItem:
    way, row = line.way, line.way.row
    granter = row.granted_by if isinstance(row, Membership) else getattr(row, "created_by", None)
    granted_by: tuple[UUID | None, str] = (granter.uuid, granter.username) if granter else (None, "")
    if isinstance(row, ProgramRelease):
        granted_by = row.asked_by_uuid, row.asked_by_name
    last_used = max(
        filter(None, (used.get(way.uuid or row.uuid), getattr(row, "last_used_at", None))), default=None
    )
    if isinstance(row, User):
        last_used = row.last_login
    elif isinstance(row, ProgramRelease):
        last_used = used.get(row.uuid)
    since = _since(line)
    return ReviewItem(
        review=review,
        kind=line.kind,
        environment_uuid=environment.uuid if environment else None,
        environment_name=environment.name if environment else "",
        subject_kind=way.kind,
        subject_uuid=way.uuid or row.uuid,
        subject_name=way.who,
        row_uuid=row.uuid,
        place_uuid=way.place.uuid if way.place else None,
        role=str(way.role),
        prefix=way.prefix,
        via=way.via,
        granted_by_uuid=granted_by[0],
        granted_by_name=granted_by[1],
        since=since,
        expires_at=way.expires_at,
        hindrances="; ".join(way.hindrances)[:300],
        last_used_at=last_used,
        unused=(last_used or since or long_ago) <= long_ago,
    )


def _last_uses(environment: Environment | None, holders: Sequence[UUID]) -> dict[UUID, datetime]:
    """Return when each holder last used a value of an environment, as the tables of use have it.

    Tokens of workloads and children of tokens count for the trust or token that they come of.
    """
    found: dict[UUID, datetime] = {}
    if environment is None:
        return found
    of, uses = _family_of(holders)
    stream = environment_stream(environment.uuid)
    for batch in in_batches(sorted(of)):
        for model in (UsageEntry, ManifestUse):
            rows = model.objects.filter(actor_uuid__in=batch, stream=stream)
            uses += rows.values_list("actor_uuid").annotate(Max("last_at")).order_by()
    for uuid, last in uses:
        found[of[uuid]] = max(last, found.get(of[uuid], last))
    return found


def _last_reads(environment: Environment | None, releases: Sequence[ProgramRelease]) -> dict[UUID, datetime]:
    """Return when the program of each release last read a secret that this one is for, by its name now."""
    found: dict[UUID, datetime] = {}
    if environment is None or not releases:
        return found
    of, _ = _family_of({row.program_uuid for row in releases})
    stream, uses = environment_stream(environment.uuid), list[tuple[UUID, UUID, datetime]]()
    for batch in in_batches(sorted(of)):
        rows = UsageEntry.objects.filter(actor_uuid__in=batch, stream=stream, means=Means.READ)
        uses += rows.values_list("actor_uuid", "object_uuid").annotate(Max("last_at")).order_by()
    names = owner_of(Action.SECRET_RELEASE).names_of(environment, {secret for _, secret, _ in uses})
    for row in releases:
        for actor, secret, last in uses:
            if of[actor] == row.program_uuid and secret in names and row.covers(secret, names[secret]):
                found[row.uuid] = max(last, found.get(row.uuid, last))
    return found


def _family_of(holders: Collection[UUID]) -> tuple[dict[UUID, UUID], list[tuple[UUID, datetime]]]:
    """Return holders and the tokens that came of them, each with its holder; and those tokens' last uses."""
    of, uses = {holder: holder for holder in holders}, list[tuple[UUID, datetime]]()
    for child, maker, last in _children_of(holders):
        of[child] = of[maker]
        uses += [(child, last)] if last else []
    return of, uses


def _children_of(holders: Collection[UUID]) -> Iterator[tuple[UUID, UUID, datetime | None]]:
    """Yield the tokens that came of trusts and tokens, each after its maker, and their own last use."""
    seen, level = set(holders), set(holders)
    while level:
        children = set[UUID]()
        for batch in in_batches(sorted(level)):
            for column in ("trust_uuid", "parent_uuid"):
                rows = ServiceToken.objects.filter(**{f"{column}__in": batch})
                for child, maker, last in rows.values_list("uuid", column, "last_used_at"):
                    # Rows that were edited into a circle end it too.
                    if child not in seen and maker is not None:
                        yield child, maker, last
                        children.add(child)
                        seen.add(child)
        level = children


def successors_of(tokens: Collection[UUID]) -> list[ServiceToken]:
    """Return the tokens that rotations made of tokens, and of those."""
    found: list[ServiceToken] = []
    frontier = set(tokens)
    while frontier:
        new = [
            row
            for batch in in_batches(sorted(frontier))
            for row in ServiceToken.objects.filter(replaces__uuid__in=batch).select_related("environment")
        ]
        # Rows that were edited into a circle end it too.
        frontier = {row.uuid for row in new} - {row.uuid for row in found}
        found += new
    return found


def live_successors(review: Review, token: UUID) -> list[ServiceToken]:
    """Return the tokens that rotations made of a token since the review began, if they are not revoked."""
    found = successors_of([token])
    listed = set(
        ReviewItem.objects.filter(review=review, row_uuid__in=[row.uuid for row in found]).values_list(
            "row_uuid", flat=True
        )
    )
    return [row for row in found if row.revoked_at is None and row.uuid not in listed]


def unsettled(item: ReviewItem, lines: dict[Key, Line], listed: Collection[Key]) -> str:
    """Return why a decision has to be made again, or nothing: ended access is back, or kept access changed.

    `listed` are the rows of all items of the review: another of them is decided by itself.
    """
    line = lines.get(key_of(item))
    if item.decision in {Decision.KEEP, Decision.CHANGE}:
        changed = line is not None and line.state != item.decided_state
        return "This access has changed since it was kept. Decide about it again." if changed else ""
    if item.decision != Decision.END:
        return ""
    successors = live_successors(item.review, item.row_uuid) if item.kind == AccessKind.TOKEN else []
    known = {row.uuid for row in successors}
    if any(
        key not in listed and one.way.row.uuid not in known and _is_back(one, item)
        for key, one in lines.items()
    ):
        return BACK_OTHERWISE
    if line is not None or successors:
        return "This access was ended, and is back. Decide about it again."
    return ""


def _is_back(line: Line, item: ReviewItem) -> bool:
    """Return whether a way that is not listed gives the holder of ended access any in the same environment.

    A person counts by the account, a token or trust by its name.
    """
    way, row = line.way, line.way.row
    if isinstance(row, User) or (row.environment.uuid if row.environment else None) != item.environment_uuid:
        return False
    if item.kind in {AccessKind.TOKEN, AccessKind.TRUST}:
        return line.kind == item.kind and way.who == item.subject_name
    if AccessKind.RELEASE in {item.kind, line.kind}:
        under = Grant.reaches(way.prefix, item.prefix) or Grant.reaches(item.prefix, way.prefix)
        return line.kind == item.kind and way.who == item.subject_name and under
    if item.kind == AccessKind.INSTALLATION or way.uuid != item.subject_uuid:
        return False
    # Nothing holds since when a person is in a group.
    is_later = line.kind == AccessKind.GROUP or (way.granted_at or timezone.now()) >= (
        item.decided_at or item.review.population_at
    )
    enough = Role(way.role).rank >= Role(item.role).rank and Grant.reaches(way.prefix, item.prefix)
    return is_later or enough
