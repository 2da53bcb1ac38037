"""Who has seen a secret, which of its versions and when: from the trail, reads of many included."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from audit_app import search
from audit_app.actions import Action, Outcome
from audit_app.canonical import parsed_details
from audit_app.models import ReadManifestItem
from environments_app.policy import Principal
from secrets_app.models import Secret

# The acts that hand a value to somebody; a comparison does not.
READS: Final = (
    Action.SECRET_REVEAL,
    Action.SECRET_EXPORT,
    Action.SECRET_COPY,
    Action.SECRET_MOVE,
    Action.SECRET_DELIVER,
)
# The newest reads that a page looks at; a secret that machines read all day has very many more.
NEWEST: Final = 500


@dataclass
class Viewer:
    """Somebody who has seen a secret: how often of late, which versions, and when last."""

    name: str
    kind: str
    last_at: datetime
    count: int = 0
    numbers: set[int] = field(default_factory=set)

    @property
    def versions(self) -> str:
        """The versions in words: `v3, v2`, the newest first, at most five."""
        newest = sorted(self.numbers, reverse=True)
        told = ", ".join(f"v{number}" for number in newest[:5])
        return f"{told}, …" if len(newest) > 5 else told  # noqa: PLR2004 - as many as are told


def seen_by(*, actor: Principal, secret: Secret) -> list[Viewer]:
    """Return who has seen a secret among its newest reads, the latest first, in two statements.

    Only what the actor may read of the trail counts: nothing, for most.
    """
    events = search.events(viewer=actor, object_uuid=secret.uuid, outcome=Outcome.ALLOWED)
    columns = ("actor_uuid", "actor_name", "actor_kind", "at", "details", "manifest_id")
    rows = list(events.filter(action__in=READS).values(*columns)[:NEWEST])
    numbers = _numbers_in_manifests(secret, (row["manifest_id"] for row in rows))
    viewers: dict[UUID, Viewer] = {}
    for row in rows:
        viewer = viewers.setdefault(
            row["actor_uuid"], Viewer(name=row["actor_name"], kind=row["actor_kind"], last_at=row["at"])
        )
        viewer.count += 1
        viewer.numbers.update(_numbers(row, numbers))
    return list(viewers.values())


def _numbers(row: Mapping[str, Any], of_manifests: Mapping[int, Sequence[int]]) -> Iterable[int]:
    if row["manifest_id"] is not None:
        return of_manifests.get(row["manifest_id"], ())
    number = parsed_details(row["details"]).get("number")
    return (number,) if isinstance(number, int) else ()


def _numbers_in_manifests(secret: Secret, manifests: Iterable[int | None]) -> dict[int, list[int]]:
    wanted = {manifest for manifest in manifests if manifest is not None}
    items = ReadManifestItem.objects.filter(manifest_id__in=wanted, secret_uuid=secret.uuid)
    found: dict[int, list[int]] = {}
    for manifest, number in items.values_list("manifest_id", "number"):
        found.setdefault(manifest, []).append(number)
    return found
