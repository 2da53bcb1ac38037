"""Prepares plans for their pages: what will happen in words, line by line, and by few statements."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Window
from django.db.models.functions import RowNumber
from django.urls import reverse

from environments_app.views.base import as_sentence
from secrets_app.models import Secret
from sync_app.domain.delivery_state import DeliveryState, ShownState, shown_state
from sync_app.domain.reconciliation import Deletion
from sync_app.models import Plan, PlanItem, Run, SyncEntry, Target
from sync_app.models.plan import Act, ItemState, PlanKind, PlanState
from sync_app.models.run import RunState
from sync_app.planning.field_diff import can_show_members
from sync_app.planning.staged_choices import RESOLVABLE, can_keep_local, can_take_remote
from sync_app.state.deletions import BEYOND_BUDGET
from sync_app.state.ownership import waits_for_adoption

# The number of lines of each act on a plan's first page; the rest is one click away.
LINES_OF_AN_ACT: Final = 50


class ActLook(NamedTuple):
    """The display of an act in a plan: its icon, the words after its number, its heading, its colour."""

    icon: str
    word: str
    heading: str
    tone: str


ACT_LOOKS: Final = {
    Act.CONFLICT: ActLook("alert", "needs decision", "Needs decision", "warn"),
    Act.CREATE: ActLook("plus", "create", "Create", "ok"),
    Act.UPDATE: ActLook("edit", "update", "Update", "info"),
    Act.PULL: ActLook("import", "pull into Keeper", "Pull into Keeper", "info"),
    Act.ADOPT: ActLook("import", "import", "Import", "ok"),
    Act.DELETE: ActLook("trash", "delete", "Delete (recoverable)", "bad"),
    Act.RELEASE: ActLook("leave", "release", "Release", "info"),
    Act.DRIFTED: ActLook("not-equal", "drifted (no change)", "Drifted (no change)", "warn"),
    Act.MISSING: ActLook("empty", "missing in target", "Missing in target", "warn"),
    Act.OWNERSHIP_LOST: ActLook("shield", "ownership lost", "Ownership lost (no change)", "warn"),
    Act.UNKNOWN: ActLook("clock", "looked at again (no change)", "Written, not seen yet (no change)", "warn"),
    Act.REFUSED: ActLook("block", "refused", "Refused", "bad"),
    Act.UNCHANGED: ActLook("check", "unchanged", "Unchanged", "quiet"),
    Act.UNMANAGED: ActLook("dashed", "unmanaged (no change)", "Unmanaged (no change)", "quiet"),
}
# What writes anywhere; what a button carries out.
WRITING: Final = (Act.CREATE, Act.UPDATE, Act.PULL, Act.ADOPT, Act.DELETE, Act.RELEASE)
# Named even if there are none: a person looks for it.
_ALWAYS: Final = (Act.DELETE,)
# A choice that was refused leaves "refused": what the last whole look found is still to be decided.
_TO_DECIDE: Final = frozenset(
    {DeliveryState.CONFLICT, DeliveryState.DRIFTED, DeliveryState.MISSING, DeliveryState.REFUSED}
)
# A plan that read all of both sides (one that settles a conflict reads one name), also if superseded.
_WHOLE_LOOK: Final = Q(
    kind=PlanKind.SYNC,
    state__in=(PlanState.READY, PlanState.APPLYING, PlanState.DONE, PlanState.SUPERSEDED),
    ready_at__isnull=False,
) & ~Q(options__has_key="choice")
_LIVE_PLANS: Final = frozenset({PlanState.MAKING, PlanState.APPLYING})


def is_live(plan: Plan, run: Run | None) -> bool:
    return plan.state in _LIVE_PLANS or bool(run and run.active)


def summary(plan: Plan) -> list[dict[str, Any]]:
    """Return a plan's counts in words, in the order in which a person asks."""
    is_off = plan.kind == PlanKind.SYNC and plan.rules.get("deletion", Deletion.NEVER) == Deletion.NEVER
    parts = []
    for act, look in ACT_LOOKS.items():
        count = int(plan.counts.get(act, 0))
        if count or (act in _ALWAYS and plan.kind == PlanKind.SYNC):
            parts.append(
                {
                    "act": act,
                    "look": look,
                    "count": count,
                    "note": "deletion is off" if is_off and act is Act.DELETE else "",
                    "listed": bool(count) and act is not Act.UNCHANGED,
                }
            )
    return parts


