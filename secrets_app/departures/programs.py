"""What programs read by a service token or trust of a person who left: the first step to replace it.

A token that deploys reads everything, and who issued it need not have its text any more. So nothing is marked
by itself: the page of the departure counts, and a person decides (`decisions.mark_reads`).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent
from core.db.bulk import in_batches
from secrets_app.exposure import Known, counted_of, read_by
from secrets_app.outlets import Outlet

# Each has a token of its own. What a pipeline reads, it reads each time.
_SIGN_INS: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Reads:
    """The values in use that programs read or wrote by a token or trust, since a time."""

    since: datetime
    known: list[Known]


def reads_of(outlet: Outlet, since: datetime) -> Reads:
    """Return what programs read or wrote by an outlet and is served, by the counts of use: for a page."""
    programs, since = _programs_of(outlet, since)
    return Reads(since=since, known=[known for known in counted_of(sorted(programs)) if known.stands])


def recorded_reads_of(outlet: Outlet, since: datetime) -> Reads:
    """Return the same by the audit log, for what is decided by it."""
    programs, since = _programs_of(outlet, since)
    return Reads(since=since, known=[known for known in read_by(sorted(programs)) if known.stands])


def _programs_of(outlet: Outlet, since: datetime) -> tuple[set[UUID], datetime]:
    """Return who reads by an outlet: a token or the last that signed in by a trust, and their children.

    By the audit log: ended tokens of workloads are gone after some days.
    """
    events = AuditEvent.objects.filter(
        object_uuid=outlet.uuid, action=Action.TRUST_SIGN_IN, outcome=Outcome.ALLOWED
    ).order_by("-id")
    signed_in = list(events.values_list("actor_uuid", "at")[:_SIGN_INS])
    if len(signed_in) == _SIGN_INS:
        since = signed_in[-1][1]
    found = {outlet.uuid, *(uuid for uuid, _ in signed_in)}
    level = found
    while level := set(_children_of(level)) - found:
        found |= level
    return found, since


def _children_of(tokens: Collection[UUID]) -> Iterator[UUID]:
    for batch in in_batches(sorted(tokens)):
        yield from AuditEvent.objects.filter(
            actor_uuid__in=batch,
            action=Action.TOKEN_ISSUE,
            outcome=Outcome.ALLOWED,
            details__contains='"parent":',
        ).values_list("object_uuid", flat=True)
