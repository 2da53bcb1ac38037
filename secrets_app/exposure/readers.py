"""Who has seen a secret, which of its versions and when: from the audit log, reads of many included."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.utils import timezone

from audit_app.events.actions import READS, Action, Outcome
from audit_app.queries import search
from audit_app.queries.access_log import record_view
from audit_app.queries.search import read_versions
from environments_app.authorization.policy import Principal, require
from secrets_app.models import Secret

# A comparison reveals whether values are equal, and returns none.
_HANDS_OUT: Final = READS - {Action.SECRET_COMPARE}
# The newest reads that a page looks at; a secret that machines read all day has very many more.
NEWEST: Final = 500


@dataclass
class Viewer:
    """A reader of a secret: how often recently, which versions, and when last."""

    name: str
    kind: str
    last_at: datetime
    count: int = 0
    numbers: set[int] = field(default_factory=set)

    @property
    def versions(self) -> str:
        """The versions in words: `v3, v2`, the newest first, at most five."""
        newest = sorted(self.numbers, reverse=True)
        numbers = ", ".join(f"v{number}" for number in newest[:5])
        return f"{numbers}, …" if len(newest) > 5 else numbers  # noqa: PLR2004 - as many as are shown


def readers_since(*, actor: Principal, secret: Secret, days: int) -> list[Viewer]:
    """Return who has seen a secret in the last days, after recording that the audit log is read for it.

    Raises Forbidden for who may not read the audit log of the installation.
    """
    require(actor=actor, action=Action.TRAIL_VIEW, environment=None)
    record_view(viewer=actor, face="readers", wanted={"object": secret.name, "period": f"{days}d"})
    return seen_by(actor=actor, secret=secret, since=timezone.now() - timedelta(days=days))


def seen_by(*, actor: Principal, secret: Secret, since: datetime | None = None) -> list[Viewer]:
    """Return who has seen a secret among its newest reads, the latest first, in two statements.

    Only what the actor may read of the audit log counts: nothing, for most. Who reads their own events alone
    gets nothing as well: a list of that person alone would mislead.
    """
    if search.reads_own_alone(actor):
        return []
    found = search.events(
        viewer=actor, object_uuid=secret.uuid, outcome=Outcome.ALLOWED, actions=_HANDS_OUT, since=since
    )
    columns = ("actor_uuid", "actor_name", "actor_kind", "at", "details", "manifest_id")
    events = list(found.only(*columns)[:NEWEST])
    numbers = read_versions(events, secret_uuid=secret.uuid)
    viewers: dict[UUID, Viewer] = {}
    for event in events:
        viewer = viewers.setdefault(
            event.actor_uuid, Viewer(name=event.actor_name, kind=event.actor_kind, last_at=event.at)
        )
        viewer.count += 1
        viewer.numbers.update(numbers[event.pk])
    return list(viewers.values())