def changes(plan: Plan) -> int:
    return sum(int(plan.counts.get(act, 0)) for act in WRITING)


def budget_words(plan: Plan) -> str:
    """Return how much a plan may delete, in words."""
    if plan.kind != PlanKind.SYNC or plan.rules.get("deletion", Deletion.NEVER) == Deletion.NEVER:
        return ""
    if BEYOND_BUDGET in plan.options:
        return "requested with more deletions than the limit allows"
    return (
        f"Max deletions: {plan.rules.get('budget_number', 0)} and "
        f"{plan.rules.get('budget_percent', 0)} % of managed secrets "
        f"in {settings.KEEPER_DELETION_WINDOW_HOURS} hours"
    )


def plan_sections(
    plan: Plan,
    items: Sequence[PlanItem],
    *,
    counts: Mapping[str, int],
    searched: str,
    chosen: Mapping[int, str],
    may_reveal: Callable[[str], bool],
) -> list[dict[str, Any]]:
    """Return items by act, each as a line; two statements besides. `counts` are their numbers.

    `chosen` are the choices about conflicts that the page begins with, by the ids of items.
    `may_reveal` returns whether the reader may reveal a name, and so request its members.
    """
    search = {"q": searched} if searched else {}
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    secrets = _secrets_of(items)
    for item in items:
        secret = secrets.get(item.secret_uuid) if item.secret_uuid else None
        line = _line(plan, item, item.there_number, secret)
        if can_show_members(item, secret) and may_reveal(item.name):
            line["members_url"] = reverse("plan-item-members", args=[plan.pk, item.pk])
        line["choice"] = chosen.get(item.pk, "")
        lines[item.act].append(line)
    return [
        {
            "act": act,
            "look": look,
            "lines": lines[act],
            "count": int(counts.get(act, 0)),
            "more": int(counts.get(act, 0)) > len(lines[act]),
            "more_url": f"{reverse('plan-detail', args=[plan.pk])}?{urlencode({'act': act} | search)}",
        }
        for act, look in ACT_LOOKS.items()
        if lines[act]
    ]


def last_look(target: Target) -> Plan | None:
    """Return the newest plan that looked at all of both sides."""
    return Plan.objects.filter(_WHOLE_LOOK, target=target).first()


def matching_items(plan: Plan, searched: str) -> QuerySet[PlanItem]:
    items = PlanItem.objects.filter(plan=plan)
    return items.filter(Q(name__icontains=searched) | Q(reason__icontains=searched)) if searched else items


def act_counts(items: QuerySet[PlanItem]) -> dict[str, int]:
    return dict(items.order_by().values_list("act").annotate(Count("pk")))


def first_items(items: QuerySet[PlanItem]) -> list[PlanItem]:
    """Return the first items of each act, by one statement."""
    numbered = items.annotate(place=Window(RowNumber(), partition_by=F("act"), order_by=F("name").asc()))
    return list(numbered.filter(place__lte=LINES_OF_AN_ACT).order_by("act", "name"))


def entry_rows(entries: Sequence[SyncEntry]) -> list[dict[str, Any]]:
    """Return entries with the page of each secret, and where people decide about it; two statements."""
    secrets, decisions = _secrets_of(entries), decision_urls(entries)
    return [
        {
            "entry": entry,
            "shown": _shown(entry, secrets.get(entry.secret_uuid) if entry.secret_uuid else None),
            "secret_url": _secret_url(secrets.get(entry.secret_uuid) if entry.secret_uuid else None),
            "decide_url": decisions.get(entry.pk, ""),
            "adoptable": waits_for_adoption(entry),
        }
        for entry in entries
    ]


