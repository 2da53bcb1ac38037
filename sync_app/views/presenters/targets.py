"""Prepares targets for their pages, in words and by few statements."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from django.db.models import Count, QuerySet
from django.urls import reverse

from environments_app.authorization.policy import Principal
from sync_app.backends.registry import BACKENDS, backend_of
from sync_app.domain.delivery_state import ALERTING, DeliveryState
from sync_app.models import Run, SyncEntry, Target
from sync_app.targets.lookup import visible_targets

# What needs someone comes first, what is of no consequence last.
STATE_ORDER: Final = (
    DeliveryState.CONFLICT, DeliveryState.FAILED, DeliveryState.MISSING, DeliveryState.OWNERSHIP_LOST,
    DeliveryState.DRIFTED, DeliveryState.REFUSED, DeliveryState.UNKNOWN, DeliveryState.PENDING,
    DeliveryState.IN_SYNC, DeliveryState.UNMANAGED,
)  # fmt: skip


def where(target: Target) -> str:
    """Return where a target is, in a few words: `AWS eu-west-1 /prod`, `Vault secret/team`."""
    kind = BACKENDS.get(target.backend)
    return kind.summarize(target.destination) if kind else str(target.backend)


def backend_label(target: Target) -> str:
    kind = BACKENDS.get(target.backend)
    return kind.label if kind else str(target.backend)


@dataclass(frozen=True, kw_only=True)
class DestinationFact:
    """A field of a destination as the form of a new target labels it."""

    label: str
    text: str
    is_choice: bool


def destination_facts(target: Target) -> list[DestinationFact]:
    kind = BACKENDS.get(target.backend)
    fields = kind.destination_fields if kind else ()
    stored = {field.name: str(target.destination.get(field.name, "")) for field in fields}
    return [
        DestinationFact(
            label=field.label,
            text=dict(zip(field.choices, field.choice_labels, strict=False)).get(text, text),
            is_choice=bool(field.choice_labels),
        )
        for field in fields
        if (text := stored[field.name])
    ]


@dataclass(frozen=True, kw_only=True)
class TargetRow:
    target: Target
    where: str
    icon: str
    counts: list[tuple[str, int, str]]
    run: Run | None
    url: str


def target_rows(targets: QuerySet[Target]) -> list[TargetRow]:
    """Return the rows of a list of targets: three statements, however many there are."""
    rows = list(targets.order_by("environment__position", "environment__name", "name"))
    counts = state_counts(rows)
    active = {run.target_id: run for run in Run.objects.filter(target__in=rows, active=True)}
    return [
        TargetRow(
            target=target,
            where=where(target),
            icon=backend_of(target.backend).icon,
            counts=shown_counts(target, counts[target.pk]),
            run=active.get(target.pk),
            url=reverse("target-detail", args=[target.pk]),
        )
        for target in rows
    ]


def state_counts(targets: Iterable[Target]) -> dict[int, dict[str, int]]:
    """Return how many entries of each state each target has, by its id; one statement."""
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    rows = SyncEntry.objects.filter(target__in=list(targets)).order_by().values_list("target_id", "state")
    for target_id, state, count in rows.annotate(count=Count("id")):
        counts[target_id][state] = count
    return counts


def shown_counts(target: Target, counts: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """Return (state, count, address of exactly those), those that need someone first."""
    url = reverse("target-detail", args=[target.pk])
    return [(state, counts[state], f"{url}?state={state}") for state in STATE_ORDER if counts.get(state)]


def attention(actor: Principal) -> int:
    """Return how many secrets at the targets that the actor may see need someone.

    By the ids of the targets: with a subquery, MariaDB counts by target alone, and so through all entries.
    """
    targets = list(visible_targets(actor).values_list("pk", flat=True))
    return SyncEntry.objects.filter(target__in=targets, state__in=sorted(ALERTING)).count()
