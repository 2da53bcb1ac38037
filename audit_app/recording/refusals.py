"""Refusals of unauthenticated callers: counted, limited, and recorded by the minute."""

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from audit_app.errors import TooManyRefusals
from audit_app.events import actors, streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import NIL
from audit_app.models import RefusalCount
from audit_app.recording.drafts import AuditObject, EventDraft
from audit_app.recording.recorder import record_many
from core.network.client_address import subscriber

_COUNTERS_PER_TRANSACTION = 500


def refuse(*, kind: str, address: str) -> None:
    """Count the refusal of an unauthenticated caller.

    `kind` is a fixed word such as "bad-token". Once the limit is reached nothing is written
    any more, so that a flood costs one read each.

    Raises TooManyRefusals if the address has reached KEEPER_REFUSALS_PER_MINUTE.
    """
    check_allowance(address=address)
    minute = _minute(timezone.now())
    key = {"minute": minute, "address": subscriber(address), "kind": kind}
    if not RefusalCount.objects.filter(**key).update(count=F("count") + 1):
        RefusalCount.objects.bulk_create([RefusalCount(**key)], ignore_conflicts=True)
        RefusalCount.objects.filter(**key).update(count=F("count") + 1)


def check_allowance(*, address: str) -> None:
    """Turn an address away that was refused too often, before anything costly is tried for it.

    Raises TooManyRefusals with the seconds until the minute is over.
    """
    now = timezone.now()
    counters = RefusalCount.objects.filter(minute=_minute(now), address=subscriber(address))
    total = counters.aggregate(total=Sum("count"))["total"] or 0
    if total >= settings.KEEPER_REFUSALS_PER_MINUTE:
        raise TooManyRefusals(retry_after=60 - now.second)


def record_due() -> int:
    """Write one event for each closed minute, address and kind, and return how many.

    Any number of workers may run it: the counters are locked, recorded and deleted together.
    """
    written = 0
    while batch := _record_batch(_minute(timezone.now())):
        written += batch
    return written


def _record_batch(before: datetime) -> int:
    with transaction.atomic():
        due = RefusalCount.objects.select_for_update().filter(minute__lt=before).order_by("pk")
        counters = list(due[:_COUNTERS_PER_TRANSACTION])
        record_many([_draft(counter) for counter in counters])
        RefusalCount.objects.filter(pk__in=[counter.pk for counter in counters]).delete()
    return len(counters)


def _draft(counter: RefusalCount) -> EventDraft:
    limited = counter.count >= settings.KEEPER_REFUSALS_PER_MINUTE
    return EventDraft(
        actor=actors.anonymous(counter.address),
        action=Action.REFUSAL,
        stream=streams.REFUSALS,
        object=AuditObject("address", NIL, counter.address),
        outcome=Outcome.DENIED,
        details={
            "kind": counter.kind,
            "count": counter.count,
            "minute": counter.minute.isoformat(),
            "limited": limited,
        },
    )


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
