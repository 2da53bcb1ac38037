"""Work that nobody waits for: how much waits, who does it, and what was left lying; a statement for each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db.models import Count, Q, QuerySet
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.functional import Promise

from audit_app.models import SinkState
from environments_app.models import Delivery, DeliveryState, User
from operations_app.backup.service import is_late, last_success
from operations_app.health.status import SystemStatus
from secrets_app.webhooks import names_of_addressees
from sync_app.domain.rotation_state import Slot
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation, Run, Target

SHOWN: Final = 50
# Messages that were given up; those of a deleted environment concern nobody.
_LOST: Final = Q(state=DeliveryState.FAILED, environment__deleted_at__isnull=True)
# Without a mail server people read on the pages what would be mailed to them.
_NOT_MAILED: Final = Q(transport="email", addressee__in=User.objects.order_by().values("uuid"))
_STATUS_GROUP: Final = "Backups and messages"
_BACKUP_REMEDY: Final = "Open Backups and choose Back up now, or set KEEPER_BACKUP_INTERVAL_HOURS."
_MESSAGE_REMEDY: Final = "Open Admin, System, Jobs to see why, and to try them again."


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One kind of work: what waits for a worker, what one holds, and what needs an operator."""

    label: str
    waiting: int
    working: int
    stuck: int
    stuck_words: str
    url: str | Promise
    # The list of what needs an operator alone.
    stuck_url: str | Promise
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Work that a worker holds, or held when it died: it is taken over once its time is over."""

    what: str
    owner: str
    until: datetime
    over: bool
    url: str | Promise


def queues() -> list[Queue]:
    """Return every queue."""
    now = database_now()
    leased, over = Q(lease_until__gt=now), Q(lease_until__lte=now)
    runs = _count(Run.objects.filter(active=True), waiting=Q(lease_until=None), working=leased, stuck=over)
    rotations = _count(
        Rotation.objects.filter(slot__isnull=False),
        waiting=Q(slot=Slot.WAITING),
        working=leased & Q(slot=Slot.WORKING),
        stuck=Q(stopped_at__isnull=False),
    )
    messages = _count(
        Delivery.objects.exclude(state=DeliveryState.SENT),
        waiting=Q(state=DeliveryState.WAITING, attempts=0),
        working=Q(state=DeliveryState.WAITING, attempts__gt=0),
        stuck=_lost(),
    )
    lost = _newest_lost() if messages["stuck"] else None
    sinks = _count(
        SinkState.objects.all(),
        waiting=Q(due_at__gt=timezone.now()),
        working=Q(leased_until__gt=now),
        stuck=Q(failures__gt=0),
    )
    return [
        Queue(
            label="Sync",
            stuck_words="lease is over",
            url=reverse_lazy("admin:sync_app_run_changelist"),
            stuck_url="#leases",
            **runs,
        ),
        Queue(
            label="Rotation",
            stuck_words="stopped",
            url=reverse_lazy("rotation"),
            stuck_url=reverse_lazy("rotation", query={"state": "failed"}),
            **rotations,
        ),
        Queue(
            label="Messages",
            stuck_words="failed",
            url=reverse_lazy("admin:environments_app_delivery_changelist"),
            stuck_url=reverse_lazy(
                "admin:environments_app_delivery_changelist", query={"attention": "failed"}
            ),
            why=lost.error if lost else "",
            **messages,
        ),
        Queue(
            label="Audit log",
            stuck_words="sinks fail",
            url=reverse_lazy("admin-audit"),
            stuck_url=reverse_lazy("admin-audit"),
            **sinks,
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Work that Keeper gave up; `retry_url` is the page that has it done again."""

    what: str
    why: str
    at: datetime | None
    url: str | Promise
    retry_url: str | Promise