def decision_urls(entries: Sequence[SyncEntry]) -> dict[int, str]:
    """Return where people decide about entries, in the last whole looks, by their ids; one statement."""
    waiting = [entry for entry in entries if entry.state in _TO_DECIDE]
    if not waiting:
        return {}
    newest = Plan.objects.filter(_WHOLE_LOOK, target=OuterRef("plan__target")).order_by("-id").values("id")
    items = PlanItem.objects.filter(
        plan__target__in={entry.target_id for entry in waiting},
        plan=Subquery(newest[:1]),
        name__in={entry.name for entry in waiting},
        act__in=RESOLVABLE,
    ).values_list("plan__target", "name", "plan", "pk")
    pages = {(target, name): reverse("plan-item", args=[plan, item]) for target, name, plan, item in items}
    return {
        entry.pk: pages[entry.target_id, entry.name]
        for entry in waiting
        if (entry.target_id, entry.name) in pages
    }


def _shown(entry: SyncEntry, secret: Secret | None) -> ShownState:
    # A deleted secret has no version that is still to be delivered.
    current = secret.current_number if secret and secret.live else None
    return shown_state(str(entry.state), delivered=entry.base_number, current=current)


def _secret_url(secret: Secret | None) -> str:
    return reverse("secret-detail", args=[secret.pk]) if secret else ""


def _secrets_of(items: Sequence[PlanItem] | Sequence[SyncEntry]) -> dict[UUID, Secret]:
    uuids = [item.secret_uuid for item in items if item.secret_uuid]
    rows = Secret.objects.filter(uuid__in=uuids).only("uuid", "secret_type", "current_number", "live")
    return {row.uuid: row for row in rows}


def _line(plan: Plan, item: PlanItem, there: int | None, secret: Secret | None) -> dict[str, Any]:
    becomes = _becomes(item)
    return {
        "item": item,
        "look": ACT_LOOKS[Act(item.act)],
        # After the plan was applied the existing secret is its result.
        "from": f"v{there}" if there and f"v{there}" != becomes else "",
        "to": becomes,
        "type": secret.get_secret_type_display().lower() if secret else "",
        "secret_url": _secret_url(secret),
        "state": _item_state(plan, item),
        "error": as_sentence(item.error) if item.error else "",
        "url": reverse("plan-item", args=[plan.pk, item.pk]) if item.act in RESOLVABLE else "",
        "can_keep": can_keep_local(item),
        "can_take": can_take_remote(item),
        "masked": item.act in {Act.CREATE, Act.UPDATE, Act.PULL},
    }


def written_version(token: str) -> tuple[str, datetime] | None:
    """Return the number and the time of writing that a target's version holds, if it has both."""
    number, _, moment = token.partition("@")
    try:
        written = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (number, written) if number.isdecimal() and written.tzinfo else None


def _becomes(item: PlanItem) -> str:
    if item.act in {Act.CREATE, Act.UPDATE} and item.keeper_number:
        return f"v{item.keeper_number}"
    if item.act == Act.PULL:
        return f"v{item.keeper_number + 1} in Keeper" if item.keeper_number else "new in Keeper"
    return ""


def _item_state(plan: Plan, item: PlanItem) -> tuple[str, str]:
    """Return the state of an item as the pages show it, and its word; nothing while it is planned."""
    if item.act not in WRITING:
        return "", ""
    # A failed plan is not continued. The next plan finds out the outcome of such an item.
    intended = "not applied" if plan.state == PlanState.FAILED else "applying"
    return {
        ItemState.INTENDED: ("pending", intended),
        ItemState.DONE: ("in_sync", "done"),
        ItemState.FAILED: ("failed", "failed"),
        ItemState.SKIPPED: ("skipped", "skipped"),
    }.get(ItemState(item.state), ("", ""))


def progress(run: Run | None, *, total: int = 0) -> dict[str, Any] | None:
    """Return how far a run has come, while it is under way; `total` counts what its plan would write."""
    if run is None or not run.active:
        return None
    return {
        "queued": run.state == RunState.QUEUED,
        "waits": run.error if run.not_before else "",
        "not_before": run.not_before,
        "total": run.total or total,
        "finished": run.finished,
        "failed": run.failed,
    }
