"""Summaries of plans and targets for operators: figures and sentences without values."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count

from sync_app.domain.delivery_state import ALERTING, WAITING, DeliveryState
from sync_app.jobs.queue import is_paused
from sync_app.models import Plan, PlanItem, SyncEntry, Target
from sync_app.models.plan import Act, ItemState, PlanState


@dataclass(frozen=True, kw_only=True)
class ItemReport:
    """One line of a plan; `state` is empty where there was nothing to do."""

    name: str
    act: str
    reason: str
    state: str
    error: str


@dataclass(frozen=True, kw_only=True)
class PlanReport:
    """A plan, and how far it was carried out."""

    number: int
    environment: str
    target: str
    kind: str
    state: str
    counts: dict[str, int]
    items: list[ItemReport]

    @property
    def failed(self) -> bool:
        return any(item.state == ItemState.FAILED for item in self.items) or self.state == PlanState.FAILED

    @property
    def waiting(self) -> bool:
        """Return whether something waits: to be carried out, or for a person."""
        attention = {Act.CONFLICT, Act.DRIFTED, Act.MISSING, Act.OWNERSHIP_LOST, Act.UNKNOWN, Act.REFUSED}
        return self.state == PlanState.READY or any(
            item.act in attention or item.state == ItemState.SKIPPED for item in self.items
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"failed": self.failed, "waiting": self.waiting}


@dataclass(frozen=True, kw_only=True)
class TargetReport:
    """A target, and the number of its secrets in each state."""

    environment: str
    name: str
    backend: str
    direction: str
    paused: bool
    states: dict[str, int]
    last_success: str
    last_failure: str
    last_error: str
    next_run: str

    @property
    def failed(self) -> bool:
        return bool(self.last_error) or DeliveryState.FAILED in self.states

    @property
    def waiting(self) -> bool:
        return any(
            DeliveryState(state) in ALERTING | WAITING | {DeliveryState.REFUSED} for state in self.states
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"failed": self.failed, "waiting": self.waiting}


def plan_report(plan: Plan) -> PlanReport:
    """Return a plan with its stored items; the unchanged ones are in the counts alone."""
    target = plan.target
    rows = PlanItem.objects.filter(plan=plan).order_by("name")
    return PlanReport(
        number=plan.pk,
        environment=target.environment.name,
        target=str(target.name),
        kind=str(plan.kind),
        state=str(plan.state),
        counts=plan.counts,
        items=[_item(row) for row in rows.iterator(chunk_size=1000)],
    )


def target_report(target: Target) -> TargetReport:
    """Return a target's present summary."""
    now = Target.objects.defer("credentials").get(pk=target.pk)
    return TargetReport(
        environment=target.environment.name,
        name=str(now.name),
        backend=now.backend,
        direction=now.direction,
        paused=is_paused(now),
        states=state_counts(now),
        last_success=_time(now.last_success_at),
        last_failure=_time(now.last_failure_at),
        last_error=now.last_error,
        next_run=_time(now.due_at),
    )


def state_counts(target: Target) -> dict[str, int]:
    """Return the number of a target's secrets in each state, with one statement."""
    rows = SyncEntry.objects.filter(target=target).values_list("state").annotate(number=Count("pk"))
    return {str(state): number for state, number in rows.order_by("state")}


def _item(row: PlanItem) -> ItemReport:
    idle = row.state == ItemState.SKIPPED and row.finished_at is None
    return ItemReport(
        name=str(row.name), act=row.act, reason=row.reason, state="" if idle else row.state, error=row.error
    )


def _time(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""
