"""Counts who used which value, from committed events: the tables behind pages and filters.

A step groups its events by reader and version before it writes. The counts and the position of the stream
move in one transaction, so an event is counted once, whatever was killed.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Max

from audit_app.events.actions import READS, UNSEEN, Action, Outcome
from audit_app.models import (
    AuditEvent,
    ManifestUse,
    Means,
    ReadManifestItem,
    SecretUse,
    UsageEntry,
    UsagePosition,
)
from audit_app.queries.stream_follower import Progress, StreamFollower
from core.canonical_json import parsed_details
from core.db.bulk import insert_rows, merge_clause

# Writers of events wait for a step on SQLite: in the worst case each event has a row of its own.
EVENTS_PER_STEP: Final = 100
_CAUGHT_UP_BY_A_PAGE: Final = 2_000
# A read of many marks its secrets as used so often: of 10,000 that takes SQLite's lock for 50 ms.
MARK_HOURS: Final = 6
_MEANS: Final = {
    Action.SECRET_REVEAL: Means.READ,
    Action.SECRET_EXPORT: Means.EXPORT,
    Action.SECRET_COPY: Means.COPY,
    Action.SECRET_MOVE: Means.COPY,
    Action.SECRET_COMPARE: Means.COMPARE,
    Action.SECRET_DELIVER: Means.DELIVER,
}
# The means by which a value leaves Keeper. A comparison says whether values are equal, and returns none.
LEAVES: Final = (Means.READ, Means.EXPORT, Means.COPY, Means.DELIVER, Means.SHARE)
COLUMNS: Final = (
    "id", "at", "actor_kind", "actor_uuid", "actor_name", "action", "object_kind", "object_uuid", "details",
    "manifest_id",
)  # fmt: skip
_MERGED: Final = {
    "actor_kind": "new",
    "actor_name": "new",
    "protocol": "new",
    "last_event_id": "new",
    "first_at": "least",
    "last_at": "greatest",
    "count": "sum",
}
_SINGLE: Final = ("object_uuid", "actor_uuid", "number", "means", "stream")
_ALONG: Final = ("manifest_id", "actor_uuid", "means", "stream")
_Row = UsageEntry | ManifestUse


def lag_text(count: int) -> str:
    """Return the warning of a page about counts that lack so many events; "" if they lack none."""
    return f"{count:,} event{' is' if count == 1 else 's are'} not counted yet." if count else ""


def catch_up() -> int:
    """Count what is missing if that is little, and return how many events are not counted then."""
    return FOLLOWER.catch_up(_CAUGHT_UP_BY_A_PAGE)


def rebuild(*, progress: Progress | None = None) -> int:
    """Count all events again, and return how many there are; workers complete what was stopped."""
    with transaction.atomic():
        # First the positions: who counts waits for them.
        list(UsagePosition.objects.select_for_update())
        for rows in (UsageEntry.objects.all(), ManifestUse.objects.all(), SecretUse.objects.all()):
            rows.delete()
        UsagePosition.objects.update(sequence=0)
    return fill(progress=progress)


def counted(stream: str, events: Iterable[tuple[Any, ...]]) -> tuple[list[UsageEntry], list[ManifestUse]]:
    """Return the uses in allowed events of a stream, one row for each key, from rows of `COLUMNS`."""
    singles: dict[tuple[object, ...], UsageEntry] = {}
    along: dict[tuple[object, ...], ManifestUse] = {}
    for pk, at, kind, actor, name, action, object_kind, object_uuid, text, manifest in events:
        details = parsed_details(text)
        number = _number(details)
        means = _means(action, details)
        protocol = details.get("protocol")
        use: dict[str, Any] = {
            "actor_uuid": actor, "means": means, "stream": stream, "actor_kind": kind, "actor_name": name,
            "protocol": protocol[:32] if isinstance(protocol, str) else "",
            "first_at": at, "last_at": at, "count": 1, "last_event_id": pk,
        }  # fmt: skip
        if manifest is not None:
            row = ManifestUse(manifest_id=manifest, marked_at=at, **use)
            _add(along, (manifest, actor, means), row)
        elif (
            object_kind == "secret"
            and action.startswith("secret.")
            and (number is not None or action in READS)
        ):
            single = UsageEntry(object_uuid=object_uuid, number=number or 0, **use)
            _add(singles, (object_uuid, actor, single.number, means), single)
    return list(singles.values()), list(along.values())


def _number(details: Mapping[str, Any]) -> int | None:
    number = details.get("number")
    return number if isinstance(number, int) and 0 <= number < 2**31 else None


def _means(action: str, details: Mapping[str, Any]) -> Means:
    if action == Action.SECRET_REVEAL and "share" in details:
        return Means.SHARE
    if action == Action.SECRET_REVEAL and details.get("purpose") == "rollback":
        # The value stays in the secret: it is written again, and shown to nobody.
        return Means.WRITE
    return _MEANS.get(Action(action), Means.WRITE) if action in _KNOWN else Means.WRITE


_KNOWN: Final = frozenset(map(str, _MEANS))


def _add(rows: dict[tuple[object, ...], Any], key: tuple[object, ...], row: _Row) -> None:
    earlier = rows.get(key)
    if earlier is not None:
        row.count += earlier.count
        row.first_at = min(row.first_at, earlier.first_at)
        row.last_at = max(row.last_at, earlier.last_at)
    rows[key] = row


def _write(stream: str, after: int, until: int) -> None:
    events = AuditEvent.objects.filter(
        stream=stream, sequence__gt=after, sequence__lte=until, outcome=Outcome.ALLOWED
    ).exclude(action__in=UNSEEN)
    singles, along = counted(stream, events.order_by("sequence").values_list(*COLUMNS))
    insert_rows(singles, tail=merge_clause(_SINGLE, _MERGED))
    _mark(_latest((row.object_uuid, row.last_at) for row in singles if row.means in LEAVES))
    if not along:
        return
    due = _due(_latest((row.manifest_id, row.last_at) for row in along if row.means in LEAVES))
    for manifest, at in due.items():
        secrets = ReadManifestItem.objects.filter(manifest_id=manifest).values_list("secret_uuid", flat=True)
        _mark(dict.fromkeys(secrets, at))
    for row in along:
        # The merge keeps the later time: what is not due leaves it as it is.
        row.marked_at = due.get(row.manifest_id, _EARLIEST)
    insert_rows(along, tail=merge_clause(_ALONG, _MERGED | {"marked_at": "greatest"}))


_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _latest(pairs: Iterable[tuple[Any, datetime]]) -> dict[Any, datetime]:
    latest: dict[Any, datetime] = {}
    for key, at in pairs:
        latest[key] = max(at, latest.get(key, at))
    return latest


def _due(manifests: dict[int, datetime]) -> dict[int, datetime]:
    """Return the manifests whose secrets were not marked as used for a while."""
    rows = ManifestUse.objects.filter(manifest_id__in=list(manifests)).order_by().values_list("manifest_id")
    marked = dict(rows.annotate(at=Max("marked_at")))
    pause = timedelta(hours=MARK_HOURS)
    return {pk: at for pk, at in manifests.items() if at >= marked.get(pk, _EARLIEST) + pause}


def _mark(secrets: dict[UUID, datetime]) -> None:
    rows = [SecretUse(secret_uuid=uuid, last_at=at) for uuid, at in secrets.items()]
    insert_rows(rows, tail=merge_clause(("secret_uuid",), {"last_at": "greatest"}))


FOLLOWER: Final = StreamFollower(UsagePosition, "usage_position", _write, lambda: EVENTS_PER_STEP)
behind, fill = FOLLOWER.behind, FOLLOWER.fill