def failures() -> list[Failure]:
    """Return the newest failed messages, failing targets, and stopped rotations; a statement each."""
    messages = Delivery.objects.filter(_lost())[:SHOWN]
    # Administrators and auditors, who read this, know all accounts.
    names = names_of_addressees(messages, among=User.objects.all())
    targets = Target.objects.filter(live=True).exclude(last_error="").select_related("environment")
    rotations = Rotation.objects.filter(slot=Slot.WORKING, stopped_at__isnull=False)
    rows = [
        Failure(
            what=f"message to {names.get(message.addressee, 'a removed recipient')}: {message.subject}",
            why=message.error,
            at=message.finished_at,
            url=reverse_lazy("admin:environments_app_delivery_change", args=[message.pk]),
            retry_url=reverse_lazy("admin:environments_app_delivery_object_act", args=[message.pk, "retry"]),
        )
        for message in messages
    ]
    rows += [
        Failure(
            what=f"sync of {target.environment.name} / {target.name}",
            why=target.last_error,
            at=target.last_failure_at,
            url=reverse_lazy("target-detail", args=[target.pk]),
            retry_url=reverse_lazy("admin:sync_app_target_object_act", args=[target.pk, "sync"]),
        )
        for target in targets.order_by("-last_failure_at")[:SHOWN]
    ]
    rows += [
        Failure(
            what=f"rotation of {rotation.policy.secret.name}: {rotation.step}",
            why=rotation.problem,
            at=rotation.stopped_at,
            url=reverse_lazy("rotation-policy", args=[rotation.policy_id]),
            retry_url=reverse_lazy("rotation-policy", args=[rotation.policy_id]),
        )
        for rotation in rotations.select_related("policy__secret").order_by("-stopped_at")[:SHOWN]
    ]
    return rows


def work_status() -> Iterator[SystemStatus]:
    """Yield whether a recent backup exists, and whether messages were given up."""
    last = last_success()
    fault = "" if last and not is_late(last) else "the last one is too old" if last else "no backup yet"
    yield SystemStatus(
        group=_STATUS_GROUP,
        name="Backups",
        state="degraded" if fault else "ok",
        detail=fault,
        remedy=_BACKUP_REMEDY if fault else "",
        at=last,
        url=reverse_lazy("backups"),
    )
    failed = Delivery.objects.filter(_lost()).count()
    yield SystemStatus(
        group=_STATUS_GROUP,
        name="Messages",
        state="degraded" if failed else "ok",
        detail=f"{failed:,} not delivered" if failed else "",
        remedy=_MESSAGE_REMEDY if failed else "",
        at=timezone.now(),
        url=reverse_lazy("admin-system", query={"tab": "work"}),
    )


def leases() -> list[Lease]:
    """Return what is held now, or was by a worker that died, the oldest first."""
    now = database_now()
    runs = Run.objects.filter(active=True, lease_until__isnull=False).select_related("target")
    rotations = Rotation.objects.filter(slot=Slot.WORKING, lease_until__isnull=False).select_related(
        "policy__secret"
    )
    rows = [
        Lease(
            what=f"{run.kind} of {run.target.name}",
            owner=run.lease_owner,
            until=run.lease_until,
            over=run.lease_until <= now,
            url=reverse_lazy("target-detail", args=[run.target_id]),
        )
        for run in runs.order_by("lease_until")[:SHOWN]
        if run.lease_until
    ]
    rows += [
        Lease(
            what=f"rotation of {rotation.policy.secret.name}: {rotation.step}",
            owner=rotation.lease_owner,
            until=rotation.lease_until,
            over=rotation.lease_until <= now,
            url=reverse_lazy("rotation-policy", args=[rotation.policy_id]),
        )
        for rotation in rotations.order_by("lease_until")[:SHOWN]
        if rotation.lease_until
    ]
    return sorted(rows, key=lambda lease: lease.until)


def _lost() -> Q:
    return _LOST if settings.EMAIL_HOST else _LOST & ~_NOT_MAILED


def _newest_lost() -> Delivery | None:
    return Delivery.objects.filter(_lost()).order_by("-finished_at").first()


def _count(rows: QuerySet[Any], **kinds: Q) -> dict[str, Any]:
    counted: dict[str, Any] = rows.order_by().aggregate(
        **{name: Count("pk", filter=condition) for name, condition in kinds.items()}
    )
    return counted
