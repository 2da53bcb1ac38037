"""Who has seen a secret, which of its versions and when: from the audit log, reads of many included."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, TypeAlias
from uuid import UUID

from django.db.models import Count, Max, QuerySet
from django.utils import timezone

from audit_app.crypto.canonical_json import parsed_details
from audit_app.db.batches import in_batches
from audit_app.events.actions import READS, Action, Outcome
from audit_app.interfaces.access_policy import trail_policy
from audit_app.models import AuditEvent, ReadManifestItem
from audit_app.queries import search
from audit_app.queries.access_log import record_view
from environments_app.authorization.policy import Principal, require
from secrets_app.models import Secret

# A comparison reveals whether values are equal, and returns none.
_HANDS_OUT: Final = sorted(READS - {Action.SECRET_COMPARE})
_READER: Final = ("actor_uuid", "actor_kind", "actor_name")
# A reader's uuid, kind and name, the numbers of the versions, how many reads, and the last.
_ReadRow: TypeAlias = tuple[UUID, str, str, list[int], int, datetime]


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

    Raises Forbidden for who may not read the audit log of the installation.
    """
    require(actor=actor, action=Action.TRAIL_VIEW, environment=None)
    record_view(viewer=actor, face="readers", wanted={"object": secret.name, "period": f"{days}d"})
    return seen_by(actor=actor, secret=secret, since=timezone.now() - timedelta(days=days))


def seen_by(*, actor: Principal, secret: Secret, since: datetime | None = None) -> list[Viewer]:
    """Return everyone who has seen a secret, the latest first.

    It takes two statements, and one for each 500 lists of versions that were read together.

    Only what the actor may read of the audit log counts: nothing, for most. Who reads their own events alone
    gets nothing as well: a list of that person alone would mislead.
    """
    if search.reads_own_alone(actor):
        return []
    viewers: dict[UUID, Viewer] = {}
    for uuid, kind, name, numbers, count, last_at in _grouped(actor, secret, since):
        viewer = viewers.setdefault(uuid, Viewer(name=name, kind=kind, last_at=last_at))
        if last_at > viewer.last_at:
            viewer.name, viewer.last_at = name, last_at
        viewer.count += count
        viewer.numbers.update(numbers)
    return sorted(viewers.values(), key=attrgetter("last_at"), reverse=True)


def _grouped(actor: Principal, secret: Secret, since: datetime | None) -> Iterator[_ReadRow]:
    """Yield the reads of a secret alone, and those along with others, by reader and version."""
    # Of a secret that programs read all day, only its own index is narrow.
    wanted: dict[str, Any] = {"outcome": Outcome.ALLOWED, "action__unindexed__in": _HANDS_OUT}
    if since:
        wanted["at__unindexed__gte"] = since
    streams = trail_policy().readable_streams(actor)
    if streams is not None:
        wanted["stream__unindexed__in"] = streams
    alone = AuditEvent.objects.filter(object_uuid=secret.uuid, manifest_id=None, **wanted)
    # The number is in the details, which differ little: the database need not parse what SQL may have edited.
    for *reader, details, count, last_at in _by(alone, "details"):
        number = parsed_details(details).get("number")
        yield *reader, [number] if isinstance(number, int) else [], count, last_at
    manifests: dict[int, list[int]] = defaultdict(list)
    items = ReadManifestItem.objects.filter(secret_uuid=secret.uuid).order_by()
    for manifest, number in items.values_list("manifest_id", "number"):
        manifests[manifest].append(number)
    # By their ids: over a join MariaDB reads all events, since the manifest of most is NULL.
    for batch in in_batches(list(manifests)):
        along = AuditEvent.objects.filter(manifest_id__in=batch, **wanted)
        for *reader, manifest, count, last_at in _by(along, "manifest_id"):
            yield *reader, manifests[manifest], count, last_at


def _by(events: QuerySet[AuditEvent], column: str) -> Iterator[Any]:
    grouped = events.order_by().values_list(*_READER, column)
    yield from grouped.annotate(count=Count("id"), last_at=Max("at")).iterator()
